package conf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Invariant 4: no way of printing a secret prints it.
func TestSecretIsNeverPrinted(t *testing.T) {
	s := Secret(canary)
	holder := struct {
		S Secret
		P *Secret
		M map[string]Secret
	}{s, &s, map[string]Secret{"a": s}}
	var out []string
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%X", "%d", "%10s", "% x", "%t", "%o", "%U"} {
		out = append(out, fmt.Sprintf(verb, s), fmt.Sprintf(verb, holder), fmt.Sprintf(verb, []Secret{s}))
	}
	out = append(out, fmt.Sprint(s), fmt.Sprintln(holder), s.String(), s.GoString(), fmt.Errorf("with %v", s).Error())
	var logs bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&logs, nil), slog.NewJSONHandler(&logs, nil)} {
		slog.New(h).Info("msg", "secret", s, "in", slog.GroupValue(slog.Any("s", s)), "holder", holder)
	}
	asJSON, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(map[string]any{"s": s, "p": &s, "l": []Secret{s}})
	if err != nil {
		t.Fatal(err)
	}
	out = append(out, logs.String(), string(asJSON), string(asYAML))
	for _, text := range out {
		if strings.Contains(text, canary) || strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", canary)) {
			t.Errorf("printed: %s", text)
		}
		if !strings.Contains(text, "redacted") {
			t.Errorf("does not say that something is left out: %s", text)
		}
	}
	if s.Reveal() != canary {
		t.Errorf("Reveal = %q", s.Reveal())
	}
	if got := fmt.Sprintf("%v|%s", Secret(""), Secret("").String()); got != "|" {
		t.Errorf("an absent secret prints as %q, want nothing", got)
	}
}

// Every field that holds a secret is a Secret, so that none is printed by a
// type of its own.
func TestDocumentPrintsNoSecret(t *testing.T) {
	d, _ := parseGood(t, "testdata/good/design.yaml")
	withDefault := parseText(t, "admin: {token: \"${NOT_SET:-"+canary+canary+canary+"}\"}")
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(verb, withDefault); strings.Contains(text, canary) {
			t.Errorf("%s prints the secret's default: %s", verb, text)
		}
	}
	asJSON, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	effective, err := Effective(d)
	if err != nil {
		t.Fatal(err)
	}
	for form, text := range map[string]string{
		"%+v": fmt.Sprintf("%+v %+v %+v %+v", d.Admin, *d.Store, *d.Cluster, *d.Alerts), "JSON": string(asJSON), "effective": string(effective),
	} {
		for _, secret := range []string{"an-operator-token", "MDEyMzQ1", "hooks.example", "data/sluice.db"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %q:\n%s", form, secret, text)
			}
		}
	}
}

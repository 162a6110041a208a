package conf

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// The effective form means the same: read again it is the same configuration.
func TestEffectiveFormReadsBack(t *testing.T) {
	for _, file := range goodFiles(t) {
		d, _ := parseGood(t, file)
		text, err := Effective(d)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte(redacted)) {
			continue // a secret does not read back, which TestDocumentPrintsNoSecret wants
		}
		again, ps := Parse("effective.yaml", text, nil)
		if again == nil {
			t.Errorf("%s: the effective form is refused: %v\n%s", file, ps.Err(), text)
			continue
		}
		if again.Hash() != d.Hash() {
			second, _ := Effective(again)
			t.Errorf("%s: the effective form means something else:\n%s\nread again:\n%s", file, text, second)
		}
	}
}

func TestEffectiveFormMarksDefaultsAndHidesCredentials(t *testing.T) {
	d, _ := parseGood(t, "testdata/good/variables.yaml")
	b, err := Effective(d)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, want := range []string{
		"address: :8081\n", "drain_timeout: 30s # default", "requests: 1000\n", "http3: true\n",
		"Authorization: '[redacted]'", "X-Braces: '[redacted]'", // the environment may hold secrets
		"X-Literal: $${PORT} costs $5", `X-Remove: ""`, "cost: 1 # default",
		"- url: http://127.0.0.1:8081/base\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	for _, secret := range []string{"upstream-canary", "an-operator-token"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q in:\n%s", secret, text)
		}
	}
}

func TestHashFollowsTheMeaning(t *testing.T) {
	const base = "admin: {token: 0123456789abcdef}\nnode: {name: a}\nlogs: {level: info}\n"
	hashOf := func(text string) string { return parseText(t, text).Hash() }
	first := hashOf(base)
	if len(first) != 12 || strings.Trim(first, "0123456789abcdef") != "" {
		t.Errorf("Hash() = %q, want twelve hexadecimal digits", first)
	}
	for name, text := range map[string]string{
		"order and comments":  "# hi\nlogs: {level: info}\nadmin:\n  token: 0123456789abcdef\nnode: {name: a}\n",
		"a default spelt out": base + "waf: {mode: off}\n",
		"the node's name":     strings.Replace(base, "name: a", "name: b", 1),
	} {
		if got := hashOf(text); got != first {
			t.Errorf("%s changes the hash", name)
		}
	}
	for name, text := range map[string]string{
		"a value":  strings.Replace(base, "info", "warn", 1),
		"a secret": strings.Replace(base, "cdef", "cdeg", 1),
		"a list":   base + "waf: {ip: {deny: [192.0.2.1]}}\n",
	} {
		if got := hashOf(text); got == first {
			t.Errorf("%s leaves the hash", name)
		}
	}
}

// FuzzParse holds invariants 1 to 4 against anything.
func FuzzParse(f *testing.F) {
	for _, file := range goodFiles(f) {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, seed := range brokenDocuments(f) {
		f.Add(seed)
	}
	for _, seed := range []string{"", "\x00", "a: &a [*a]", "? ? ?", "<<: [*a, *b]", "%YAML 1.1\n---\n", "---\n---\n", "{", "\t", "a: |2\n  x", "!!map {}", "routes: [{<<: {path: /}}]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 1<<14)] // more only costs time
		d, ps := Parse("f", data, testEnv)
		if errors, _ := ps.Count(); (d == nil) != (errors > 0) {
			t.Fatalf("document given: %v, with %d errors", d != nil, errors)
		}
		lines := bytes.Split(bytes.TrimPrefix(data, byteOrderMark), []byte("\n"))
		for _, p := range ps {
			if p.Position.Line < 0 || p.Position.Line > len(lines) || p.Position.Column < 0 || p.Message == "" {
				t.Errorf("problem %+v is nowhere in %d lines", p, len(lines))
			}
		}
		var b bytes.Buffer
		if err := ps.Render(&b, data, false); err != nil {
			t.Fatal(err)
		}
		if d == nil {
			return
		}
		text, err := Effective(d)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte(redacted)) {
			return
		}
		again, ps := Parse("effective", text, nil)
		if again == nil {
			t.Fatalf("the effective form is refused: %v\n%s", ps.Err(), text)
		}
		if again.Hash() != d.Hash() {
			t.Errorf("the effective form means something else:\n%s", text)
		}
	})
}

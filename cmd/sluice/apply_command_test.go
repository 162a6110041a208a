package main

import (
	"strings"
	"testing"
)

func TestTheDifferenceIsWhatHasToChange(t *testing.T) {
	now := &decisions{policyFile{
		Tiers:        map[string]map[string]any{"gold": {"requests": 5.0, "per": "1h"}, "old": {"requests": 1.0, "per": "1h"}},
		Tenants:      map[string]map[string]any{"acme": {"tier": "gold"}, "globex": {"tier": "old", "notes": "x"}, "same": {"name": "Same"}},
		AddressLists: map[string]map[string]any{"office": {"action": "allow"}},
	}, map[string]string{"/api/v1/tenants/globex": `"7"`}}
	want, err := parsePolicies("f.yaml", []byte("tiers: {gold: {requests: 6}, silver: {requests: 2, per: 1m}}\ntenants: {globex: {tier: silver, notes: x}, same: {name: Same}, empty: }\nsecurity_rules: {lab: {mode: detect}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	names := func(list []change) string {
		var b strings.Builder
		for _, c := range list {
			verb := "~"
			switch {
			case c.was == nil:
				verb = "+"
			case c.is == nil:
				verb = "-"
			}
			b.WriteString(verb + c.name + c.etag + " ")
		}
		return b.String()
	}
	if got, want := names(difference(now, want, false)), `~tiers.gold +tiers.silver +tenants.empty ~tenants.globex"7" +security_rules.lab `; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	pruned := difference(now, want, true)
	if got, want := names(pruned), `~tiers.gold +tiers.silver +tenants.empty ~tenants.globex"7" +security_rules.lab -address_lists.office -tenants.acme -tiers.old `; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := pruned[3].diff(), "tenants.globex:\n-   tier: old\n+   tier: silver\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAPolicyFileSaysWhereItIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"tenant: {}":              "line 1: field tenant not found",
		"tiers: [a]":              "line 1",
		"tenants:\n  a: {x: [}\n": "line",
	} {
		if _, err := parsePolicies("f.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "f.yaml") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if f, err := parsePolicies("f.yaml", nil); err != nil || f == nil {
		t.Errorf("an empty file: %v", err)
	}
}

// Whatever is in a file, it is read or refused.
func FuzzParsePolicies(f *testing.F) {
	f.Add("tiers: {gold: {requests: 6}}\ntenants: {acme: {tier: gold, limit: {requests: 5, burst: {rate: 5/s}}}}\n")
	f.Add("tenants: {a: {1: 2}}")
	f.Add("tenants: {a: {? [b] : c}}")
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePolicies("f.yaml", []byte(text))
		if err != nil {
			return
		}
		for _, c := range difference(&decisions{policyFile{}, nil}, p, true) {
			if c.is == nil {
				t.Errorf("%s is deleted, and was not there", c.name)
			}
			c.diff()
		}
	})
}

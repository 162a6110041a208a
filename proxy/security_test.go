package proxy

import (
	"net/http"
	"net/netip"
	"testing"

	"sluice/internal/issuer"
	"sluice/store"
)

func networks(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// Address lists hold for the next request, over a new configuration too, and end
// with their object.
func TestDecidedAddressListsHold(t *testing.T) {
	const sections = `
tiers: {standard: {requests: 1000}}
limits: {default_tier: standard}
routes:
  - {path: /public/*, service: app, auth: none}
  - {name: export, path: /export, service: app, auth: none}
`
	g := newRig(t, http.HandlerFunc(seen), sections)
	expect := func(what string, public, export int) {
		t.Helper()
		for path, want := range map[string]int{"/public/x": public, "/export": export} {
			if a := g.get(path); a.StatusCode != want {
				t.Errorf("%s: %s gets %d, want %d", what, path, a.StatusCode, want)
			}
		}
	}
	use := func(name string, revision int64, list any) {
		t.Helper()
		g.UsePolicies([]store.Object{object(t, store.KindAddressList, name, revision, list)}, false)
	}
	expect("nothing decided", 200, 200)
	use("us", 1, store.AddressList{Action: "deny", Networks: networks("127.0.0.0/8"), Route: "export"})
	expect("denied on a route", 200, 403)
	use("us", 2, store.AddressList{Action: "deny", Networks: networks("127.0.0.0/8", "::1/128")})
	expect("denied everywhere", 403, 403)
	g.UsePolicies([]store.Object{{Kind: store.KindAddressList, ID: "us", Revision: 3, Body: []byte(`{"networks":["nonsense"]}`)}}, false)
	expect("a damaged list leaves the one before", 403, 403)
	g.apply(g.text + "waf: {detector: {mode: \"off\"}}\n")
	expect("over a new configuration", 403, 403)
	use("office", 4, store.AddressList{Action: "allow", Networks: networks("127.0.0.1/32")})
	expect("an allowlist wins", 200, 200)
	use("office", 5, nil)
	expect("without it", 403, 403)
	if lists, rules := g.Security(); lists != 1 || rules != 0 {
		t.Error(lists, rules)
	}
	g.UsePolicies(nil, true)
	expect("nothing is left", 200, 200)
}

// Security rules take rules of the firewall away and set how it works, on a route or
// of a tenant; the more special one wins.
func TestDecidedSecurityRulesHold(t *testing.T) {
	const sections = `
tiers: {standard: {requests: 1000}}
limits: {default_tier: standard}
waf: {mode: block}
routes:
  - {path: /a/*, service: app, auth: optional}
  - {path: /b/*, service: app, auth: none, waf: {mode: "off"}}
`
	g := newRig(t, http.HandlerFunc(seen), sections)
	const attack = "?q=1%27%20UNION%20SELECT%20password%20FROM%20users--"
	acme := "Authorization: " + g.token(issuer.Claims{Tenant: "acme"})
	expect := func(what string, a, ofTenant, b int) {
		t.Helper()
		for _, c := range []struct {
			path, header string
			want         int
		}{{"/a/x", "", a}, {"/a/x", acme, ofTenant}, {"/b/x", "", b}} {
			headers := []string{"Host: api.example.com", "User-Agent: curl/8.5.0", "Accept: */*"}
			if c.header != "" {
				headers = append(headers, c.header)
			}
			if got := g.get(c.path+attack, headers...); got.StatusCode != c.want {
				t.Errorf("%s: %s %.20s gets %d, want %d", what, c.path, c.header, got.StatusCode, c.want)
			}
		}
	}
	use := func(name string, rule any) {
		t.Helper()
		g.UsePolicies([]store.Object{object(t, store.KindSecurityRule, name, 1, rule)}, false)
	}
	expect("as configured", 403, 403, 200)
	use("sql", store.SecurityRule{Tag: "attack-sqli", Tenant: "acme"})
	expect("excluded of a tenant", 403, 200, 200)
	use("other", store.SecurityRule{Tag: "attack-sqli", Argument: "other"})
	expect("excluded of another argument", 403, 200, 200)
	use("sql", nil)
	use("b", store.SecurityRule{Route: "/b/*", Mode: "block"})
	expect("set on a route", 403, 403, 403)
	use("all", store.SecurityRule{Mode: "detect"})
	expect("set for all; the route's stays", 200, 200, 403)
	use("acme", store.SecurityRule{Tenant: "acme", Mode: "block"})
	expect("and for a tenant", 200, 403, 403)
	use("score", store.SecurityRule{Tenant: "acme", Threshold: 1000})
	expect("which one rule sets the mode of, and one the threshold", 200, 200, 403)
	g.apply(g.text)
	expect("over a new configuration", 200, 200, 403)
	use("gone", store.SecurityRule{Rule: 4711, Route: "/a/*"}) // such a rule is logged, and stops nothing
	expect("with a rule that is not there", 200, 200, 403)
	if err := g.CheckExclusion(4711, ""); err == nil {
		t.Error("there is no rule 4711")
	}
	if err := g.CheckExclusion(942100, ""); err != nil {
		t.Error(err)
	}
	if err := g.CheckExclusion(0, "attack-nothing"); err == nil {
		t.Error("there is no such tag")
	}
	g.UsePolicies(nil, true)
	expect("nothing is left", 403, 403, 200)
}

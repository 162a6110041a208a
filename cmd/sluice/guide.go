package main

import (
	"fmt"
	"strings"
)

// demoVariables are the shell variables that the guide puts tokens into.
var demoVariables = []struct{ name, token string }{{"ACME", "standard"}, {"GLOBEX", "premium"}, {"ADMIN", "admin"}}

// steps are the things to try, for the guide and for demo.json.
func (d *demo) steps(f *demoFile) []demoStep {
	as := func(who, path string) string {
		return fmt.Sprintf(`curl -i -H "Authorization: Bearer $%s" %s%s`, who, f.Gateway, path)
	}
	steps := []demoStep{
		{Title: "A request of the tenant acme: standard tier, 1,000 requests an hour", short: as("ACME", "/api/items/42"),
			Expect: "200; the service saw X-Tenant-ID: acme, and X-RateLimit-Remaining counts down"},
		{Title: "Another tenant and tier: globex, premium, 5,000 an hour", short: as("GLOBEX", "/api/items/42"),
			Expect: "200 with X-RateLimit-Limit: 5000"},
		{Title: "No token", short: "curl -i " + f.Gateway + "/api/items/42",
			Expect: "401 with WWW-Authenticate"},
		{Title: "No token needed", short: "curl -i " + f.Gateway + "/public/hello",
			Expect: "200: /public/* has auth: none"},
		{Title: "Forging a tenant", short: as("ACME", "/api/items/42") + ` -H "X-Tenant-ID: globex"`,
			Expect: "200; the service still saw acme"},
		{Title: "A missing permission", short: as("ACME", "/api/admin/users"),
			Expect: "403: the route requires platform:admin"},
		{Title: "The platform's admin, whom no limit holds", short: as("ADMIN", "/api/admin/users"),
			Expect: "200"},
		{Title: "Spending acme's quota", short: fmt.Sprintf(`seq 1000 | xargs -P 8 -I{} curl -s -o /dev/null -H "Authorization: Bearer $ACME" %s/api/items/{}`, f.Gateway),
			Expect: "nothing to see, for a few seconds"},
		{Title: "Over the limit", short: as("ACME", "/api/items/42"),
			Expect: "429 with Retry-After; globex is not touched by it"},
		{Title: "A token for any tenant", short: fmt.Sprintf(`curl -s -X POST "%s/token?tenant=umbrella&tier=enterprise"`, f.Issuer),
			Expect: "access_token, token_type, expires_in"},
	}
	for i := range steps {
		steps[i].Command = steps[i].short
		for _, v := range demoVariables {
			steps[i].Command = strings.ReplaceAll(steps[i].Command, "$"+v.name, f.Tokens[v.token])
		}
	}
	return steps
}

// guide prints what to try.
func (d *demo) guide(f *demoFile) {
	bold, dim, cyan, reset := "\x1b[1m", "\x1b[2m", "\x1b[36m", "\x1b[0m"
	if !d.color {
		bold, dim, cyan, reset = "", "", "", ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%ssluice demo%s   gateway %s   admin %s   issuer %s\n", bold, reset, f.Gateway, f.Admin, f.Issuer)
	fmt.Fprintf(&b, "%sconfiguration, tokens and logs: %s%s\n", dim, d.Dir, reset)
	fmt.Fprintf(&b, "\n%sIn another terminal, the tokens%s\n", bold, reset)
	for _, v := range demoVariables {
		fmt.Fprintf(&b, "%s%s=%s%s\n", cyan, v.name, f.Tokens[v.token], reset)
	}
	for i, s := range f.Steps {
		fmt.Fprintf(&b, "\n%s%d. %s%s\n%s%s%s\n%s%s%s\n", bold, i+1, s.Title, reset, cyan, s.short, reset, dim, s.Expect, reset)
	}
	fmt.Fprintf(&b, "\n%sLook inside%s\n%scurl -s %s/metrics | grep ^sluice_\ntail -f %s%s\n", bold, reset, cyan, f.Admin, d.file("access.log"), reset)
	fmt.Fprintf(&b, "%sedit %s and save: it is applied at once; sluice upgrade -c with it replaces the process%s\n\nCtrl-C stops everything.\n", dim, d.file("sluice.yaml"), reset)
	fmt.Fprint(d.out, b.String())
}

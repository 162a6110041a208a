package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// demoVariables are the shell variables that the guide puts tokens into.
var demoVariables = []struct{ name, token string }{{"ACME", "standard"}, {"GLOBEX", "premium"}, {"ADMIN", "admin"}}

// steps are the things to try, for the guide and for demo.json.
func (d *demo) steps(f *demoFile) []demoStep {
	as := func(who, path string) string {
		return fmt.Sprintf(`curl -i -H "Authorization: Bearer $%s" %s%s`, who, f.Gateway, path)
	}
	last := f.Nodes[len(f.Nodes)-1]
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
		{Title: "Over the limit" + at(f, last), short: fmt.Sprintf(`curl -i -H "Authorization: Bearer $ACME" %s/api/items/42`, last.Address),
			Expect: "429 with Retry-After; globex is not touched by it"},
		{Title: "Who holds what of acme's quota", short: fmt.Sprintf("%s cluster key acme -c %s", d.command(), d.file("sluice.yaml")),
			Expect: "1000 = used + held + free, and each node's part"},
		{Title: "Another limit for acme", short: fmt.Sprintf("%s tenant set acme --requests 20000 -c %s", d.command(), d.file("sluice.yaml")),
			Expect: "20000/1h; sluice audit says who set it"},
		{Title: "It holds on every node within a second" + at(f, last), short: fmt.Sprintf(`sleep 1; curl -i -H "Authorization: Bearer $ACME" %s/api/items/42`, last.Address),
			Expect: "200 with X-RateLimit-Limit: 20000; what was used stays used"},
		{Title: "A token for any tenant", short: fmt.Sprintf(`curl -s -X POST "%s/token?tenant=umbrella&tier=enterprise"`, f.Issuer),
			Expect: "access_token, token_type, expires_in"},
	}
	if !d.Cluster() {
		steps = slices.DeleteFunc(steps, func(s demoStep) bool { return strings.Contains(s.short, " cluster key ") })
	}
	for i := range steps {
		steps[i].Command = steps[i].short
		for _, v := range demoVariables {
			steps[i].Command = strings.ReplaceAll(steps[i].Command, "$"+v.name, f.Tokens[v.token])
		}
	}
	return steps
}

// at says which node is meant, when there are several.
func at(f *demoFile, n demoNode) string {
	if len(f.Nodes) == 1 {
		return ""
	}
	return ", at another node (" + n.Name + ")"
}

// command is how to call this binary.
func (d *demo) command() string {
	if path, err := exec.LookPath("sluice"); err == nil && sameFile(path) {
		return "sluice"
	}
	return os.Args[0]
}

// sameFile reports whether path is this binary.
func sameFile(path string) bool {
	self, err := os.Executable()
	if err != nil {
		return false
	}
	one, err1 := os.Stat(self)
	two, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(one, two)
}

// guide prints what to try.
func (d *demo) guide(f *demoFile) {
	bold, dim, cyan, reset := "\x1b[1m", "\x1b[2m", "\x1b[36m", "\x1b[0m"
	if !d.color {
		bold, dim, cyan, reset = "", "", "", ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%ssluice demo%s   gateway %s   admin %s   issuer %s\n", bold, reset, f.Gateway, f.Admin, f.Issuer)
	if d.Cluster() {
		for _, n := range f.Nodes {
			fmt.Fprintf(&b, "%s  gateway %s  admin %s\n", n.Name, n.Address, n.Admin)
		}
		books := "the nodes keep the books of quotas: no Redis was asked for, or none answers on 127.0.0.1:6379"
		if d.Redis != "" {
			books = "Redis on " + d.Redis + " keeps the books of quotas"
		}
		fmt.Fprintf(&b, "%s%s%s\n", dim, books, reset)
	}
	fmt.Fprintf(&b, "%sconfiguration, tokens and logs: %s%s\n", dim, d.Dir, reset)
	fmt.Fprintf(&b, "\n%sIn another terminal, the tokens%s\n", bold, reset)
	for _, v := range demoVariables {
		fmt.Fprintf(&b, "%s%s=%s%s\n", cyan, v.name, f.Tokens[v.token], reset)
	}
	for i, s := range f.Steps {
		fmt.Fprintf(&b, "\n%s%d. %s%s\n%s%s%s\n%s%s%s\n", bold, i+1, s.Title, reset, cyan, s.short, reset, dim, s.Expect, reset)
	}
	yaml, sluice := d.file("sluice.yaml"), d.command()
	fmt.Fprintf(&b, "\n%sLook inside%s\n%scurl -s %s/metrics | grep ^sluice_\n", bold, reset, cyan, f.Admin)
	if d.Cluster() {
		fmt.Fprintf(&b, "%s cluster status -c %s\n", sluice, yaml)
	}
	fmt.Fprintf(&b, "tail -f %s%s\n", d.accessLog(), reset)
	fmt.Fprintf(&b, "%sedit %s and save: it is applied at once; %s upgrade -c with it replaces the process%s\n", dim, yaml, sluice, reset)
	if d.Cluster() {
		fmt.Fprintf(&b, "%skill -9 a node ($(cat %s)): the others go on, and it is started again%s\n", dim, f.Nodes[len(f.Nodes)-1].PIDFile, reset)
	}
	fmt.Fprint(&b, "\nCtrl-C stops everything.\n")
	fmt.Fprint(d.out, b.String())
}

// accessLog is the first node's.
func (d *demo) accessLog() string {
	if d.Cluster() {
		return filepath.Join(d.First().data(d), "access.log")
	}
	return d.file("access.log")
}

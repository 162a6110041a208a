//go:build integration

package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/issuer"
	"sluice/internal/testkit"
	"sluice/internal/testkit/pgtest"
)

// policyConfig is a node of a platform whose policies are in a database.
const policyConfig = `
node: {name: "{{.Name}}", data_dir: "{{.Dir}}/data"}
listeners: [{address: "{{.Listen}}"}]
admin: {address: "{{.Admin}}", token: operator-0123456789abcdef}
store: {url: "{{.Store}}"}
auth:
  api_keys: {}
  issuers: [{issuer: "{{.Issuer}}", audience: ` + audience + `}]
tiers: {standard: {requests: 1000, per: 1h}, premium: {requests: 5000, per: 1h}}
limits: {default_tier: standard}
services: {app: {upstreams: ["{{.Upstream}}"]}}
routes:
  - {name: items, path: /items/*, service: app}
  - {name: export, path: /export, service: app}
logs: {access: {file: "off"}}
`

// platform are two nodes with one database, and what is around them.
type platform struct {
	t     *testing.T
	nodes []*testkit.Gateway
	start func(name string) *testkit.Gateway
	acme  string // a token
}

func newPlatform(t *testing.T, url string) *platform {
	t.Helper()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") }))
	t.Cleanup(up.Close)
	tokens := newIssuer(t)
	p := &platform{t: t, acme: "Bearer " + token(t, tokens, issuer.Claims{Tenant: "acme", TTL: time.Hour})}
	p.start = func(name string) *testkit.Gateway {
		return testkit.StartGateway(t, policyConfig, map[string]any{"Name": name, "Store": url, "Issuer": tokens.URL(), "Upstream": up.URL})
	}
	p.nodes = []*testkit.Gateway{p.start("gw-1"), p.start("gw-2")}
	return p
}

// command runs a command against the first node.
func (p *platform) command(args ...string) string {
	p.t.Helper()
	out, errs, code := run(p.t, append(args, "-c", p.nodes[0].Config)...)
	if code != 0 {
		p.t.Fatalf("sluice %s: exit %d: %s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// get asks a node, and returns status and limit.
func (p *platform) get(node *testkit.Gateway, path, header, value string) (status int, limit string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, node.URL+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set(header, value)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("X-RateLimit-Limit")
}

// everywhere waits until each node answers so.
func (p *platform) everywhere(path, header, value string, status int, limit string) {
	p.t.Helper()
	began := time.Now()
	for _, n := range p.nodes {
		testkit.Eventually(p.t, 20*time.Second, func() error {
			if s, l := p.get(n, path, header, value); s != status || l != limit {
				return fmt.Errorf("status %d, limit %s; want %d, %s", s, l, status, limit)
			}
			return nil
		})
	}
	p.t.Logf("on %d nodes after %v", len(p.nodes), time.Since(began).Round(time.Millisecond))
}

func TestOperatorsDecisionsHoldOnEveryNode(t *testing.T) {
	for engine, url := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite://" + filepath.Join(t.TempDir(), "sluice.db") },
		"postgres": func(t *testing.T) string { return pgtest.Start(t).URL },
	} {
		t.Run(engine, func(t *testing.T) { t.Parallel(); decisions(t, newPlatform(t, url(t))) })
	}
}

func decisions(t *testing.T, p *platform) {
	const auth = "Authorization"
	p.everywhere("/items/1", auth, p.acme, 200, "1000")
	p.command("tenant", "set", "acme", "--tier", "premium", "--name", "Acme 'Ltd'; --")
	p.everywhere("/items/1", auth, p.acme, 200, "5000")
	p.command("tier", "set", "premium", "--requests", "6000")
	p.everywhere("/items/1", auth, p.acme, 200, "6000")
	p.command("tenant", "set", "acme", "--requests", "70000", "--per", "1m")
	p.everywhere("/items/1", auth, p.acme, 200, "70000")
	p.command("tenant", "raise", "acme", "--requests", "90000", "--for", "1h", "--reason", "launch")
	p.everywhere("/items/1", auth, p.acme, 200, "90000")
	if out := p.command("tenant", "usage", "acme"); !strings.Contains(out, "90000/1h") {
		t.Errorf("usage: %s", out)
	}
	p.command("tenant", "suspend", "acme", "--reason", "unpaid")
	p.everywhere("/items/1", auth, p.acme, 403, "")
	if out := p.command("tenant", "list", "--suspended"); !strings.Contains(out, "unpaid") {
		t.Errorf("list: %s", out)
	}
	p.command("tenant", "resume", "acme")
	p.everywhere("/items/1", auth, p.acme, 200, "90000")

	// A key, its rotation and its end.
	var key struct{ ID, Key string }
	create := func(args ...string) {
		t.Helper()
		stdout, stderr, code := run(t, append(args, "-o", "json", "-c", p.nodes[0].Config)...)
		if code != 0 || json.Unmarshal([]byte(stdout), &key) != nil || key.Key == "" {
			t.Fatalf("exit %d: %s%s", code, stdout, stderr)
		}
	}
	create("key", "create", "--tenant", "globex", "--name", "export", "--route", "export", "--requests", "9")
	first := key.Key
	p.everywhere("/export", "X-API-Key", first, 200, "9")
	p.everywhere("/items/1", "X-API-Key", first, 403, "")
	create("key", "rotate", key.ID, "--overlap", "1h")
	p.everywhere("/export", auth, "Bearer "+key.Key, 200, "9")
	p.everywhere("/export", "X-API-Key", first, 200, "9")
	p.command("key", "revoke", key.ID, "--reason", "over")
	p.everywhere("/export", "X-API-Key", key.Key, 401, "")
	p.everywhere("/export", "X-API-Key", first, 401, "")

	// Networks, and what the firewall does.
	p.command("address-list", "set", "us", "--deny", "127.0.0.0/8", "--route", "export", "--reason", "test")
	p.everywhere("/export", auth, p.acme, 403, "")
	p.everywhere("/items/1", auth, p.acme, 200, "90000")
	p.command("address-list", "add", "us", "192.0.2.7")
	p.command("address-list", "remove", "us", "127.0.0.0/8")
	p.everywhere("/export", auth, p.acme, 200, "90000")
	const attack = "/items/1?q=1%27%20UNION%20SELECT%20password%20FROM%20users--"
	p.everywhere(attack, auth, p.acme, 200, "90000")
	p.command("rule", "set", "strict", "--tenant", "acme", "--mode", "block", "--reason", "test")
	p.everywhere(attack, auth, p.acme, 403, "")
	p.command("rule", "set", "sql", "--route", "items", "--tag", "attack-sqli", "--argument", "q", "--reason", "test")
	p.everywhere(attack, auth, p.acme, 200, "90000")

	// To version control and back.
	file := filepath.Join(t.TempDir(), "policies.yaml")
	out := p.command("export")
	if err := os.WriteFile(file, []byte(strings.Replace(out, "requests: 6000", "requests: 6500", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff, code := sluice(t, "apply", "--dry-run", file, "-c", p.nodes[0].Config); code != 1 || !strings.Contains(diff, "-   requests: 6000\n+   requests: 6500") {
		t.Errorf("dry run: exit %d: %s", code, diff)
	}
	p.command("apply", file)
	if out := p.command("apply", "--dry-run", file); !strings.Contains(out, "no difference") {
		t.Errorf("applied twice: %s", out)
	}
	for _, want := range []string{"\naddress_lists:\n  us:", "192.0.2.7/32", "\nsecurity_rules:\n  sql:", "tag: attack-sqli"} {
		if !strings.Contains(out, want) {
			t.Errorf("the export has no %q: %s", want, out)
		}
	}
	p.command("rule", "delete", "sql")
	p.everywhere(attack, auth, p.acme, 403, "")
	p.command("apply", file)
	p.everywhere(attack, auth, p.acme, 200, "90000")
	p.command("tenant", "delete", "acme")
	p.command("tenant", "set", "acme", "--tier", "premium")
	p.everywhere("/items/1", auth, p.acme, 200, "6500")

	trail := p.command("audit", "--kind", "tenant", "--id", "acme")
	for _, want := range []string{"suspend", "unpaid", "bootstrap", "127.0.0.1"} {
		if !strings.Contains(trail, want) {
			t.Errorf("the audit has no %q: %s", want, trail)
		}
	}
	for _, n := range p.nodes {
		for _, secret := range []string{first, key.Key} {
			if strings.Contains(n.Output(), secret) {
				t.Error("the log tells a key")
			}
		}
	}
}

func TestABypassHoldsWithoutTheDatabase(t *testing.T) {
	p := newPlatform(t, "postgres://nobody@127.0.0.1:"+port(t)+"/none?sslmode=disable&connect_timeout=1")
	p.command("bypass", "on", "--tenant", "acme", "--for", "30m", "--reason", "incident 7")
	if out := p.command("bypass", "list"); !strings.Contains(out, "incident 7") {
		t.Error(out)
	}
	m := testkit.NewClient(t, p.nodes[0].AdminURL).Get("/metrics").Want(200)
	if body := string(m.Body); !strings.Contains(body, `sluice_emergency_active{kind="bypass"} 1`) || !strings.Contains(body, `sluice_store_up{engine="postgres"} 0`) {
		t.Errorf("metrics: %s", body)
	}
	if out, code := sluice(t, "tenant", "set", "acme", "--tier", "premium", "-c", p.nodes[0].Config); code != 1 || !strings.Contains(out, "database does not answer") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func port(t *testing.T) string {
	_, port, _ := strings.Cut(testkit.FreeAddr(t), ":")
	return port
}

// TestTheDatabaseMayDie kills PostgreSQL under load: nothing that is proxied
// fails, changes are refused, a node that starts meanwhile serves by its last
// snapshot, and all heals when the database is back.
func TestTheDatabaseMayDie(t *testing.T) {
	t.Parallel()
	db := pgtest.Start(t)
	p := newPlatform(t, db.URL)
	p.command("tenant", "set", "acme", "--requests", "1000000")
	p.everywhere("/items/1", "Authorization", p.acme, 200, "1000000")
	second := p.nodes[1]
	testkit.Eventually(t, 20*time.Second, func() error {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(second.Config), "data/policies.json"))
		if err == nil && !strings.Contains(string(text), "1000000") {
			err = fmt.Errorf("the snapshot has not got the tenant yet")
		}
		return err
	})

	var sent, failed atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				sent.Add(1)
				if status, _ := p.get(p.nodes[0], "/items/1", "Authorization", p.acme); status != 200 {
					failed.Add(1)
				}
			}
		})
	}
	db.Kill()
	testkit.Eventually(t, 20*time.Second, func() error {
		r := testkit.NewClient(t, p.nodes[0].AdminURL).Get("/readyz")
		if r.Status != 200 || !strings.Contains(string(r.Body), "database does not answer") {
			return fmt.Errorf("%d %s", r.Status, r.Body)
		}
		return nil
	})
	if out, code := sluice(t, "tenant", "set", "acme", "--requests", "5", "-c", p.nodes[0].Config); code != 1 || !strings.Contains(out, "database does not answer") {
		t.Errorf("a change: exit %d: %s", code, out)
	}
	if out := p.command("tenant", "list"); !strings.Contains(out, "1000000") {
		t.Errorf("what is known is not shown: %s", out)
	}
	second.Stop()
	again := testkit.Start(t, testkit.Command{Path: testkit.Sluice(t), Args: []string{"serve", "--config", second.Config}, Dir: filepath.Dir(second.Config)})
	testkit.Eventually(t, 30*time.Second, func() error {
		resp, err := http.Get(second.AdminURL + "/readyz")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			return fmt.Errorf("%s\n%s", resp.Status, again.Output())
		}
		return nil
	})
	if status, limit := p.get(second, "/items/1", "Authorization", p.acme); status != 200 || limit != "1000000" {
		t.Errorf("a node that starts without the database: %d, limit %s", status, limit)
	}
	db.Run()
	testkit.Eventually(t, 20*time.Second, func() error {
		if out, code := sluice(t, "tenant", "set", "acme", "--requests", "2000000", "-c", p.nodes[0].Config); code != 0 {
			return fmt.Errorf("exit %d: %s", code, out)
		}
		return nil
	})
	p.everywhere("/items/1", "Authorization", p.acme, 200, "2000000")
	close(stop)
	clients.Wait()
	if failed.Load() > 0 || sent.Load() == 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), sent.Load())
	}
	t.Logf("%d requests", sent.Load())
}

//go:build integration

package test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter/mmdbtype"

	"sluice/internal/geofile"
	"sluice/internal/issuer"
	"sluice/internal/testkit"
)

// guardConfig is a node of a cluster behind a load balancer, so that tests can come
// from any address.
const guardConfig = `
node: {name: "{{.Name}}", data_dir: "{{.Data}}"}
listeners: [{address: "{{.Listen}}", trusted_proxies: [127.0.0.1]}]
admin: {address: "{{.Admin}}", token: "0123456789abcdef0123456789"}
{{if .Gossip}}cluster: {bind: "{{.Gossip}}", join: ["{{.Join}}"], secret: "{{.Secret}}"}{{end}}
auth:
  issuers:
    - {issuer: "{{.Issuer}}", audience: https://api.acme.example}
limits: {default_tier: big, anonymous: {requests: 100000}}
tiers: {big: {requests: 1000000}}
services: {items: {upstreams: ["{{.Upstream}}"]}}
routes:
  - {name: api, path: /api/*, service: items, strip: /api}
  - {name: open, path: /open/*, service: items, strip: /open, auth: none}
waf:
  geo: {database: "{{.Geo}}"}
  detector: {mode: enforce}
  bans: [{{.Bans}}]
logs: {access: {file: "off"}}
`

const operator = "0123456789abcdef0123456789"

type guarded struct {
	*testkit.Gateway
	vars map[string]any
}

// startGuarded starts nodes before the FastAPI example; one alone is no cluster.
func startGuarded(t *testing.T, n int) ([]*guarded, *issuer.Issuer) {
	t.Helper()
	i := newIssuer(t)
	api := testkit.StartFastAPI(t)
	geo := filepath.Join(t.TempDir(), "geo.mmdb")
	place := mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String("KP")}, "autonomous_system_number": mmdbtype.Uint32(64496)}
	if err := geofile.Write(geo, map[string]mmdbtype.DataType{"198.51.100.0/24": place}); err != nil {
		t.Fatal(err)
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	var nodes []*guarded
	var seed string
	for k := range n {
		vars := map[string]any{
			"Name": fmt.Sprint("gw-", k+1), "Data": t.TempDir(), "Issuer": i.URL(), "Upstream": api.URL, "Geo": geo, "Bans": "", "Gossip": "",
			"Secret": base64.StdEncoding.EncodeToString(secret),
		}
		if n > 1 {
			gossip := testkit.FreeAddr(t)
			if k == 0 {
				seed = gossip
			}
			vars["Gossip"], vars["Join"] = gossip, seed
		}
		nodes = append(nodes, &guarded{testkit.StartGateway(t, guardConfig, vars), vars})
	}
	if n > 1 {
		for _, g := range nodes {
			testkit.Eventually(t, 30*time.Second, func() error {
				if got := members(t, g.Gateway); len(got) != n {
					return fmt.Errorf("sees %v", got)
				}
				return nil
			})
		}
	}
	return nodes, i
}

// curl sends a request with the real client, as a log-in script would; options
// are curl's.
func curl(t *testing.T, g *guarded, path string, options ...string) int {
	t.Helper()
	out, err := exec.Command("curl", append([]string{"-sS", "-o", os.DevNull, "-w", "%{http_code}", "--max-time", "20", g.URL + path}, options...)...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("curl %s: %v: %s", path, err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var status int
	fmt.Sscan(string(out), &status)
	return status
}

func from(address string) []string { return []string{"-H", "X-Forwarded-For: " + address} }

func bearer(t *testing.T, i *issuer.Issuer, c issuer.Claims) []string {
	return []string{"-H", "Authorization: Bearer " + token(t, i, c)}
}

// everywhere waits until a request gets the status on all nodes, and returns how
// long it took.
func everywhere(t *testing.T, nodes []*guarded, want int, path string, options ...string) time.Duration {
	t.Helper()
	began := time.Now()
	for _, g := range nodes {
		testkit.Eventually(t, 10*time.Second, func() error {
			if got := curl(t, g, path, options...); got != want {
				return fmt.Errorf("%s on %s: got %d, want %d", path, g.vars["Name"], got, want)
			}
			return nil
		})
	}
	return time.Since(began)
}

// TestBansHoldOnEveryNode shares one cluster.
func TestBansHoldOnEveryNode(t *testing.T) {
	nodes, i := startGuarded(t, 3)
	t.Run("twenty failed log-ins", func(sub *testing.T) { failedLoginsBan(sub, t, nodes, i) })
	t.Run("every switch", func(t *testing.T) { everySwitch(t, nodes, i) })
}

// failedLoginsBan: nobody comes from that address
// any more, on no node, within a second; a client behind the same address with a
// valid token is let in where it is allowed.
func failedLoginsBan(t, whole *testing.T, nodes []*guarded, i *issuer.Issuer) {
	nat := from("203.0.113.7")
	good := append(bearer(t, i, issuer.Claims{Tenant: "acme", Subject: "auth0|ann"}), nat...)
	if got := curl(t, nodes[2], "/api/health", good...); got != 200 {
		t.Fatalf("a good client before: %d", got)
	}
	for n := range 20 {
		if got := curl(t, nodes[0], "/api/health", append(nat, "-H", fmt.Sprintf("Authorization: Bearer guess.%d.x", n%3))...); got != 401 {
			t.Fatalf("log-in %d: %d", n+1, got)
		}
	}
	took := everywhere(t, nodes, 403, "/open/health", nat...)
	t.Logf("banned on all nodes within %v", took)
	if took > time.Second {
		// Three curls on a busy machine may alone take as long: what the nodes say counts.
		for _, g := range nodes {
			ev := securityLine(t, g, `"kind":"ban_made"`)
			if at, _ := time.Parse(time.RFC3339, ev["time"].(string)); at.Sub(firstBan(t, nodes[0])) > time.Second {
				t.Errorf("%s banned it at %v", g.vars["Name"], at)
			}
		}
	}
	if got := curl(t, nodes[1], "/open/health", from("203.0.113.8")...); got != 200 {
		t.Errorf("the neighbour: %d", got)
	}
	if got := curl(t, nodes[1], "/api/health", good...); got != 403 {
		t.Errorf("a good client behind the banned address, not allowed: %d", got)
	}
	if out, code := sluice(t, "allow", "add", "subject=auth0|ann", "--for", "1h", "--reason", "a partner behind that NAT", "-c", nodes[1].Config); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	everywhere(t, nodes, 200, "/api/health", good...)
	everywhere(t, nodes, 403, "/api/health", append(bearer(t, i, issuer.Claims{Tenant: "acme", Subject: "auth0|eve"}), nat...)...)

	// A node that was killed hears it again from the others.
	nodes[2].Kill()
	nodes[2].Gateway = testkit.StartGateway(whole, guardConfig, nodes[2].vars)
	everywhere(t, nodes, 403, "/open/health", nat...)
	out, _, code := run(t, "ban", "list", "-o", "json", "-c", nodes[2].Config)
	var list []struct {
		Target, By, Reason, Source string
		Strikes                    int
	}
	if json.Unmarshal([]byte(out), &list); code != 0 || len(list) != 1 || list[0].Target != "203.0.113.7" || list[0].Source != "detector" || list[0].Strikes != 1 {
		t.Errorf("exit %d: %s", code, out)
	}
	if out, code := sluice(t, "ban", "remove", "203.0.113.7", "-c", nodes[2].Config); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	everywhere(t, nodes, 200, "/open/health", nat...)
	if out, code := sluice(t, "allow", "remove", "subject=auth0|ann", "-c", nodes[2].Config); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
}

// securityLine returns the first line of a node's security log that holds text.
func securityLine(t *testing.T, g *guarded, text string) (line map[string]any) {
	t.Helper()
	testkit.Eventually(t, 10*time.Second, func() error {
		log, err := os.ReadFile(filepath.Join(g.vars["Data"].(string), "security.log"))
		if err != nil {
			return err
		}
		for l := range strings.Lines(string(log)) {
			if strings.Contains(l, text) {
				return json.Unmarshal([]byte(l), &line)
			}
		}
		return fmt.Errorf("no line with %s in %d bytes", text, len(log))
	})
	return line
}

func firstBan(t *testing.T, g *guarded) time.Time {
	at, err := time.Parse(time.RFC3339, securityLine(t, g, `"kind":"detector","action":"block"`)["time"].(string))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestABanSurvivesARestartOfALoneNode starts the only node again on its data.
func TestABanSurvivesARestartOfALoneNode(t *testing.T) {
	nodes, _ := startGuarded(t, 1)
	if out, code := sluice(t, "ban", "add", "203.0.113.0/24", "--for", "1h", "--reason", "test", "-c", nodes[0].Config); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	everywhere(t, nodes, 403, "/open/health", from("203.0.113.9")...)
	nodes[0].Stop()
	nodes[0].Gateway = testkit.StartGateway(t, guardConfig, nodes[0].vars)
	if got := curl(t, nodes[0], "/open/health", from("203.0.113.9")...); got != 403 {
		t.Errorf("after the restart: %d", got)
	}
}

// everySwitch shuts out each kind of thing in each of the
// three ways, sees it on every node, and takes it back.
func everySwitch(t *testing.T, nodes []*guarded, i *issuer.Issuer) {
	ann := bearer(t, i, issuer.Claims{Tenant: "acme", Subject: "auth0|ann"})
	switches := map[string]struct {
		path    string
		options []string
	}{
		"203.0.113.9":       {"/open/health", from("203.0.113.9")},
		"2001:db8::/32":     {"/open/health", from("2001:db8:1::7")},
		"country=KP":        {"/open/health", from("198.51.100.7")},
		"asn=AS64496":       {"/open/health", from("198.51.100.8")},
		"tenant=acme":       {"/api/health", ann},
		"subject=auth0|ann": {"/api/health", ann},
		"route=open":        {"/open/health", nil},
		"path=/api/hea*":    {"/api/health", ann},
		"agent=sqlmap":      {"/open/health", []string{"-A", "sqlmap/1.8 (https://sqlmap.org)"}},
	}
	check := func(way string, want int, nodes []*guarded) {
		t.Helper()
		for target, s := range switches {
			for _, g := range nodes {
				testkit.Eventually(t, 10*time.Second, func() error {
					if got := curl(t, g, s.path, s.options...); got != want {
						return fmt.Errorf("%s by %s on %s: got %d, want %d", target, way, g.vars["Name"], got, want)
					}
					return nil
				})
			}
		}
	}
	check("nothing", 200, nodes[:1])

	for target := range switches {
		if out, code := sluice(t, "ban", "add", target, "--for", "1h", "--reason", "drill", "-c", nodes[0].Config); code != 0 {
			t.Fatalf("ban add %s: exit %d: %s", target, code, out)
		}
	}
	check("the command", 403, nodes)
	for target := range switches {
		if out, code := sluice(t, "ban", "remove", target, "-c", nodes[1].Config); code != 0 {
			t.Fatalf("ban remove %s: exit %d: %s", target, code, out)
		}
	}
	check("the command, and back", 200, nodes)

	api := func(g *guarded, method, path, body string, want int) {
		t.Helper()
		r, err := http.NewRequest(method, g.AdminURL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+operator)
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Fatalf("%s %s: %d, want %d", method, path, resp.StatusCode, want)
		}
	}
	for target := range switches {
		api(nodes[1], "POST", "/api/v1/bans", fmt.Sprintf(`{"target": %q, "for": "1h", "reason": "drill"}`, target), 201)
	}
	check("the API", 403, nodes)
	for target := range switches {
		api(nodes[2], "DELETE", "/api/v1/bans/"+url.PathEscape(target), "", 204)
	}
	check("the API, and back", 200, nodes)

	file := nodes[2]
	var lines []string
	for target := range switches {
		lines = append(lines, fmt.Sprintf("{target: %q, reason: drill, until: 2999-01-01T00:00:00Z}", target))
	}
	reload := func(list string) {
		t.Helper()
		file.vars["Bans"] = list
		file.WriteConfig(t, guardConfig, file.vars)
		if out, code := sluice(t, "reload", "-c", file.Config); code != 0 {
			t.Fatalf("reload: exit %d: %s", code, out)
		}
	}
	reload(strings.Join(lines, ", "))
	check("the file", 403, []*guarded{file})
	check("another's file", 200, nodes[:1])
	reload("")
	check("the file, and back", 200, nodes)
}

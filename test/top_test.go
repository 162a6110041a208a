//go:build integration

package test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/internal/testkit"
)

const topConfig = `
node: {name: "{{.Name}}", data_dir: "{{.Dir}}/data"}
listeners: [{address: "{{.Listen}}"}]
admin: {address: "{{.Admin}}"}
logs: {access: {file: "off"}}
cluster: {bind: "{{.Gossip}}", join: ["{{.Join}}"], secret: "{{.Secret}}"}
services: {app: {upstreams: ["{{.Upstream}}"]}}
routes:
  - {name: works, path: /works, service: app, auth: none}
  - {name: fails, path: /fails, service: app, auth: none}
`

type topTraffic struct {
	Name     string
	Requests int
	Status   map[string]int
	P99      float64 `json:"p99_ms"`
}

type topLook struct {
	Nodes, Missing []string
	Total          topTraffic
	Routes         []topTraffic
	Bans           []struct{ Target string }
}

// TestTopShowsTheTrafficOfTheCluster sends requests through two nodes, upgrades
// one of them, and asks the other.
func TestTopShowsTheTrafficOfTheCluster(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fails" {
			time.Sleep(50 * time.Millisecond)
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(app.Close)
	secret := make([]byte, 32)
	rand.Read(secret)
	seed := testkit.FreeAddr(t)
	var nodes []*testkit.Gateway
	for i, gossip := range []string{seed, testkit.FreeAddr(t)} {
		nodes = append(nodes, testkit.StartGateway(t, topConfig, map[string]any{
			"Name": fmt.Sprint("gw-", i+1), "Gossip": gossip, "Join": seed, "Secret": base64.StdEncoding.EncodeToString(secret), "Upstream": app.URL,
		}))
	}
	for _, g := range nodes {
		for i := range 20 {
			path := "/works"
			if i < 5 {
				path = "/fails"
			}
			resp, err := http.Get(g.URL + path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
	}
	look := func(want func(*topLook) error) {
		t.Helper()
		testkit.Eventually(t, 40*time.Second, func() error {
			out, stderr, code := run(t, "top", "--once", "--window", "10m", "-o", "json", "-c", nodes[0].Config)
			var l topLook
			if code != 0 || json.Unmarshal([]byte(out), &l) != nil {
				return fmt.Errorf("exit %d: %s%s", code, out, stderr)
			}
			if err := want(&l); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
	whole := func(l *topLook) error {
		switch {
		case len(l.Nodes) != 2 || len(l.Missing) != 0:
			return fmt.Errorf("nodes %v, missing %v", l.Nodes, l.Missing)
		case l.Total.Requests != 40 || l.Total.Status["5xx"] != 10:
			return fmt.Errorf("in all %+v", l.Total)
		case len(l.Routes) != 2 || l.Routes[0].Name != "works" || l.Routes[0].Requests != 30 || l.Routes[1].Status["5xx"] != 10:
			return fmt.Errorf("routes %+v", l.Routes)
		case l.Routes[1].P99 < 46 || l.Total.P99 < 46:
			return fmt.Errorf("p99 of what takes 50 ms: %+v", l)
		}
		return nil
	}
	look(whole)

	// The successor knows what its predecessor counted.
	if out, code := sluice(t, "upgrade", "-c", nodes[1].Config); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	look(whole)

	if out, code := sluice(t, "ban", "add", "203.0.113.9", "--for", "1h", "--reason", "test", "-c", nodes[0].Config); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	out, code := sluice(t, "top", "--once", "-c", nodes[0].Config)
	for _, part := range []string{"ROUTE", "works", "fails", "100.0%", "1 bans", "203.0.113.9"} {
		if code != 0 || !strings.Contains(out, part) {
			t.Errorf("exit %d, no %q in:\n%s", code, part, out)
		}
	}

	// A node that is killed is not in the numbers.
	nodes[1].Kill()
	look(func(l *topLook) error {
		if l.Total.Requests != 20 {
			return fmt.Errorf("in all %+v", l.Total)
		}
		return nil
	})
}

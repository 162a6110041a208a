//go:build integration

package test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice/internal/testkit"
)

const clusterConfig = `
node: {name: "{{.Name}}", data_dir: "{{.Dir}}/data"}
listeners: [{address: "{{.Listen}}"}]
admin: {address: "{{.Admin}}"}
cluster: {bind: "{{.Gossip}}", join: ["{{.Join}}"], secret: "{{.Secret}}"{{if .Nodes}}, nodes: {{.Nodes}}{{end}}}
services: {app: {upstreams: ["http://127.0.0.1:9"]}}
routes: [{path: /*, service: app, auth: none}]
`

// members asks a node, by the command, whom it sees in which state.
func members(t *testing.T, g *testkit.Gateway) map[string]string {
	t.Helper()
	out, _, code := run(t, "cluster", "members", "-o", "json", "-c", g.Config)
	var s struct {
		Members []struct {
			Name, State string
			Generation  int
		}
	}
	if code != 0 || json.Unmarshal([]byte(out), &s) != nil {
		t.Fatalf("exit %d: %s", code, out)
	}
	got := make(map[string]string)
	for _, m := range s.Members {
		got[m.Name] = m.State
		if m.Generation > 1 {
			got[m.Name] += fmt.Sprint(" ", m.Generation)
		}
	}
	return got
}

func TestNodesFindEachOther(t *testing.T) {
	t.Parallel()
	secret := make([]byte, 32)
	rand.Read(secret)
	vars := func(name, gossip, join string) map[string]any {
		return map[string]any{"Name": name, "Gossip": gossip, "Join": join, "Secret": base64.StdEncoding.EncodeToString(secret), "Nodes": 0}
	}
	seed := testkit.FreeAddr(t)
	nodes := []*testkit.Gateway{testkit.StartGateway(t, clusterConfig, vars("gw-1", seed, seed))}
	for _, name := range []string{"gw-2", "gw-3"} {
		nodes = append(nodes, testkit.StartGateway(t, clusterConfig, vars(name, testkit.FreeAddr(t), seed)))
	}
	see := func(want string, by ...*testkit.Gateway) {
		t.Helper()
		for _, g := range by {
			testkit.Eventually(t, 40*time.Second, func() error {
				if got := fmt.Sprint(members(t, g)); got != want {
					return fmt.Errorf("got %s, want %s", got, want)
				}
				return nil
			})
		}
	}
	see("map[gw-1:alive gw-2:alive gw-3:alive]", nodes...)

	// The one that all others join, and that names nobody but itself, finds them again.
	testkit.Eventually(t, 10*time.Second, func() error {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(nodes[0].Config), "data/peers.json"))
		if n := strings.Count(string(text), `"name"`); n != 2 {
			return fmt.Errorf("%d peers remembered: %s %w", n, text, err)
		}
		return nil
	})
	nodes[0].Kill()
	nodes[0].Process = testkit.Start(t, testkit.Command{Path: testkit.Sluice(t), Args: []string{"serve", "--config", nodes[0].Config}, Dir: filepath.Dir(nodes[0].Config)})
	nodes[0].WaitReady(nodes[0].AdminURL + "/readyz")
	see("map[gw-1:alive gw-2:alive gw-3:alive]", nodes...)

	// An upgrade is no event but an update.
	if out, code := sluice(t, "upgrade", "-c", nodes[1].Config); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	see("map[gw-1:alive gw-2:alive 2 gw-3:alive]", nodes...)
	for _, word := range []string{"suspected", `"dead"`, "member gone"} {
		if strings.Contains(nodes[0].Output(), word) {
			t.Errorf("a peer saw %s during an upgrade", word)
		}
	}

	// The key changes without a pause.
	out, code := sluice(t, "cluster", "keyring", "-c", nodes[0].Config)
	if code != 0 || strings.Count(out, "gw-") != 3 {
		t.Errorf("exit %d: %s", code, out)
	}

	// A node that stops says goodbye; one that is killed is found out.
	nodes[1].Stop()
	see("map[gw-1:alive gw-2:left 2 gw-3:alive]", nodes[0], nodes[2])
	nodes[2].Kill()
	see("map[gw-1:alive gw-2:left 2 gw-3:dead]", nodes[0])
}

func TestCommandsSayThatThereIsNoCluster(t *testing.T) {
	g := testkit.StartGateway(t, publicConfig, map[string]any{"Upstream": "http://127.0.0.1:9", "More": "", "Listener": "", "Listeners": ""})
	if out, code := sluice(t, "cluster", "status", "-c", g.Config); code != 1 || !strings.Contains(out, "no cluster section") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// A node that is alone and knows that it should not be has no authority of limits.
func TestTheLogSaysReadyWhenTheNodeIs(t *testing.T) {
	t.Parallel()
	dir, admin := t.TempDir(), testkit.FreeAddr(t)
	config := filepath.Join(dir, "sluice.yaml")
	testkit.WriteTemplate(t, config, clusterConfig, map[string]any{
		"Name": "gw-1", "Dir": dir, "Listen": testkit.FreeAddr(t), "Admin": admin, "Gossip": testkit.FreeAddr(t), "Join": testkit.FreeAddr(t),
		"Secret": base64.StdEncoding.EncodeToString(make([]byte, 32)), "Nodes": 3,
	})
	p := testkit.Start(t, testkit.Command{Path: testkit.Sluice(t), Args: []string{"serve", "--config", config}, Dir: dir})
	said := p.WaitOutput(`.*not ready yet.*`, 20*time.Second)
	if !strings.Contains(said[0], "no authority of limits is known") {
		t.Errorf("%s", said[0])
	}
	log := p.Output() // as it was before the question
	resp, err := http.Get("http://" + admin + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK && regexp.MustCompile(`msg"?[=:]"?ready\b`).MatchString(log) {
		t.Errorf("GET /readyz: %s, and the log:\n%s", resp.Status, log)
	}
}

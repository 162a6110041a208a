//go:build integration

package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/testkit"
	"sluice/internal/testkit/crssuite"
	"sluice/waf/crs"
)

// suiteAnswer is what became of one request of the suite.
type suiteAnswer struct {
	reached bool // the service
	status  int  // 0: the connection was closed without an answer
	id      string
}

// suiteConfig lets everything through but what the firewall refuses.
const suiteConfig = `
node: {data_dir: "{{.Dir}}/data"}
listeners: [{address: "{{.Listen}}"}]
admin: {address: "{{.Admin}}"}
limits: {anonymous: {requests: 1000000, per: 1h}}
services: {app: {upstreams: ["{{.Upstream}}"]}}
routes: [{path: /*, service: app, auth: none}]
waf: {mode: block, detector: {mode: "off"}}
logs: {access: {file: "{{.Dir}}/access.log"}}
`

// detectionGoal is the share of the requests with an expected rule of paranoia 1
// that the engine refuses by itself, in percent.
const detectionGoal = 97.87

// The Core Rule Set's own regression tests, sent to a running gateway byte by
// byte: what has to be detected at paranoia 1 does not reach the service, and
// the rules in the access log are those that the firewall finds when it is asked
// in this process, which a test of waf/crs compares with the engine alone.
func TestTheRuleSetsOwnTestsThroughTheGateway(t *testing.T) {
	cases, err := crssuite.Load()
	if err != nil {
		t.Fatal(err)
	}
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Reached", "yes")
	}))
	t.Cleanup(service.Close)
	g := testkit.StartGateway(t, suiteConfig, map[string]any{"Upstream": service.URL})
	addr := strings.TrimPrefix(g.URL, "http://")

	answers := make([]suiteAnswer, len(cases))
	var group sync.WaitGroup
	next := make(chan int)
	for range 4 {
		group.Go(func() {
			for i := range next {
				if err := answers[i].send(addr, &cases[i]); err != nil {
					t.Errorf("%s: %v", cases[i].Name, err)
				}
			}
		})
	}
	for i := range cases {
		next <- i
	}
	close(next)
	group.Wait()
	g.Stop()

	rules := loggedRules(t, filepath.Join(filepath.Dir(g.Config), "access.log"))
	stock, err := crs.New(crs.Profile{Paranoia: 1})
	if err != nil {
		t.Fatal(err)
	}
	settings := &crs.Settings{Threshold: 5, Limits: crs.DefaultLimits}
	must, stopped, compared, differ := 0, 0, 0, 0
	for i := range cases {
		c, a := &cases[i], &answers[i]
		if slices.ContainsFunc(c.Want, stock.Finds) {
			must++
			if a.reached {
				t.Logf("reached the service: %s, which wants %v", c.Name, c.Want)
			} else {
				stopped++
			}
		}
		logged, inspected := rules[a.id]
		if a.id == "" || !inspected || c.Raw() {
			continue // refused before the firewall, or framed as only the wire can
		}
		compared++
		v := stock.Inspect(&crs.Request{
			Client: netip.MustParseAddr("127.0.0.1"), Method: c.Method, Target: c.Target, Proto: "HTTP/1.1", Host: c.Host, Header: c.Header, Body: c.Body,
		}, settings)
		var want []int
		for _, f := range v.Findings {
			want = append(want, f.Rule)
		}
		if len(want) > 8 { // as many as a line holds
			want = want[:8]
		}
		slices.Sort(want)
		slices.Sort(logged)
		if !slices.Equal(want, logged) {
			differ++
			t.Logf("%s: the gateway found %v, this process %v", c.Name, logged, want)
		}
	}
	share := 100 * float64(stopped) / float64(must)
	t.Logf("%d requests; of %d with an expected rule of paranoia 1, %d did not reach the service (%.2f %%); rules compared of %d, %d differ", len(cases), must, stopped, share, compared, differ)
	if share < detectionGoal {
		t.Errorf("%.2f %% were detected, want %.2f %%", share, detectionGoal)
	}
	if differ > 6 { // four of which the framing on the wire makes other requests
		t.Errorf("%d of %d requests have other rules than in this process", differ, compared)
	}
	if must < 1900 || compared < 2000 {
		t.Errorf("%d requests to detect, %d compared: too few to mean anything", must, compared)
	}
}

// send sends a case on a connection of its own, and notes the answer.
func (a *suiteAnswer) send(addr string, c *crssuite.Case) error {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write(c.Wire()); err != nil {
		return nil // closed while the request was still being sent
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // a body that is shorter than its length ends here
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: c.Method})
	if err != nil {
		return nil // closed without an answer: not served either
	}
	defer func() { _ = r.Body.Close() }()
	_, _ = io.Copy(io.Discard, r.Body)
	a.status, a.reached, a.id = r.StatusCode, r.Header.Get("X-Reached") != "", r.Header.Get("X-Request-ID")
	return nil
}

// loggedRules reads which rules the access log has for each request.
func loggedRules(t *testing.T, name string) map[string][]int {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]int)
	for line := range bytes.Lines(text) {
		var l struct {
			ID    string `json:"request_id"`
			Route string
			WAF   struct{ Rules []int }
		}
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(fmt.Errorf("%w: %s", err, line))
		}
		if l.Route != "" {
			out[l.ID] = l.WAF.Rules
		}
	}
	return out
}

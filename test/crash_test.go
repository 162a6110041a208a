//go:build integration

package test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/testkit"
)

var errTooFew = errors.New("too few were admitted yet")

// TestCrashesKeepQuotas kills a lone node without Redis in the middle of traffic,
// again and again, and then stops it in order: a quota is never exceeded, and no
// crash costs more than 1 % of it.
func TestCrashesKeepQuotas(t *testing.T) {
	const limit, crashes = 2000, 6
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	defer up.Close()
	vars := map[string]any{"Upstream": up.URL, "Listener": "", "Listeners": "", "Dir": t.TempDir(), "Listen": testkit.FreeAddr(t), "Admin": testkit.FreeAddr(t),
		"More": "  - {path: /counted, service: app, auth: none, limit: {requests: 2000, per: 1h, by: route}}"}
	var admitted, unanswered atomic.Int64
	// drive sends requests until so many were admitted, or one was refused.
	drive := func(g *testkit.Gateway, until int64) *sync.WaitGroup {
		var wg sync.WaitGroup
		addr := strings.TrimPrefix(g.URL, "http://")
		for range 8 {
			wg.Go(func() {
				c := strict{addr: addr}
				defer c.close()
				for admitted.Load() < until {
					resp, _, err := c.do("GET", "/counted", "", nil, 0)
					switch {
					case err != nil:
						if c.conn != nil { // it was sent, and may have been admitted
							unanswered.Add(1)
						}
						return
					case resp.StatusCode == 200:
						admitted.Add(1)
					case resp.StatusCode == 429:
						return
					default:
						t.Errorf("status %d", resp.StatusCode)
						return
					}
				}
			})
		}
		return &wg
	}
	for i := range int64(crashes) {
		g := testkit.StartGateway(t, publicConfig, vars)
		enough := (i + 1) * limit / (crashes + 2)
		wg := drive(g, limit+1) // it does not stop by itself
		testkit.Eventually(t, 30*time.Second, func() error {
			if n := admitted.Load(); n < enough {
				return errTooFew
			}
			return nil
		})
		g.Kill()
		wg.Wait()
	}
	g := testkit.StartGateway(t, publicConfig, vars)
	if v := metric(t, g, "sluice_limit_durable"); v != 1 {
		t.Errorf("sluice_limit_durable is %v", v)
	}
	drive(g, admitted.Load()+50).Wait()
	before := admitted.Load()
	g.Stop()
	g = testkit.StartGateway(t, publicConfig, vars)
	if r := g.Client(t).Get("/counted"); r.Status == 200 {
		admitted.Add(1)
	}
	drive(g, 2*limit).Wait()
	got, lost := admitted.Load(), unanswered.Load()
	t.Logf("%d of %d admitted over %d crashes, %d without an answer; %d after an orderly restart", got, limit, crashes, lost, got-before)
	if got > limit {
		t.Errorf("%d admitted, the limit is %d", got, limit)
	}
	if got+lost < limit-crashes*limit/100 {
		t.Errorf("%d admitted and %d unanswered: %d crashes cost more than 1 %% of %d each", got, lost, crashes, limit)
	}
}

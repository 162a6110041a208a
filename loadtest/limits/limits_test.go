package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"sluice/loadtest/limits/traffic"
)

// shortWindow is the hour of these tests.
const shortWindow = 3 * time.Second

// TestSluiceKeepsWhatOthersDoNot is a short contest on loopback. It claims of the
// others what makes the table worth reading, and of sluice that no trailing window
// has more than the limit, on however busy a machine.
func TestSluiceKeepsWhatOthersDoNot(t *testing.T) {
	p := traffic.New("short", 1, 3, shortWindow, 3*shortWindow,
		traffic.Flow{Name: "calm", Load: 0.5, Spread: traffic.Each, Tenants: 3, Limit: 100},
		traffic.Flow{Name: "over", Load: 3, Spread: traffic.Each, Tenants: 3, Limit: 101},
		traffic.Flow{Name: "edge", Shape: traffic.Edge, Load: 1.2, Tenants: 1, Limit: 102},
	)
	r := start(t, settings{nodes: 3, window: shortWindow, limits: limitsOf(p), loopback: true, others: true})
	results, err := r.run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	behaviour(&text, []row{{"calm", []string{"calm"}}, {"over", []string{"over"}}, {"edge", []string{"edge"}}}, flowNames(p), results)
	t.Logf("\n%s", text.String())
	by := map[string]result{}
	for _, r := range results {
		by[r.who] = r
	}
	if s := by["sluice"].all; s.Excess != 0 {
		t.Errorf("sluice admitted %d above the limit", s.Excess)
	}
	if s := by["sluice"].all; s.Throughput() < 0.5 {
		t.Errorf("sluice admitted %.2f of what an exact log does: so it is no wonder that it kept the limit", s.Throughput())
	}
	if by["sluice"].all.Requests != int64(len(p.Requests)) {
		t.Errorf("%d decisions about %d requests", by["sluice"].all.Requests, len(p.Requests))
	}
	if s := by["limit/N"].all; s.Excess != 0 || s.CalmRefusals == 0 && s.Throughput() > 0.99 {
		t.Errorf("limit/N: %+v", s)
	}
	if s := by["gossip of counts"].flows[1]; s.Excess == 0 {
		t.Error("gossip of counts kept the limit")
	}
	if s := by["two buckets in Redis"].flows[2]; s.ExcessShare < 0.3 {
		t.Errorf("two buckets: an attack on the edge got %.2f of the limit beyond it", s.ExcessShare)
	}
}

// TestTheOracleFindsSeededBugs gives the nodes bugs that overspend.
func TestTheOracleFindsSeededBugs(t *testing.T) {
	for _, bug := range []string{"double-return", "early-stamp"} {
		t.Run(bug, func(t *testing.T) {
			t.Parallel()
			p := traffic.New(bug, 1, 3, shortWindow, 4*shortWindow, traffic.Flow{Name: "over", Load: 2, Spread: traffic.Each, Tenants: 6, Limit: 100})
			r := start(t, settings{nodes: 3, window: shortWindow, limits: limitsOf(p), loopback: true, bug: bug})
			results, err := r.run(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if s := results[0].all; s.Excess == 0 {
				t.Errorf("not found: %+v", s)
			} else {
				t.Logf("found: %d above the limit, %.0f %%", s.Excess, 100*s.ExcessShare)
			}
		})
	}
}

// start opens a ring for the time of a test.
func start(t *testing.T, s settings) *ring {
	t.Helper()
	s.dir = t.TempDir()
	r, err := open(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r
}

func TestMain(m *testing.M) { os.Exit(m.Run()) }

package sim

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	seeds = flag.Int("seeds", 200, "how many random fault schedules to run")
	seed  = flag.Uint64("seed", 0, "the first one, to replay a run")
)

func calm(o Options) Options {
	return Options{Seed: 1, Nodes: 3, Keys: 1, Limit: 200, Window: 20 * time.Second, Redis: o.Redis, Rate: 15, For: 90 * time.Second}
}

func TestACalmCluster(t *testing.T) {
	for _, redis := range []bool{true, false} {
		t.Run(fmt.Sprintf("redis %v", redis), func(t *testing.T) {
			r := Run(calm(Options{Redis: redis}))
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			share := float64(r.Admitted) / float64(r.Exact)
			t.Logf("%+v: %.1f %% of exact, %.3f takes a request", r, 100*share, float64(r.Takes)/float64(r.Requests))
			if share < 0.95 {
				t.Errorf("%.3f of what an exact log admits", share)
			}
		})
	}
}

// kinds runs f with Redis and without, for each spread of the requests over the nodes.
func kinds(t *testing.T, f func(t *testing.T, o Options)) {
	for _, redis := range []bool{true, false} {
		for _, spread := range []Spread{Even, Zipf, Moving} {
			t.Run(fmt.Sprintf("redis %v, spread %d", redis, spread), func(t *testing.T) {
				f(t, Options{Seed: 1, Nodes: 3, Window: 20 * time.Second, Redis: redis, Spread: spread, Calm: true})
			})
		}
	}
}

// TestWhoStaysBelowTheQuotaIsNotRefused has tenants ask for 70 % of their quota, at
// random, which is at most 85 % in any window; what lies with other nodes is to come
// in time.
func TestWhoStaysBelowTheQuotaIsNotRefused(t *testing.T) {
	kinds(t, func(t *testing.T, o Options) {
		o.Keys, o.For = 2, 90*time.Second
		for _, o.Limit = range []int64{204, 5000} {
			o.Rate = float64(o.Keys) * 0.7 * float64(o.Limit) / o.Window.Seconds()
			r := Run(o)
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			refused := r.Refused - (r.Requests - r.Exact)
			t.Logf("limit %d: %d of %d refused, %.4f questions a request", o.Limit, refused, r.Requests, float64(r.Questions)/float64(r.Requests))
			// The messages of one recall in a thousand take longer than a request waits.
			if refused > 1+r.Requests/5000 {
				t.Errorf("limit %d: %d of %d refused", o.Limit, refused, r.Requests)
			}
		}
	})
}

// TestUpgradesCostNothing has all nodes of a cluster without Redis upgraded, one after
// the other: the books travel, so nobody below its quota is refused, and no authority
// has to begin anew.
func TestUpgradesCostNothing(t *testing.T) {
	for s := range uint64(20) {
		o := Options{Seed: s, Nodes: 3, Keys: 4, Limit: 1000, Window: 20 * time.Second, For: 60 * time.Second, Calm: true}
		o.Rate = float64(o.Keys) * 0.3 * float64(o.Limit) / o.Window.Seconds()
		for i := range 6 {
			o.Faults = append(o.Faults, Fault{Kind: Upgrade, Node: i, At: time.Duration(15+6*i) * time.Second})
		}
		r := Run(o)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		t.Logf("seed %d: %d of %d refused, %d epochs", s, r.Refused, r.Requests, r.Epochs)
		if r.Refused > r.Requests/500 || r.Epochs > 0 {
			t.Errorf("seed %d: %d of %d refused, %d epochs", s, r.Refused, r.Requests, r.Epochs)
		}
	}
}

func TestBurstsGetTheirQuota(t *testing.T) {
	kinds(t, func(t *testing.T, o Options) {
		o.Keys, o.Limit, o.Burst, o.For = 1, 500, 1.2, 200*time.Second
		r := Run(o)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		share := float64(r.Admitted) / float64(r.Exact)
		t.Logf("%.2f %% of exact, %.3f questions a request", 100*share, float64(r.Questions)/float64(r.Requests))
		if share < 0.998 {
			t.Errorf("%.4f of what an exact log admits, want 0.999", share)
		}
	})
}

// schedule makes one random run.
func schedule(seed uint64) Options {
	rnd := rand.New(rand.NewPCG(seed, 77))
	o := Options{
		Seed: seed, Nodes: 3 + rnd.IntN(3), Keys: 1 + rnd.IntN(3), Limit: 20 + rnd.Int64N(300),
		Window: time.Duration(10+rnd.IntN(50)) * time.Second, Redis: rnd.IntN(3) > 0,
		Drift: []float64{0, 400e-6}[rnd.IntN(2)],
		For:   100 * time.Second, Loss: []float64{0, 0.02, 0.2}[rnd.IntN(3)],
	}
	o.Rate = 1.5 * float64(o.Limit) / o.Window.Seconds() * float64(o.Keys) * (0.5 + rnd.Float64())
	for range 1 + rnd.IntN(3) {
		f := Fault{
			Kind: FaultKind(rnd.IntN(int(Forget) + 1)), Node: rnd.IntN(o.Nodes), Other: rnd.IntN(o.Nodes),
			At: 12*time.Second + time.Duration(rnd.Int64N(int64(60*time.Second))),
		}
		f.Until = f.At + time.Duration(rnd.Int64N(int64(40*time.Second)))
		o.Faults = append(o.Faults, f)
	}
	for range rnd.IntN(4) {
		o.Faults = append(o.Faults, Fault{Kind: Upgrade, Node: rnd.IntN(o.Nodes), At: 12*time.Second + time.Duration(rnd.Int64N(int64(70*time.Second)))})
	}
	return o
}

func TestRandomFaultsKeepTheLimit(t *testing.T) {
	if raceEnabled {
		*seeds = min(*seeds, 15) // there is one goroutine
	}
	for s := *seed; s < *seed+uint64(*seeds); s++ {
		o := schedule(s)
		if r := Run(o); r.Err != nil {
			t.Errorf("%v\n%+v", r.Err, o)
		}
	}
}

// TestASeededBugIsFound shows that the runs above could fail.
func TestASeededBugIsFound(t *testing.T) {
	for name, bugs := range map[string]Bugs{
		"no fence": {NoFence: true}, "early stamp": {EarlyStamp: true}, "double return": {DoubleReturn: true},
	} {
		t.Run(name, func(t *testing.T) {
			for s := range uint64(*seeds) {
				o := schedule(s)
				o.Bugs = bugs
				if bugs.NoFence {
					// A node that wakes up with rights that were reclaimed while it slept.
					o.Faults = []Fault{{Kind: Pause, Node: int(s), At: 20 * time.Second, Until: 60 * time.Second}}
				}
				if found(o) {
					t.Logf("found by seed %d", s)
					return
				}
			}
			t.Errorf("not found in %d runs", *seeds)
		})
	}
}

// found runs o and reports whether the claim, or one of the state machine's own
// invariants, was seen broken.
func found(o Options) (yes bool) {
	defer func() { yes = yes || recover() != nil }()
	return Run(o).Err != nil
}

func TestASeedGivesOneRun(t *testing.T) {
	for s := range uint64(10) {
		if a, b := Run(schedule(s)), Run(schedule(s)); fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("seed %d: %+v, then %+v", s, a, b)
		}
	}
}

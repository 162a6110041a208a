package limiter

import (
	"math/rand/v2"
	"testing"
	"time"
)

// oracle is an exact sliding log: the definition of the limit, not of the code.
type oracle struct {
	limit  int64
	window int64
	at     []int64 // admissions, oldest first
	cost   []int64
	used   int64
	first  int
}

func (o *oracle) expire(now int64) {
	for o.first < len(o.at) && o.at[o.first] <= now-o.window {
		o.used -= o.cost[o.first]
		o.first++
	}
}

func (o *oracle) fits(now, c int64) bool { o.expire(now); return o.used+c <= o.limit }

func (o *oracle) admit(now, c int64) {
	o.expire(now)
	o.at, o.cost = append(o.at, now), append(o.cost, c)
	o.used += c
}

// traffic yields the gap before the next request.
type traffic func(*rand.Rand) time.Duration

func poisson(mean time.Duration) traffic {
	return func(r *rand.Rand) time.Duration { return time.Duration(r.ExpFloat64() * float64(mean)) }
}

// TestNeverAboveTheLimitInAnyTrailingWindow replays random traffic on a limiter
// and on exact logs: one that follows the limiter's answers and must never
// overflow, and one that decides by itself and says what was possible.
func TestNeverAboveTheLimitInAnyTrailingWindow(t *testing.T) {
	type workload struct {
		name    string
		limit   int64
		window  time.Duration
		gaps    traffic
		maxCost int64
		windows int
		atLeast float64 // share of the exact log's admissions
		address bool
	}
	burstyHourly := func() traffic {
		n := 0
		return func(r *rand.Rand) time.Duration {
			if n++; n%1500 == 0 {
				// A timer that fires every hour, give or take.
				return time.Hour - 1499*time.Millisecond + time.Duration(r.Int64N(int64(20*time.Millisecond))) - 10*time.Millisecond
			}
			return time.Millisecond
		}
	}
	onOff := func(r *rand.Rand) time.Duration {
		if r.IntN(400) == 0 {
			return time.Duration(r.Int64N(int64(20 * time.Minute)))
		}
		return time.Duration(r.Int64N(int64(time.Second)))
	}
	for _, w := range []workload{
		{"1.5 times the limit", 1000, time.Hour, poisson(2400 * time.Millisecond), 1, 40, 0.994, false},
		{"1.5 times a large limit", 20_000, time.Hour, poisson(120 * time.Millisecond), 1, 8, 0.994, false},
		{"20 times the limit", 1000, time.Hour, poisson(180 * time.Millisecond), 1, 20, 0.994, false},
		{"85 % of the limit", 1000, time.Hour, poisson(time.Hour / 850), 1, 40, 1, false},
		{"bursts every hour", 1000, time.Hour, burstyHourly(), 1, 40, 1, false},
		{"on and off", 1000, time.Hour, onOff, 1, 40, 0.99, false},
		{"costs", 1000, time.Hour, poisson(5 * time.Second), 9, 40, 0.98, false},
		{"one a second", 1, time.Second, poisson(300 * time.Millisecond), 1, 500, 0.99, false},
		{"ten a second", 10, time.Second, poisson(60 * time.Millisecond), 1, 500, 0.99, false},
		{"a minute", 600, time.Minute, poisson(66 * time.Millisecond), 1, 60, 0.99, false},
		{"address at 1.5 times the limit", 100, time.Hour, poisson(24 * time.Second), 1, 100, 0.85, true},
		{"address at 70 % of the limit", 100, time.Hour, poisson(time.Hour / 70), 1, 100, 0.995, true},
		{"address bursts every hour", 1000, time.Hour, burstyHourly(), 1, 40, 0.85, true},
	} {
		t.Run(w.name, func(t *testing.T) {
			if raceEnabled {
				w.windows = max(3, w.windows/10)
			}
			seed := uint64(len(w.name))
			rnd := rand.New(rand.NewPCG(seed, 7))
			world := newWorld(t, Options{})
			r := compile(t, "tenant", per(w.limit, w.window))
			key := world.KeyString(r, "acme")
			if w.address {
				key = key.asAddress()
			}
			follows := oracle{limit: w.limit, window: int64(w.window)}
			exact := oracle{limit: w.limit, window: int64(w.window)}
			var got, possible, offered int64
			for now := start; now.MonoNS < start.MonoNS+int64(w.window)*int64(w.windows); now = now.after(w.gaps(rnd)) {
				c := 1 + rnd.Int64N(w.maxCost)
				offered += c
				if exact.fits(now.MonoNS, c) {
					exact.admit(now.MonoNS, c)
					possible += c
				}
				d := world.decide(now, Charge{Rule: r, Key: key, Cost: c})
				room := follows.fits(now.MonoNS, c)
				if d.Admitted {
					if !room {
						t.Fatalf("seed %d: admission %d of cost %d at %v is above the limit", seed, got, c, now.MonoNS)
					}
					follows.admit(now.MonoNS, c)
					got += c
				}
				if d.Remaining > w.limit-follows.used {
					t.Fatalf("seed %d: remaining %d, but %d of %d are used", seed, d.Remaining, follows.used, w.limit)
				}
			}
			share := float64(got) / float64(possible)
			t.Logf("offered %d, exact log admits %d, admitted %d (%.2f %%)", offered, possible, got, 100*share)
			if share < w.atLeast && !raceEnabled {
				t.Errorf("admitted %.4f of what an exact log admits, want at least %v", share, w.atLeast)
			}
		})
	}
}

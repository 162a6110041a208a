package limiter

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// together runs n goroutines and waits for them.
func together(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

func TestConcurrentRequestsGetExactlyTheLimit(t *testing.T) {
	for _, address := range []bool{false, true} {
		l := New(Options{})
		r := compile(t, "r", perHour(5000))
		k := l.KeyString(r, "acme")
		if address {
			k = k.asAddress()
		}
		var admitted atomic.Int64
		together(8, func(g int) {
			var d Decision
			charges := []Charge{{Rule: r, Key: k, Cost: 1}}
			// The clocks of the goroutines overtake each other all the time.
			now := start.after(time.Duration(g) * 3 * time.Millisecond)
			for range 2000 {
				now = now.after(time.Duration(g%3) * 50 * time.Microsecond)
				if l.Decide(now, charges, &d); d.Admitted {
					admitted.Add(1)
				}
			}
		})
		if got := admitted.Load(); got != 5000 {
			t.Errorf("admitted %d, want 5000", got)
		}
		if e := l.keys.find(k); e != nil {
			if err := e.check(0); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestConcurrentChargesAreAllOrNone has requests that share keys in every
// combination; the sums of what was admitted must be what the keys say is used.
func TestConcurrentChargesAreAllOrNone(t *testing.T) {
	l := New(Options{Clock: func() Instant { return start.after(time.Minute) }})
	var all [6]Charge
	for i := range all {
		r := compile(t, string(rune('a'+i)), perHour(int64(3000-400*i)))
		all[i] = Charge{Rule: r, Key: l.KeyString(r, "acme"), Cost: int64(1 + i%3)}
		if i >= 4 {
			all[i].Key = all[i].Key.asAddress()
		}
	}
	var spent [len(all)]atomic.Int64
	together(8, func(g int) {
		rnd := rand.New(rand.NewPCG(uint64(g), 2))
		var d Decision
		for n := range 3000 {
			pick := rnd.Perm(len(all))[:1+rnd.IntN(MaxCharges)]
			charges := make([]Charge, len(pick))
			for i, p := range pick {
				charges[i] = all[p]
			}
			l.Decide(start.after(time.Duration(n)*time.Millisecond), charges, &d)
			if d.Admitted {
				for _, p := range pick {
					spent[p].Add(all[p].Cost)
				}
			}
		}
	})
	for i, ch := range all {
		u := l.Usage(ch.Rule, ch.Key)
		if got := spent[i].Load(); u.Used != got {
			t.Errorf("key %d: used %d, but %d was admitted", i, u.Used, got)
		}
		if u.Used > u.Limit {
			t.Errorf("key %d: used %d of %d", i, u.Used, u.Limit)
		}
		if i < 4 {
			if err := l.keys.find(ch.Key).check(0); err != nil {
				t.Errorf("key %d: %v", i, err)
			}
		}
	}
}

// TestRulesAndSweepsMayChangeUnderConcurrentRequests mixes everything that takes
// the mutex with everything that does not.
func TestRulesAndSweepsMayChangeUnderConcurrentRequests(t *testing.T) {
	l := New(Options{})
	rules := []*Rule{
		compile(t, "r", perHour(400)),
		compile(t, "r", perHour(4000)),
		compile(t, "r", per(900, 90*time.Second)),
	}
	keys := []Key{l.KeyString(rules[0], "a"), l.KeyString(rules[0], "b"), l.KeyString(rules[0], "c")}
	var spent [3]atomic.Int64
	var clock atomic.Int64 // one clock for all
	together(6, func(g int) {
		rnd := rand.New(rand.NewPCG(uint64(g), 3))
		var d Decision
		for range 4000 {
			now := start.after(time.Duration(clock.Add(int64(time.Microsecond))))
			i := rnd.IntN(len(keys))
			switch g {
			case 0:
				l.keys.shard(keys[i]).sweep(l.keys, now)
			default:
				l.Decide(now, []Charge{{Rule: rules[rnd.IntN(len(rules))], Key: keys[i], Cost: 1}}, &d)
				if d.Admitted {
					spent[i].Add(1)
				}
			}
		}
	})
	for i, k := range keys {
		e := l.keys.find(k)
		if err := e.check(0); err != nil {
			t.Error(err)
		}
		if u := e.usage(rules[1], start.after(time.Second)); u.Used != spent[i].Load() {
			t.Errorf("key %d: used %d, but %d was admitted", i, u.Used, spent[i].Load())
		}
	}
}

// TestNewAndExpiringKeysUnderConcurrentRequests makes keys come and go: every
// decision must find the one living entry of its key.
func TestNewAndExpiringKeysUnderConcurrentRequests(t *testing.T) {
	l := New(Options{})
	r := compile(t, "r", per(2, time.Second))
	var clock atomic.Int64
	var over atomic.Int64
	const keys = 64
	var last [keys]struct {
		sync.Mutex
		at []int64
	}
	const callers = 5
	var busy atomic.Int64
	busy.Store(callers)
	together(1+callers, func(g int) {
		rnd := rand.New(rand.NewPCG(uint64(g), 4))
		if g == 0 { // sweeps for as long as somebody decides, however they are scheduled
			for n := 0; n < 6000 || busy.Load() > 0; n++ {
				now := start.after(time.Duration(clock.Add(int64(time.Millisecond))))
				l.keys.shards[rnd.IntN(numShards)].sweep(l.keys, now)
			}
			return
		}
		defer busy.Add(-1)
		var d Decision
		for range 6000 {
			i := rnd.IntN(keys)
			// The lock makes the order of decisions on a key that of their clocks. A
			// sweep may be later than both, and then so is the decision.
			k := &last[i]
			k.Lock()
			now := start.after(time.Duration(clock.Add(int64(time.Millisecond))))
			l.Decide(now, []Charge{{Rule: r, Key: l.KeyString(r, string(rune('A'+i))), Cost: 1}}, &d)
			if d.Admitted {
				k.at = append(k.at, now.MonoNS)
				if n := len(k.at); n > 2 && k.at[n-3] > start.MonoNS+clock.Load()-int64(time.Second) {
					over.Add(1)
				}
			}
			k.Unlock()
		}
	})
	if n := over.Load(); n != 0 {
		t.Errorf("%d admissions above the limit", n)
	}
	if s := l.Stats(); s.Expired == 0 {
		t.Error("no key expired: the test proves nothing")
	}
}

package limiter

import (
	"testing"
	"time"

	"sluice/conf"
)

func TestChangingTheLimitKeepsTheCounts(t *testing.T) {
	w := newWorld(t, Options{})
	rule := func(n int64) *Rule { return compile(t, "tenant", perHour(n)) }
	ten, five, twenty := rule(10), rule(5), rule(20)
	k := w.KeyString(ten, "acme")
	at := func(r *Rule) *Decision { return w.decide(start, Charge{Rule: r, Key: k, Cost: 1}) }
	for range 8 {
		at(ten)
	}
	if d := at(five); d.Admitted || d.Remaining != 0 || d.Limit != 5 {
		t.Errorf("lowered to 5 with 8 used: %+v", *d)
	}
	at(ten)
	at(ten)
	if d := at(ten); d.Admitted {
		t.Fatalf("%+v", *d)
	}
	if d := at(ten); d.Zone != Red {
		t.Fatalf("%+v, want red", *d)
	}
	if d := at(twenty); !d.Admitted || d.Remaining != 9 {
		t.Errorf("raised to 20 with 10 used: %+v", *d)
	}
	if u := w.usageAt(start, five, k); u.Used != 11 || u.Remaining != 0 || u.Limit != 5 {
		t.Errorf("usage under 5: %+v", u)
	}
}

func TestALoweredLimitTakesBackWhatIsInHand(t *testing.T) {
	w := newWorld(t, Options{})
	hundred, ten := compile(t, "tenant", perHour(100)), compile(t, "tenant", perHour(10))
	k := w.KeyString(ten, "acme")
	w.decide(start, Charge{Rule: hundred, Key: k, Cost: 1})
	admitted := 1
	for range 100 {
		if w.decide(start, Charge{Rule: ten, Key: k, Cost: 1}).Admitted {
			admitted++
		}
	}
	if admitted != 10 {
		t.Errorf("%d admitted under the lowered limit, want 10", admitted)
	}
}

func TestChangingTheWindowKeepsTheCounts(t *testing.T) {
	limits := map[string]conf.Limit{
		"ms":     per(100, 10*time.Second),
		"minute": per(100, time.Minute),
		"hour":   perHour(100),
		"year":   per(100, 360*24*time.Hour),
		"fixed":  {Requests: 100, Window: "fixed"},
		"daily":  {Requests: 100, Per: conf.Duration(24 * time.Hour), Window: "fixed"},
	}
	for from := range limits {
		for to := range limits {
			for _, address := range []bool{false, true} {
				w := newWorld(t, Options{})
				a, b := compile(t, "r", limits[from]), compile(t, "r", limits[to])
				k := w.KeyString(a, "acme")
				if address {
					k = k.asAddress()
				}
				w.decide(start, Charge{Rule: a, Key: k, Cost: 7})
				w.decide(start.after(time.Millisecond), Charge{Rule: a, Key: k, Cost: 20})
				now := start.after(2 * time.Millisecond)
				if d := w.decide(now, Charge{Rule: b, Key: k, Cost: 3}); d.Remaining != 70 {
					t.Errorf("%s to %s: remaining %d, want 70", from, to, d.Remaining)
				}
				if d := w.decide(now, Charge{Rule: a, Key: k, Cost: 1}); d.Remaining != 69 {
					t.Errorf("%s to %s and back: remaining %d, want 69", from, to, d.Remaining)
				}
				later := now.after(a.window + 2*time.Second)
				w.sweep(now.after(time.Minute))
				if d := w.decide(later, Charge{Rule: a, Key: k}); d.Remaining != 100 {
					t.Errorf("%s to %s and back, a window later: remaining %d, want 100", from, to, d.Remaining)
				}
			}
		}
	}
}

func TestFixedWindowsStartAnewAtTheirMultiple(t *testing.T) {
	for _, address := range []bool{false, true} {
		w := newWorld(t, Options{})
		r := compile(t, "r", conf.Limit{Requests: 3, Window: "fixed"})
		ch := Charge{Rule: r, Key: w.KeyString(r, "acme"), Cost: 1}
		if address {
			ch.Key = ch.Key.asAddress()
		}
		const hour = int64(3600e9)
		end := start.UnixNS - start.UnixNS%hour + hour
		last := start.after(time.Duration(end - start.UnixNS - 1))
		for range 3 {
			if d := w.decide(last, ch); !d.Admitted || d.ResetUnixSec != end/1e9 {
				t.Fatalf("%+v, reset want %d", *d, end/1e9)
			}
		}
		d := w.decide(last, ch)
		if d.Admitted || d.RetryAfter != 1 {
			t.Fatalf("%+v, want refused for one nanosecond", *d)
		}
		if d := w.decide(last, ch); d.Admitted || d.Zone != Red {
			t.Fatalf("%+v, want red", *d)
		}
		for i := range 3 {
			if d := w.decide(last.after(1), ch); !d.Admitted || d.Remaining != int64(2-i) || d.ResetUnixSec != (end+hour)/1e9 {
				t.Fatalf("new window, request %d: %+v", i, *d)
			}
		}
		// Overtaken by a request of the new window: counts there, and the new
		// window does not start twice.
		if d := w.decide(last, ch); d.Admitted {
			t.Fatalf("%+v", *d)
		}
		if d := w.decide(last.after(2), ch); d.Admitted {
			t.Fatalf("the window started twice: %+v", *d)
		}
	}
}

func TestClockStepsGiveNothingAway(t *testing.T) {
	step := func(now Instant, by time.Duration) Instant { now.UnixNS += int64(by); return now }
	t.Run("sliding windows do not see the wall clock", func(t *testing.T) {
		w := newWorld(t, Options{})
		r := compile(t, "r", perHour(3))
		ch := Charge{Rule: r, Key: w.KeyString(r, "acme"), Cost: 3}
		w.decide(start, ch)
		for _, by := range []time.Duration{-48 * time.Hour, -time.Minute, time.Minute, 2 * time.Hour} {
			if d := w.decide(step(start.after(time.Minute), by), ch); d.Admitted || d.RetryAfter < 58*time.Minute {
				t.Errorf("clock stepped by %v: %+v", by, *d)
			}
		}
		if d := w.decide(step(start.after(time.Hour+time.Second), -48*time.Hour), ch); !d.Admitted {
			t.Errorf("an hour later: %+v", *d)
		}
	})
	for _, address := range []bool{false, true} {
		t.Run("fixed windows stay used when the clock is set back", func(t *testing.T) {
			w := newWorld(t, Options{})
			r := compile(t, "r", conf.Limit{Requests: 3, Window: "fixed"})
			ch := Charge{Rule: r, Key: w.KeyString(r, "acme"), Cost: 3}
			if address {
				ch.Key = ch.Key.asAddress()
			}
			w.decide(start, ch)
			for _, by := range []time.Duration{-time.Minute, -time.Hour, -90 * time.Minute, -1000 * time.Hour} {
				if d := w.decide(step(start, by), ch); d.Admitted {
					t.Errorf("set back by %v: %+v", by, *d)
				}
			}
			back := step(start, -1000*time.Hour)
			d := w.decide(back, ch)
			if d.RetryAfter > time.Hour {
				t.Errorf("retry after %v: a window must end an hour after the step", d.RetryAfter)
			}
			if d := w.decide(back.after(d.RetryAfter), ch); !d.Admitted {
				t.Errorf("next window: %+v", *d)
			}
		})
	}
}

// TestAClientThatObeysRetryAfterIsNotRefusedNext also holds the numbers of every
// decision against each other.

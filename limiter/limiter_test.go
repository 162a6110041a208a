package limiter

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"sluice/conf"
)

func TestAQuotaAdmitsExactlyItsRequestsAndThenTurnsRed(t *testing.T) {
	for _, kind := range []string{"tenant", "address"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, Options{})
			r := compile(t, "r", perHour(1000))
			ch := Charge{Rule: r, Key: w.KeyString(r, "acme"), Cost: 1}
			if kind == "address" {
				ch.Key = ch.Key.asAddress()
			}
			for i := range 1000 {
				d := w.decide(start.after(time.Duration(i)*time.Millisecond), ch)
				if !d.Admitted || d.Limit != 1000 || d.Remaining != int64(999-i) {
					t.Fatalf("request %d: %+v", i, *d)
				}
			}
			now := start.after(2 * time.Second)
			d := w.decide(now, ch)
			if d.Admitted || d.Remaining != 0 {
				t.Fatalf("request 1001: %+v", *d)
			}
			if lo, hi := time.Hour-2*time.Second, time.Hour-1800*time.Millisecond; d.RetryAfter < lo || d.RetryAfter > hi {
				t.Errorf("retry after %v, want about %v", d.RetryAfter, lo)
			}
			if want := (now.UnixNS + int64(d.RetryAfter) + 1e9 - 1) / 1e9; d.ResetUnixSec != want {
				t.Errorf("reset %d, want %d", d.ResetUnixSec, want)
			}
			if d = w.decide(now, ch); d.Admitted || d.Zone != Red {
				t.Errorf("request 1002: %+v, want red", *d)
			}
			if u := w.usageAt(now, r, ch.Key); u.Used != 1000 || u.Remaining != 0 {
				t.Errorf("usage %+v: refused requests must be free", u)
			}
		})
	}
}

// sweep does what Run does in a minute.
func (w *world) sweep(now Instant) {
	for i := range w.keys.shards {
		w.keys.shards[i].sweep(w.keys, now)
	}
}

// usageAt is Usage at a given moment.
func (w *world) usageAt(now Instant, r *Rule, k Key) Usage {
	clock := w.clock
	w.clock = func() Instant { return now }
	defer func() { w.clock = clock }()
	return w.Usage(r, k)
}

func TestARefusedDearRequestDoesNotRefuseACheapOne(t *testing.T) {
	w := newWorld(t, Options{})
	r := compile(t, "r", perHour(10))
	k := w.KeyString(r, "acme")
	at := func(cost int64) *Decision { return w.decide(start, Charge{Rule: r, Key: k, Cost: cost}) }
	at(7)
	if d := at(5); d.Admitted || d.Remaining != 3 {
		t.Fatalf("cost 5 of 3: %+v", *d)
	}
	if d := at(5); d.Zone != Red {
		t.Fatalf("cost 5 again: %+v, want red", *d)
	}
	if d := at(2); !d.Admitted || d.Remaining != 1 {
		t.Fatalf("cost 2 of 3: %+v", *d)
	}
	if d := at(1); !d.Admitted || d.Remaining != 0 {
		t.Fatalf("cost 1 of 1: %+v", *d)
	}
	if d := at(11); d.Admitted || d.RetryAfter < time.Hour {
		t.Fatalf("cost 11 of 10 never fits: %+v", *d)
	}
}

func TestACostAboveTheHotWordIsCountedAlike(t *testing.T) {
	w := newWorld(t, Options{})
	r, s := compile(t, "r", perHour(MaxRequests)), compile(t, "s", perHour(10))
	kr, ks := w.KeyString(r, "acme"), w.KeyString(s, "acme")
	const dear = maxHotCost * 4
	w.decide(start, Charge{Rule: r, Key: kr, Cost: 1})
	if d := w.decide(start, Charge{Rule: r, Key: kr, Cost: dear}); !d.Admitted || d.Remaining != MaxRequests-dear-1 {
		t.Fatalf("%+v", *d)
	}
	// Refused by the other rule: all of it comes back.
	if d := w.decide(start, Charge{Rule: r, Key: kr, Cost: dear}, Charge{Rule: s, Key: ks, Cost: 11}); d.Admitted {
		t.Fatalf("%+v", *d)
	}
	if u := w.usageAt(start, r, kr); u.Used != dear+1 {
		t.Errorf("used %d, want %d", u.Used, dear+1)
	}
	if d := w.decide(start, Charge{Rule: r, Key: kr, Cost: MaxRequests}); d.Admitted || d.RetryAfter < time.Hour-time.Second {
		t.Errorf("%+v", *d)
	}
}

func TestAllChargesAreTakenOrNone(t *testing.T) {
	w := newWorld(t, Options{})
	tenant := compile(t, "tenant", perHour(100))
	route := compile(t, "route", perHour(3))
	address := compile(t, "address", perHour(50))
	charges := []Charge{
		{Rule: tenant, Key: w.KeyString(tenant, "acme"), Cost: 1},
		{Rule: route, Key: w.KeyString2(route, "/export", "acme"), Cost: 1},
		{Rule: address, Key: w.KeyString(address, "192.0.2.1").asAddress(), Cost: 1},
	}
	for i := range 5 {
		d := w.decide(start, charges...)
		if want := i < 3; d.Admitted != want {
			t.Fatalf("request %d: admitted %v, want %v", i, d.Admitted, want)
		}
		if d.Tightest != 1 || d.Limit != 3 {
			t.Errorf("request %d: tightest %d with limit %d, want the route", i, d.Tightest, d.Limit)
		}
	}
	for i, ch := range charges {
		if u := w.usageAt(start, ch.Rule, ch.Key); u.Used != 3 {
			t.Errorf("charge %d: used %d, want 3", i, u.Used)
		}
	}
	// An address that is exhausted gives back what the tenant reserved.
	small := compile(t, "small", perHour(1))
	pair := []Charge{charges[0], {Rule: small, Key: w.KeyString(small, "x").asAddress(), Cost: 1}}
	w.decide(start, pair...)
	if d := w.decide(start, pair...); d.Admitted || d.Tightest != 1 {
		t.Fatalf("%+v", *d)
	}
	if u := w.usageAt(start, tenant, charges[0].Key); u.Used != 4 {
		t.Errorf("used %d, want 4", u.Used)
	}
	// And of two addresses the first is refunded.
	two := []Charge{charges[2], pair[1]}
	if d := w.decide(start, two...); d.Admitted {
		t.Fatalf("%+v", *d)
	}
	if u := w.usageAt(start, address, charges[2].Key); u.Used != 3 {
		t.Errorf("address used %d, want 3", u.Used)
	}
}

func TestCostZeroLooksAndTakesNothing(t *testing.T) {
	w := newWorld(t, Options{})
	r := compile(t, "r", conf.Limit{Requests: 5, Burst: &conf.Burst{Rate: 1, Size: 2}})
	for _, k := range []Key{w.KeyString(r, "a"), w.KeyString(r, "a").asAddress()} {
		look := Charge{Rule: r, Key: k}
		if d := w.decide(start, look); !d.Admitted || d.Remaining != 5 || d.Quotas[0].BurstRemaining != 2 {
			t.Fatalf("%+v", *d)
		}
		if s := w.Stats(); s.Addresses != 0 || s.Keys != 0 && !k.ofAddress() {
			t.Fatalf("a look made a bucket: %+v", s)
		}
		w.decide(start, Charge{Rule: r, Key: k, Cost: 2})
		if d := w.decide(start, look); !d.Admitted || d.Remaining != 3 || d.Quotas[0].BurstRemaining != 0 {
			t.Fatalf("%+v", *d)
		}
	}
	if d := w.decide(start); !d.Admitted || d.Tightest != -1 {
		t.Errorf("no charges: %+v", *d)
	}
}

func TestRightsThatMayComeBackDoNotTurnAKeyRed(t *testing.T) {
	w := newWorld(t, Options{})
	r := compile(t, "r", perHour(2))
	ch := Charge{Rule: r, Key: w.KeyString(r, "acme"), Cost: 2}
	e, _ := w.keys.make(ch.Key, r, start)
	if _, _, v := e.take(r, start, 1, false); v != taken {
		t.Fatal("no right to reserve")
	}
	var d Decision
	for range 2 {
		w.Decide(start, []Charge{ch}, &d)
		if d.Admitted || d.Zone == Red || d.RetryAfter <= 0 {
			t.Fatalf("while a request has reserved one of two rights: %+v", d)
		}
	}
	e.putBack(1)
	if d := w.decide(start, ch); !d.Admitted {
		t.Errorf("after it was put back: %+v", *d)
	}
}

func TestShadowCountsAndNeverRefuses(t *testing.T) {
	for _, address := range []bool{false, true} {
		w := newWorld(t, Options{})
		r := compile(t, "r", perHour(3))
		ch := Charge{Rule: r, Key: w.KeyString(r, "acme"), Cost: 1, Shadow: true}
		if address {
			ch.Key = ch.Key.asAddress()
		}
		for i := range 6 {
			d := w.decide(start, ch)
			if would := i >= 3; !d.Admitted || (d.WouldRefuse == 1) != would {
				t.Fatalf("request %d: %+v", i, *d)
			}
		}
		if s := w.Stats(); s.WouldRefuse != 3 {
			t.Errorf("would refuse %d, want 3", s.WouldRefuse)
		}
		// Enforced now: the window is full, as if it had been enforced all along.
		ch.Shadow = false
		d := w.decide(start, ch)
		if d.Admitted {
			t.Fatal("enforcing starts with an empty window")
		}
		if d := w.decide(start.after(d.RetryAfter), ch); !d.Admitted {
			t.Error("enforcing starts with an overdrawn window")
		}
	}
}

func TestAShadowChargeOfARefusedRequestIsFree(t *testing.T) {
	w := newWorld(t, Options{})
	a, b := compile(t, "a", perHour(5)), compile(t, "b", perHour(1))
	charges := []Charge{
		{Rule: a, Key: w.KeyString(a, "x"), Cost: 1, Shadow: true},
		{Rule: b, Key: w.KeyString(b, "x"), Cost: 1},
	}
	w.decide(start, charges...)
	if d := w.decide(start, charges...); d.Admitted || d.Tightest != 1 {
		t.Fatalf("%+v", *d)
	}
	if u := w.usageAt(start, a, charges[0].Key); u.Used != 1 {
		t.Errorf("shadow used %d, want 1", u.Used)
	}
}

func TestBurstLimitsTheSpeedAndThenLetsTheRateThrough(t *testing.T) {
	for _, address := range []bool{false, true} {
		w := newWorld(t, Options{})
		r := compile(t, "r", conf.Limit{Requests: 1000, Burst: &conf.Burst{Rate: 10, Size: 5}})
		ch := Charge{Rule: r, Key: w.KeyString(r, "acme"), Cost: 1}
		if address {
			ch.Key = ch.Key.asAddress()
		}
		now := start
		for i := range 5 {
			if d := w.decide(now, ch); !d.Admitted || d.Quotas[0].BurstRemaining != int64(4-i) {
				t.Fatalf("request %d: %+v", i, *d)
			}
		}
		for range 20 {
			d := w.decide(now, ch)
			if d.Admitted || d.RetryAfter != 100*time.Millisecond || !d.Quotas[0].BurstRefused || d.Limit != 5 || d.Remaining != 0 {
				t.Fatalf("%+v, want refused by the burst for 100 ms", *d)
			}
			if d := w.decide(now.after(100*time.Millisecond-1), ch); d.Admitted {
				t.Fatal("admitted a nanosecond early")
			}
			now = now.after(100 * time.Millisecond)
			if d := w.decide(now, ch); !d.Admitted || d.Limit != 1000 {
				t.Fatalf("refused after the wait: %+v", *d)
			}
		}
		if u := w.usageAt(now, r, ch.Key); u.Used != 25 {
			t.Errorf("used %d, want 25: what the burst refuses is free", u.Used)
		}
	}
}

func TestAClientThatObeysRetryAfterIsNotRefusedNext(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, Options{})
		windows := []time.Duration{time.Second, 7 * time.Second, time.Minute, time.Hour, 24 * time.Hour}
		var charges []Charge
		for i := range 1 + rnd.IntN(MaxCharges) {
			l := per(1+rnd.Int64N(30), windows[rnd.IntN(len(windows))])
			if rnd.IntN(3) == 0 {
				l.Window = "fixed"
			}
			if rnd.IntN(2) == 0 {
				l.Burst = &conf.Burst{Rate: conf.Rate(0.3 + 20*rnd.Float64()), Size: 5 + rnd.Int64N(5)}
			}
			r := compile(t, string(rune('a'+i)), l)
			ch := Charge{Rule: r, Key: w.KeyString(r, "acme"), Cost: 1 + rnd.Int64N(min(4, l.Requests))}
			if rnd.IntN(3) == 0 {
				ch.Key = ch.Key.asAddress()
			}
			charges = append(charges, ch)
		}
		now, refused := start, 0
		for range 300 {
			now = now.after(time.Duration(rnd.Int64N(int64(3 * time.Second))))
			d := w.decide(now, charges...)
			if d.Admitted {
				continue
			}
			refused++
			wait := d.RetryAfter
			if rnd.IntN(2) == 0 {
				wait = (wait + time.Second - 1).Truncate(time.Second) // as the header says it
			}
			now = now.after(wait)
			if d := w.decide(now, charges...); !d.Admitted {
				t.Fatalf("seed %d: refused after waiting %v: %+v", seed, wait, *d)
			}
		}
		if refused == 0 && seed == 0 {
			t.Error("nothing was refused: the test proves nothing")
		}
	}
}

func TestTightestIsTheLeastShareOfAnAdmittedRequest(t *testing.T) {
	w := newWorld(t, Options{})
	a, b := compile(t, "a", perHour(10)), compile(t, "b", perHour(100))
	ca, cb := Charge{Rule: a, Key: w.KeyString(a, "x"), Cost: 1}, Charge{Rule: b, Key: w.KeyString(b, "x"), Cost: 1}
	w.decide(start, Charge{Rule: b, Key: cb.Key, Cost: 50})
	if d := w.decide(start, ca, cb); d.Tightest != 1 || d.Limit != 100 || d.Remaining != 49 {
		t.Errorf("%+v", *d)
	}
	cb.Shadow = true
	if d := w.decide(start, ca, cb); d.Tightest != 0 || d.Limit != 10 || d.Remaining != 8 {
		t.Errorf("a shadow limit must not be shown before an enforced one: %+v", *d)
	}
}

func TestDecideSetsEveryField(t *testing.T) {
	w := newWorld(t, Options{})
	r := compile(t, "r", perHour(2))
	ch := Charge{Rule: r, Key: w.KeyString(r, "acme"), Cost: 1}
	dirty := Decision{Admitted: true, Zone: Red, Tightest: 3, Limit: 9, Remaining: 9, ResetUnixSec: 9, RetryAfter: 9, WouldRefuse: 9, N: 4}
	for i := range dirty.Quotas {
		dirty.Quotas[i] = Quota{9, 9, 9, 9, 9, 9, true}
	}
	for range 4 {
		used := dirty
		w.Decide(start, []Charge{ch}, &used)
		if used.N != 1 || used.Tightest != 0 || used.Limit != 2 || used.WouldRefuse != 0 || used.Quotas[0].BurstRefused ||
			used.Quotas[0].BurstLimit != 0 || used.Quotas[0].BurstRemaining != 0 || used.Admitted != (used.Quotas[0].Wait == 0) ||
			used.Admitted != (used.RetryAfter == 0) {
			t.Errorf("left over from the decision before: %+v", used)
		}
	}
}

func TestStatsCountByZoneAndAnswer(t *testing.T) {
	w := newWorld(t, Options{})
	r := compile(t, "r", perHour(4))
	ch := Charge{Rule: r, Key: w.KeyString(r, "acme"), Cost: 1}
	for range 7 {
		w.decide(start, ch)
	}
	s := w.Stats()
	var admitted, refused uint64
	for _, z := range s.Decisions {
		admitted += z.Admitted
		refused += z.Refused
	}
	if admitted != 4 || refused != 3 || s.Decisions[Red].Refused != 2 || s.Decisions[Amber].Refused != 1 || s.Keys != 1 {
		t.Errorf("%+v", s)
	}
}

func TestCompileNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		id   string
		l    conf.Limit
		want string
	}{
		{"", perHour(1), "id"},
		{"r", perHour(0), "requests"},
		{"r", perHour(MaxRequests + 1), "requests"},
		{"r", per(1, time.Millisecond), "per"},
		{"r", per(1, 400*24*time.Hour), "per"},
		{"r", conf.Limit{Requests: 1, Window: "tumbling"}, "window"},
		{"r", conf.Limit{Requests: 1, Burst: &conf.Burst{}}, "burst.rate"},
		{"r", conf.Limit{Requests: 1, Burst: &conf.Burst{Rate: 1e10}}, "burst.rate"},
		{"r", conf.Limit{Requests: 1, Burst: &conf.Burst{Rate: 1, Size: -1}}, "burst.size"},
		{"r", conf.Limit{Requests: 1, Burst: &conf.Burst{Rate: 0.001, Size: MaxRequests}}, "burst.size"},
	} {
		if _, err := Compile(c.id, c.l); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Compile(%q, %+v): %v, want an error about %s", c.id, c.l, err, c.want)
		}
	}
	r := compile(t, "r", conf.Limit{Requests: 7, Burst: &conf.Burst{Rate: 50}})
	if size, interval := r.Burst(); size != 50 || interval != 20*time.Millisecond || r.Window() != time.Hour || r.Fixed() {
		t.Errorf("defaults: size %d, interval %v, window %v, fixed %v", size, interval, r.Window(), r.Fixed())
	}
}

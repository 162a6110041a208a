package limiter

import (
	"errors"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/conf"
)

// successor hands w over to a new limiter whose clock shows now and which decides
// what w is asked.
func successor(t testing.TB, w *Limiter, o Options) *Limiter {
	t.Helper()
	next := New(o)
	h, err := w.Hold()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Export(next.Import); err != nil {
		t.Fatal(err)
	}
	h.Forward(next.Answer)
	return next
}

func frozen(now *Instant) func() Instant { return func() Instant { return *now } }

// shifted is the same moment in a process that began later.
func shifted(i Instant) Instant {
	return Instant{MonoNS: i.MonoNS - int64(5*time.Hour), UnixNS: i.UnixNS}
}

func TestHandoverKeepsWhatIsUsed(t *testing.T) {
	now := start
	then := shifted(now)
	w := newWorld(t, Options{Clock: frozen(&now)})
	tenant, burst := compile(t, "tenant", perHour(1000)), conf.Limit{Requests: 500, Per: conf.Duration(time.Minute), Burst: &conf.Burst{Rate: 10, Size: 20}}
	bursty := compile(t, "bursty", burst)
	fixed := compile(t, "fixed", conf.Limit{Requests: 9, Per: conf.Duration(time.Hour), Window: "fixed"})
	addr := netip.MustParseAddr("192.0.2.7")
	for range 600 {
		w.decide(now, Charge{Rule: tenant, Key: w.KeyString(tenant, "acme"), Cost: 1})
	}
	for range 15 {
		w.decide(now, Charge{Rule: bursty, Key: w.KeyString(bursty, "acme"), Cost: 1})
	}
	for range 5 {
		w.decide(now, Charge{Rule: fixed, Key: w.KeyString(fixed, "acme"), Cost: 1})
		w.decide(now, Charge{Rule: tenant, Key: w.KeyAddr(tenant, addr), Cost: 1})
	}
	n := &world{TB: t, Limiter: successor(t, w.Limiter, Options{Clock: frozen(&then)})}
	tenant2, bursty2, fixed2 := compile(t, "tenant", perHour(1000)), compile(t, "bursty", burst), compile(t, "fixed", conf.Limit{Requests: 9, Per: conf.Duration(time.Hour), Window: "fixed"})
	spendAll := func(l *Limiter, now Instant, charge Charge) (n int) {
		var d Decision
		for l.Decide(now, []Charge{charge}, &d); d.Admitted; l.Decide(now, []Charge{charge}, &d) {
			n++
		}
		return n
	}
	if got := n.Stats(); got.Keys != 3 || got.Addresses != 1 {
		t.Errorf("successor has %d keys and %d addresses, want 3 and 1", got.Keys, got.Addresses)
	}
	if got := w.Stats(); got.Keys != 0 || got.Addresses != 0 {
		t.Errorf("predecessor has %d keys and %d addresses left", got.Keys, got.Addresses)
	}
	for _, c := range []struct {
		name   string
		charge Charge
		want   int
	}{
		{"sliding", Charge{Rule: tenant2, Key: n.KeyString(tenant2, "acme"), Cost: 1}, 400},
		{"burst", Charge{Rule: bursty2, Key: n.KeyString(bursty2, "acme"), Cost: 1}, 5},
		{"fixed", Charge{Rule: fixed2, Key: n.KeyString(fixed2, "acme"), Cost: 1}, 4},
		{"address", Charge{Rule: tenant2, Key: n.KeyAddr(tenant2, addr), Cost: 1}, 995},
	} {
		if got := spendAll(n.Limiter, then, c.charge); got != c.want {
			t.Errorf("%s: %d left, want %d", c.name, got, c.want)
		}
	}
	if got := spendAll(w.Limiter, now, Charge{Rule: tenant, Key: w.KeyString(tenant, "acme"), Cost: 1}); got != 0 {
		t.Errorf("the predecessor's connections got %d more", got)
	}
	// Rights come back one window after they were spent, not earlier, and at most
	// two ticks and the test's own time later.
	then = then.after(time.Hour - 10*time.Millisecond)
	charge := Charge{Rule: tenant2, Key: n.KeyString(tenant2, "acme"), Cost: 1}
	if n.decide(then, charge).Admitted {
		t.Error("a right came back before its window was over")
	}
	then = then.after(2 * time.Second)
	if !n.decide(then, charge).Admitted {
		t.Error("rights did not come back")
	}
}

func TestFailedHandoverChangesNothing(t *testing.T) {
	now := start
	w := newWorld(t, Options{Clock: frozen(&now)})
	r := compile(t, "tenant", perHour(10))
	spend := func(name string) bool {
		return w.decide(now, Charge{Rule: r, Key: w.KeyString(r, name), Cost: 1}).Admitted
	}
	for i := range 100 {
		spend(strconv.Itoa(i))
	}
	for range 6 {
		spend("acme")
	}
	broken := errors.New("broken pipe")
	for fails := range 3 {
		h, err := w.Hold()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Hold(); err == nil {
			t.Error("two handovers at once")
		}
		n := 0
		if err := h.Export(func([]byte) error {
			if n++; n > 20*fails {
				return broken
			}
			return nil
		}); fails < 2 && !errors.Is(err, broken) {
			t.Fatalf("err = %v", err)
		}
		if err := h.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.Stats().Keys; got != 101 {
		t.Errorf("%d keys after three failures, want 101", got)
	}
	admitted := 0
	for range 10 {
		if spend("acme") {
			admitted++
		}
	}
	if admitted != 4 {
		t.Errorf("admitted %d more, want 4", admitted)
	}
}

// TestHandoverUnderLoadAdmitsExactlyTheLimit has two processes' worth of callers
// spend one quota while it changes hands again and again.
func TestHandoverUnderLoadAdmitsExactlyTheLimit(t *testing.T) {
	const limit, callers, hands = 4000, 8, 6
	tenant := compile(t, "tenant", perHour(limit))
	shared := compile(t, "shared", conf.Limit{Requests: limit * 3, Per: conf.Duration(time.Hour), Burst: &conf.Burst{Rate: 1e9, Size: limit * 10}})
	addr := netip.MustParseAddr("2001:db8::1")
	first := New(Options{})
	var serving atomic.Pointer[Limiter]
	serving.Store(first)
	var admitted, byAddress atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			own := serving.Load() // half of them stay with an old process
			var d Decision
			for n := 0; !stop.Load(); n++ {
				l := serving.Load()
				if i%2 == 0 && n%100 != 0 {
					l = own
				} else {
					own = l
				}
				l.Decide(Now(), []Charge{
					{Rule: tenant, Key: first.KeyString(tenant, "acme"), Cost: 1},
					{Rule: shared, Key: first.KeyString(shared, ""), Cost: 1},
				}, &d)
				if d.Admitted {
					admitted.Add(1)
				}
				l.Decide(Now(), []Charge{{Rule: tenant, Key: first.KeyAddr(tenant, addr), Cost: 1}}, &d)
				if d.Admitted {
					byAddress.Add(1)
				}
			}
		})
	}
	for hand := range hands {
		target := int64(limit * (hand + 1) / (hands + 2))
		for admitted.Load() < target {
			time.Sleep(50 * time.Microsecond) // the callers are the work, not the clock
		}
		l := serving.Load()
		if hand%3 == 1 { // one that fails first
			h, err := l.Hold()
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Export(func([]byte) error { return nil }); err != nil {
				t.Fatal(err)
			}
			if err := h.Resume(); err != nil {
				t.Fatal(err)
			}
		}
		serving.Store(successor(t, l, Options{}))
	}
	for admitted.Load() < limit || byAddress.Load() < limit {
		time.Sleep(50 * time.Microsecond)
	}
	stop.Store(true)
	wg.Wait()
	if admitted.Load() != limit || byAddress.Load() != limit {
		t.Errorf("admitted %d and %d by address, want %d each", admitted.Load(), byAddress.Load(), limit)
	}
}

func TestDecisionsAreRefusedWhenTheSuccessorIsGone(t *testing.T) {
	w := New(Options{})
	r := compile(t, "tenant", perHour(10))
	h, err := w.Hold()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Export(func([]byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	h.Forward(func([]byte) ([]byte, error) { return nil, errors.New("gone") })
	var d Decision
	w.Decide(Now(), []Charge{{Rule: r, Key: w.KeyString(r, "acme"), Cost: 1}}, &d)
	if d.Admitted || d.RetryAfter <= 0 || d.Limit != 10 || d.Remaining != 0 {
		t.Errorf("%+v", d)
	}
}

func FuzzImport(f *testing.F) {
	l := New(Options{})
	r := compile(f, "tenant", perHour(10))
	var d Decision
	l.Decide(Now(), []Charge{{Rule: r, Key: l.KeyString(r, "acme"), Cost: 1}}, &d)
	l.Decide(Now(), []Charge{{Rule: r, Key: l.KeyAddr(r, netip.MustParseAddr("192.0.2.1")), Cost: 1}}, &d)
	h, err := l.Hold()
	if err != nil {
		f.Fatal(err)
	}
	if err := h.Export(func(chunk []byte) error { f.Add(chunk); return nil }); err != nil {
		f.Fatal(err)
	}
	f.Add(appendQuestion(nil, []Charge{{Rule: r, Key: Key{1, 2}, Cost: 3, Shadow: true}}))
	f.Add(d.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := New(Options{MaxKeys: 100, MaxAddresses: 100})
		if l.Import(b) == nil { // then it can be handed on
			successor(t, l, Options{MaxKeys: 100, MaxAddresses: 100})
		}
		_, _ = New(Options{}).Answer(b)
		var d Decision
		if parseAnswer(b, 1, &d) == nil && d.Tightest != 0 {
			t.Errorf("%+v", d)
		}
	})
}

// BenchmarkHandover takes 100,000 keys from one limiter to another: how long
// requests wait, at most.
func BenchmarkHandover(b *testing.B) {
	const keys = 100_000
	l := New(Options{})
	r := compile(b, "tenant", perHour(1000))
	var d Decision
	for i := range keys {
		l.Decide(Now(), []Charge{{Rule: r, Key: l.KeyString(r, strconv.Itoa(i)), Cost: 1}}, &d)
	}
	b.ReportAllocs()
	bytes := 0
	for b.Loop() {
		next := New(Options{})
		h, err := l.Hold()
		if err != nil {
			b.Fatal(err)
		}
		if err := h.Export(func(chunk []byte) error { bytes += len(chunk); return next.Import(chunk) }); err != nil {
			b.Fatal(err)
		}
		h.Forward(nil)
		l = next
	}
	b.ReportMetric(float64(bytes)/float64(b.N)/keys, "B/key")
	if got := l.Stats().Keys; got != keys {
		b.Fatalf("%d keys left of %d", got, keys)
	}
}

package limiter

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/conf"
	"sluice/limiter/journal"
)

// quickSegment leaves syncing to the kernel: what a killed process has written is
// there all the same.
type quickSegment struct{ *os.File }

func (quickSegment) Sync() error { return nil }

func createQuick(path string) (journal.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return quickSegment{f}, nil
}

// life is one process's limiter that keeps its buckets in a directory.
type life struct {
	*world
	dir  string
	stop func()
	err  error // of Recover
}

// live starts a limiter on dir, at a moment that clock gives in the time of this
// process, on machine m.
func live(t testing.TB, dir string, clock func() Instant, m func() machine) *life {
	t.Helper()
	w := newWorld(t, Options{Clock: clock, Durable: DurableOptions{Dir: dir, create: createQuick}})
	w.keeper.machine = m
	p := &life{world: w, dir: dir}
	p.err = w.Recover()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	p.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(p.stop)
	if err := w.Persist(ctx); err != nil {
		t.Fatal(err)
	}
	return p
}

// crash returns what is on disk, as a directory of its own.
func (p *life) crash() string {
	p.Helper()
	to := p.TempDir()
	if err := os.CopyFS(to, os.DirFS(p.dir)); err != nil {
		p.Fatal(err)
	}
	return to
}

// sweep is the housekeeping of a minute.
func (p *life) sweep() {
	for i := range p.keys.shards {
		p.keys.shards[i].sweep(p.keys, p.clock())
	}
	p.keeper.journal.Wait(p.keeper.journal.Append(func(b []byte, _ bool, _ uint32) []byte { return b }))
}

// universe is the time that all lives have in common.
type universe struct{ ns atomic.Int64 }

func (u *universe) machine() machine { return machine{1e12 + u.ns.Load(), "this boot"} }

// clock is that of a process that began at the present moment.
func (u *universe) clock() func() Instant {
	began := u.ns.Load()
	return func() Instant {
		now := u.ns.Load()
		return Instant{MonoNS: now - began, UnixNS: start.UnixNS + now}
	}
}

// TestCrashesGiveNothingAway kills a node again and again, at any moment between two
// decisions, under traffic at all rates: no trailing window may have more than the
// limit, and a crash may cost 1 % of it at most.
func TestCrashesGiveNothingAway(t *testing.T) {
	for _, c := range []struct {
		name    string
		limit   conf.Limit
		gap     time.Duration
		maxCost int64
		crashes int
	}{
		{"1.5 times the limit", perHour(1000), 2400 * time.Millisecond, 1, 60},
		{"10 times a large limit", perHour(20_000), 18 * time.Millisecond, 1, 20},
		{"below a small limit", perHour(100), 50 * time.Second, 1, 60},
		{"five an hour", perHour(5), 5 * time.Minute, 1, 60},
		{"costs", perHour(2000), 2 * time.Second, 9, 40},
		{"short windows", per(300, 3*time.Second), 5 * time.Millisecond, 1, 60},
		{"fixed windows", conf.Limit{Requests: 1000, Per: conf.Duration(time.Hour), Window: "fixed"}, 2 * time.Second, 1, 60},
	} {
		t.Run(c.name, func(t *testing.T) {
			if raceEnabled {
				c.crashes /= 10
			}
			rnd := rand.New(rand.NewPCG(uint64(len(c.name)), 3))
			var u universe
			clock := u.clock()
			p := live(t, t.TempDir(), clock, u.machine)
			r := compile(t, "tenant", c.limit)
			o := oracle{limit: c.limit.Requests, window: int64(c.limit.Per)}
			fixedAt := int64(-1)
			var admitted, crashes, worst int64
			used := func() int64 { return p.Usage(r, p.KeyString(r, "acme")).Used }
			for crashes < int64(c.crashes) {
				for range 1 + rnd.IntN(int(2*time.Duration(c.limit.Per)/c.gap)) {
					u.ns.Add(int64(rnd.ExpFloat64() * float64(c.gap)))
					now := clock()
					cost := 1 + rnd.Int64N(c.maxCost)
					d := p.decide(now, Charge{Rule: r, Key: p.KeyString(r, "acme"), Cost: cost})
					if !d.Admitted {
						continue
					}
					admitted += cost
					if r.fixed {
						if window := now.UnixNS / o.window; window != fixedAt {
							fixedAt, o.used = window, 0
						}
						if o.used += cost; o.used > o.limit {
							t.Fatalf("%d admitted in one window after %d crashes", o.used, crashes)
						}
						continue
					}
					if !o.fits(u.ns.Load(), cost) {
						t.Fatalf("an admission above the limit after %d crashes", crashes)
					}
					o.admit(u.ns.Load(), cost)
				}
				before := used()
				dir := p.crash()
				crashes++
				u.ns.Add(rnd.Int64N(int64(2 * time.Second))) // until it is back
				clock = u.clock()
				p.stop()
				p = live(t, dir, clock, u.machine)
				if p.err != nil {
					t.Fatal(p.err)
				}
				r = compile(t, "tenant", c.limit)
				lost := used() - before
				worst = max(worst, lost)
				if most := max(1, c.limit.Requests/100); lost > most {
					t.Fatalf("crash %d cost %d of %d", crashes, lost, c.limit.Requests)
				}
			}
			t.Logf("%d admitted over %d crashes, the worst cost %d of %d", admitted, crashes, worst, c.limit.Requests)
		})
	}
}

// TestCrashesUnderLoad has many callers spend one quota while the disk is copied.
func TestCrashesUnderLoad(t *testing.T) {
	var u universe
	p := live(t, t.TempDir(), u.clock(), u.machine)
	r := compile(t, "tenant", perHour(3000))
	key := p.KeyString(r, "acme")
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			var d Decision
			for p.Decide(p.clock(), []Charge{{Rule: r, Key: key, Cost: 1}}, &d); d.Admitted; p.Decide(p.clock(), []Charge{{Rule: r, Key: key, Cost: 1}}, &d) {
				admitted.Add(1)
			}
		})
	}
	type copied struct {
		dir    string
		before int64
	}
	var copies []copied
	for range 5 {
		// What was admitted before the copy began must be in it.
		n := admitted.Load()
		copies = append(copies, copied{p.crash(), n})
	}
	wg.Wait()
	if got := admitted.Load(); got != 3000 {
		t.Errorf("%d admitted of 3000", got)
	}
	if s := p.Stats().Durable; !s.Active || s.Syncs == 0 || s.Syncs > 2000 {
		t.Errorf("stats %+v", s)
	}
	for _, c := range append(copies, copied{p.crash(), 3000}) {
		n := live(t, c.dir, u.clock(), u.machine)
		if got := n.Usage(r, n.KeyString(r, "acme")).Used; got < c.before || got > 3000 {
			t.Errorf("%d were admitted, %d are known of", c.before, got)
		}
	}
}

// spendAll admits what there is.
func (p *life) spendAll(r *Rule, name string) (n int64) {
	for p.decide(p.clock(), Charge{Rule: r, Key: p.KeyString(r, name), Cost: 1}).Admitted {
		n++
	}
	return n
}

func TestARestartForgetsNothing(t *testing.T) {
	var u universe
	p := live(t, t.TempDir(), u.clock(), u.machine)
	quota := compile(t, "tenant", perHour(1000))
	limit := conf.Limit{Requests: 1000, Per: conf.Duration(time.Hour), Burst: &conf.Burst{Rate: 1, Size: 50}}
	bursty := compile(t, "bursty", limit)
	for range 400 {
		p.decide(p.clock(), Charge{Rule: quota, Key: p.KeyString(quota, "acme"), Cost: 1})
	}
	if got := p.spendAll(bursty, "acme"); got != 50 {
		t.Fatalf("a burst of %d", got)
	}
	p.stop() // in order
	u.ns.Add(int64(10 * time.Second))
	n := live(t, p.dir, u.clock(), u.machine)
	if got := n.Usage(quota, n.KeyString(quota, "acme")).Used; got != 400 {
		t.Errorf("%d used after an orderly restart, want 400", got)
	}
	if got := n.spendAll(bursty, "acme"); got != 10 {
		t.Errorf("a burst of %d ten seconds after the last, want 10", got)
	}
	n = live(t, n.crash(), u.clock(), u.machine)
	if got := n.spendAll(bursty, "acme"); got != 0 {
		t.Errorf("a burst of %d after a crash, want none", got)
	}
	u.ns.Add(int64(time.Hour + 20*time.Millisecond)) // what was out counts until two ticks later
	if got := n.spendAll(quota, "acme"); got != 1000 {
		t.Errorf("%d an hour later, want 1000", got)
	}
}

// TestARestartOfTheMachine leaves only the wall clock to tell how long it took.
func TestARestartOfTheMachine(t *testing.T) {
	var u universe
	p := live(t, t.TempDir(), u.clock(), u.machine)
	r := compile(t, "tenant", perHour(1000))
	p.spendAll(r, "acme")
	p.stop()
	for _, c := range []struct {
		off  time.Duration // by the wall clock
		want int64
	}{{10 * time.Minute, 0}, {61 * time.Minute, 1000}, {-10 * time.Minute, 0}} {
		q := live(t, p.crash(),
			func() Instant { return Instant{MonoNS: 5, UnixNS: start.UnixNS + u.ns.Load() + int64(c.off)} },
			func() machine { return machine{7, "another boot"} })
		if got := q.spendAll(r, "acme"); got != c.want {
			t.Errorf("%d admitted after %v, want %d", got, c.off, c.want)
		}
	}
}

// TestAForgottenFile is so old that its stamps have wrapped.
func TestAForgottenFile(t *testing.T) {
	for _, limit := range []conf.Limit{per(10, 10*time.Second), perHour(10)} {
		var u universe
		p := live(t, t.TempDir(), u.clock(), u.machine)
		r := compile(t, "tenant", limit)
		p.spendAll(r, "acme")
		u.ns.Add(int64(30 * 24 * time.Hour))
		p.spendAll(r, "other") // the same segment
		p.sweep()
		u.ns.Add(int64(20 * 24 * time.Hour))
		for _, off := range []time.Duration{0, 15 * 24 * time.Hour, 300 * 24 * time.Hour} {
			u.ns.Add(int64(off))
			n := live(t, p.crash(), u.clock(), u.machine)
			if got := n.spendAll(r, "acme"); got != 10 {
				t.Errorf("%v: %d of 10 admitted from an old file", limit.Per, got)
			}
			if got := n.spendAll(r, "other"); got != 10 {
				t.Errorf("%v: %d of 10 admitted from an old file", limit.Per, got)
			}
		}
	}
}

func TestAChangedRuleIsKept(t *testing.T) {
	var u universe
	p := live(t, t.TempDir(), u.clock(), u.machine)
	hour := compile(t, "tenant", perHour(1000))
	for range 300 {
		p.decide(p.clock(), Charge{Rule: hour, Key: p.KeyString(hour, "acme"), Cost: 1})
	}
	less := compile(t, "tenant", per(1000, time.Minute)) // other ticks
	for range 100 {
		p.decide(p.clock(), Charge{Rule: less, Key: p.KeyString(less, "acme"), Cost: 1})
	}
	n := live(t, p.crash(), u.clock(), u.machine)
	if got := n.Usage(less, n.KeyString(less, "acme")).Used; got < 400 || got > 410 {
		t.Errorf("%d used, want 400 and what was reserved", got)
	}
}

// TestHandoverOfWhatIsKept upgrades, and crashes at every stage of it.
func TestHandoverOfWhatIsKept(t *testing.T) {
	var u universe
	p := live(t, t.TempDir(), u.clock(), u.machine)
	r := compile(t, "tenant", perHour(1000))
	spend := func(w *world, n int) {
		t.Helper()
		for range n {
			if !w.decide(w.clock(), Charge{Rule: r, Key: w.KeyString(r, "acme"), Cost: 1}).Admitted {
				t.Fatal("refused")
			}
		}
	}
	known := func(dir string, want int64) {
		t.Helper()
		n := live(t, dir, u.clock(), u.machine)
		if got := n.Usage(r, n.KeyString(r, "acme")).Used; n.err != nil || got < want || got > want+10 {
			t.Errorf("%d used after a crash, want %d and at most 10 more (%v)", got, want, n.err)
		}
	}
	spend(p.world, 200)

	// A successor that fails: this process goes on.
	h, err := p.Hold()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Export(func([]byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	known(p.crash(), 200)
	if err := h.Resume(); err != nil {
		t.Fatal(err)
	}
	spend(p.world, 100)
	known(p.crash(), 300)

	// One that takes over.
	next := newWorld(t, Options{Clock: u.clock(), Durable: DurableOptions{Dir: p.dir, create: createQuick}})
	next.keeper.machine = u.machine
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- next.Run(ctx) }()
	if h, err = p.Hold(); err != nil {
		t.Fatal(err)
	}
	if err := h.Export(next.Import); err != nil {
		t.Fatal(err)
	}
	if err := next.Persist(ctx); err != nil {
		t.Fatal(err)
	}
	h.Forward(next.Answer)
	known(p.crash(), 300)
	spend(next, 100)
	spend(p.world, 50) // a last connection of the predecessor
	known(p.crash(), 450)
	p.stop() // it must leave the files to the successor
	known(p.crash(), 450)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	n := live(t, p.dir, u.clock(), u.machine)
	if got := n.Usage(r, n.KeyString(r, "acme")).Used; got != 450 {
		t.Errorf("%d used after an orderly stop, want 450", got)
	}
}

// TestAFullDiskDoesNotRefuse has a disk that takes nothing from the beginning.
func TestAFullDiskDoesNotRefuse(t *testing.T) {
	w := newWorld(t, Options{Durable: DurableOptions{Dir: t.TempDir(), create: func(string) (journal.File, error) { return os.OpenFile("/dev/full", os.O_WRONLY, 0) }}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go w.Run(ctx) //nolint:errcheck // returns nil
	if err := w.Persist(ctx); err != nil {
		t.Fatal(err)
	}
	r := compile(t, "tenant", perHour(1000))
	n := 0
	for w.decide(Now(), Charge{Rule: r, Key: w.KeyString(r, "acme"), Cost: 1}).Admitted {
		n++
	}
	if n != 1000 {
		t.Errorf("%d of 1000 admitted", n)
	}
	if s := w.Stats().Durable; !s.Enabled || s.Active || !strings.Contains(s.Reason, "no space left") {
		t.Errorf("stats %+v", s)
	}
}

func TestTwoLimitersOnOneDirectory(t *testing.T) {
	var u universe
	p := live(t, t.TempDir(), u.clock(), u.machine)
	if err := New(Options{Durable: DurableOptions{Dir: p.dir}}).Recover(); err == nil || !strings.Contains(err.Error(), "another process uses it") {
		t.Errorf("got %v", err)
	}
}

// TestDearCostsAreKept has costs that do not go through the hot word.
func TestDearCostsAreKept(t *testing.T) {
	var u universe
	p := live(t, t.TempDir(), u.clock(), u.machine)
	r := compile(t, "tenant", perHour(1_000_000))
	for range 3 {
		if !p.decide(p.clock(), Charge{Rule: r, Key: p.KeyString(r, "acme"), Cost: maxHotCost + 1}).Admitted {
			t.Fatal("refused")
		}
	}
	n := live(t, p.crash(), u.clock(), u.machine)
	if got := n.Usage(r, n.KeyString(r, "acme")).Used; got < 3*(maxHotCost+1) || got > 3*(maxHotCost+1)+10_000 {
		t.Errorf("%d used, want %d", got, 3*(maxHotCost+1))
	}
}

// TestTheFileDoesNotGrow spends for a long time.
func TestTheFileDoesNotGrow(t *testing.T) {
	var u universe
	clock := u.clock()
	p := live(t, t.TempDir(), clock, u.machine)
	r := compile(t, "tenant", per(300, 3*time.Second))
	most := int64(0)
	for i := range 30_000 {
		u.ns.Add(int64(10 * time.Millisecond))
		p.decide(clock(), Charge{Rule: r, Key: p.KeyString(r, fmt.Sprint(i%50)), Cost: 1})
		if i%1000 != 0 {
			continue
		}
		files, err := filepath.Glob(filepath.Join(p.dir, "*.lease"))
		if err != nil {
			t.Fatal(err)
		}
		sum := int64(0)
		for _, f := range files {
			if info, err := os.Stat(f); err == nil {
				sum += info.Size()
			}
		}
		most = max(most, sum)
	}
	if most > 3<<20 {
		t.Errorf("%d bytes on disk for 50 keys", most)
	}
}

// FuzzRecovery feeds records that no process wrote.
func FuzzRecovery(f *testing.F) {
	var u universe
	p := live(f, f.TempDir(), u.clock(), u.machine)
	r := compile(f, "tenant", conf.Limit{Requests: 100, Per: conf.Duration(time.Minute), Burst: &conf.Burst{Rate: 5, Size: 10}})
	for i := range 30 {
		u.ns.Add(int64(200 * time.Millisecond))
		p.decide(p.clock(), Charge{Rule: r, Key: p.KeyString(r, fmt.Sprint(i%3)), Cost: 1})
	}
	if err := journal.New(journal.Options{Dir: p.crash()}).Replay(func(first bool, content []byte) error {
		f.Add(first, content)
		return nil
	}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, first bool, content []byte) {
		w := newWorld(t, Options{MaxKeys: 100, MaxAddresses: 7, Durable: DurableOptions{Dir: "unused"}})
		in := recovery{l: w.Limiter, buckets: make(map[Key]*recovered), now: start, machine: u.machine()}
		_ = in.frame(first, content)
		_ = in.frame(false, content)
		in.adopt()
		for i := range w.keys.shards {
			w.keys.shards[i].each(func(e *entry) {
				if err := e.check(0); err != nil {
					t.Fatal(err)
				}
			})
		}
	})
}

func BenchmarkDecideKept(b *testing.B) {
	var u universe
	p := live(b, b.TempDir(), Now, u.machine)
	r := compile(b, "tenant", perHour(MaxRequests))
	key := p.KeyString(r, "acme")
	charges := []Charge{{Rule: r, Key: key, Cost: 1}}
	var d Decision
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(Now(), charges, &d)
	}
}

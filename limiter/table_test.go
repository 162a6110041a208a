package limiter

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"sluice/conf"
)

// heap is the live heap in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestAQuietKeyIsSmall(t *testing.T) {
	if raceEnabled {
		return // the detector pads every allocation
	}
	const n = 1 << 18 // the index is as full as with a million
	before := heap()
	w := newWorld(t, Options{})
	r := compile(t, "r", perHour(1000))
	var d Decision
	for use := range 8 {
		for i := range n {
			w.Decide(start.after(time.Duration(use)*time.Minute), []Charge{{Rule: r, Key: Key{mix(uint64(i)), mix(uint64(i) + n)}.asText(), Cost: 1}}, &d)
		}
		if use == 2 || use == 7 {
			per := float64(heap()-before) / n
			t.Logf("%.1f bytes a key with %d uses", per, use+1)
			if most := map[int]float64{2: 170, 7: 235}[use]; per > most {
				t.Errorf("%.1f bytes a key with %d uses, want at most %v", per, use+1, most)
			}
		}
	}
	runtime.KeepAlive(w)
}

// mix scatters small numbers (splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func TestKeysExpireWhenNothingInThemIsUsed(t *testing.T) {
	w := newWorld(t, Options{})
	r := compile(t, "r", perHour(1000))
	const n = 20000
	for i := range n {
		w.Decide(start, []Charge{{Rule: r, Key: w.KeyString(r, fmt.Sprint(i)), Cost: 1}}, &w.d)
	}
	busy := Charge{Rule: r, Key: w.KeyString(r, "busy"), Cost: 1}
	w.decide(start.after(30*time.Minute), busy)
	w.sweep(start.after(59 * time.Minute))
	if got := w.Stats().Keys; got != n+1 {
		t.Errorf("%d keys inside the window, want %d", got, n+1)
	}
	w.sweep(start.after(61 * time.Minute))
	if s := w.Stats(); s.Keys != 1 || s.Expired != n {
		t.Errorf("%+v, want 1 key and %d expired", s, n)
	}
	if d := w.decide(start.after(61*time.Minute), busy); d.Remaining != 998 {
		t.Errorf("the busy key has %d left, want 998", d.Remaining)
	}
	for i := range w.keys.shards {
		if n := len(w.keys.shards[i].index.Load().buckets); n > 2 {
			t.Fatalf("index of an almost empty shard has %d buckets", n)
		}
	}
}

func TestABurstInDebtKeepsItsKey(t *testing.T) {
	w := newWorld(t, Options{})
	r := compile(t, "r", conf.Limit{Requests: 10, Per: conf.Duration(time.Second), Burst: &conf.Burst{Rate: 0.1, Size: 2}})
	ch := Charge{Rule: r, Key: w.KeyString(r, "acme"), Cost: 2}
	w.decide(start, ch)
	w.sweep(start.after(5 * time.Second))
	if d := w.decide(start.after(5*time.Second), ch); d.Admitted {
		t.Error("dropping the key refilled its burst")
	}
}

func TestAFullTableSharesOneBucketAndKeepsTheBound(t *testing.T) {
	w := newWorld(t, Options{MaxKeys: 100})
	r := compile(t, "r", perHour(10))
	at := func(now Instant, name string, cost int64) *Decision {
		return w.decide(now, Charge{Rule: r, Key: w.KeyString(r, name), Cost: cost})
	}
	for i := range 100 {
		at(start, fmt.Sprint("known", i), 4)
	}
	// Keys that find no room share the rule's limit.
	if d := at(start, "late a", 7); !d.Admitted || d.Remaining != 3 {
		t.Fatalf("%+v", *d)
	}
	if d := at(start, "late b", 4); d.Admitted {
		t.Fatalf("%+v", *d)
	}
	// The others do not notice.
	if d := at(start, "known7", 6); !d.Admitted {
		t.Fatalf("%+v", *d)
	}
	if s := w.Stats(); s.Overflowed < 2 || s.Keys > 101 {
		t.Errorf("%+v", s)
	}
	// When room comes, a key may be one that has spent from the shared bucket: it
	// starts with all of that used.
	w.decide(start.after(30*time.Minute), Charge{Rule: r, Key: w.KeyString(r, "late b"), Cost: 2})
	now := start.after(61 * time.Minute)
	w.sweep(now)
	d := at(now, "late b", 8)
	if !d.Admitted {
		t.Fatalf("%+v", *d)
	}
	if d := at(now, "late b", 1); d.Admitted {
		t.Errorf("11 in one window: %+v", *d)
	}
}

func TestAFullTableMakesRoomByDroppingWhatIsIdle(t *testing.T) {
	w := newWorld(t, Options{MaxKeys: 1000})
	r := compile(t, "r", perHour(10))
	for round := range 5 {
		now := start.after(time.Duration(round) * 2 * time.Hour)
		for i := range 900 {
			w.decide(now, Charge{Rule: r, Key: w.KeyString2(r, fmt.Sprint(round), fmt.Sprint(i)), Cost: 1})
		}
	}
	s := w.Stats()
	if s.Keys > 1001 {
		t.Errorf("%d keys, want 1000 and the shared one at most", s.Keys)
	}
	// A search is bounded, so some keys may have found no room at first.
	if s.Overflowed > 450 {
		t.Errorf("%d of 4500 keys found no room", s.Overflowed)
	}
}

func TestAFloodOfAddressesGrowsNothingPastItsTable(t *testing.T) {
	flood := 2_000_000
	if raceEnabled {
		flood = 200_000
	}
	const table = 1 << 16
	w := newWorld(t, Options{MaxAddresses: table})
	tenant, address := compile(t, "tenant", perHour(10)), compile(t, "address", perHour(10))
	acme := Charge{Rule: tenant, Key: w.KeyString(tenant, "acme"), Cost: 6}
	w.decide(start, acme)
	var d Decision
	charges := []Charge{{Rule: address, Cost: 1}}
	rnd := rand.New(rand.NewPCG(1, 2))
	fill := func(n int) {
		for range n {
			x := rnd.Uint64()
			var a [16]byte
			for i := range 8 {
				a[i] = byte(x >> (8 * i))
			}
			charges[0].Key = w.KeyAddr(address, netip.AddrFrom16(a))
			w.Decide(start, charges, &d)
		}
	}
	fill(table * 3)
	before := heap()
	fill(flood - table*3)
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("grew by %d bytes after the table was full", grown)
	}
	s := w.Stats()
	if s.Addresses > table+addressWays || s.Keys != 1 || s.AddressesEvicted == 0 {
		t.Errorf("%+v", s)
	}
	if d := w.decide(start, acme); d.Admitted || d.Remaining != 4 {
		t.Errorf("the flood changed a tenant's bucket: %+v", *d)
	}
}

func TestABusyAddressSurvivesAFlood(t *testing.T) {
	w := newWorld(t, Options{MaxAddresses: 7 * 64})
	r := compile(t, "address", perHour(5))
	attacker := Charge{Rule: r, Key: w.KeyAddr(r, netip.MustParseAddr("203.0.113.9")), Cost: 1}
	for range 6 {
		w.decide(start, attacker)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	admitted := 0
	for range 2000 {
		for range 64 { // one other address a set, between two of the attacker's requests
			k := Key{rnd.Uint64(), rnd.Uint64()}.asAddress()
			w.decide(start, Charge{Rule: r, Key: k, Cost: 1})
		}
		if d := w.decide(start, attacker); d.Admitted {
			admitted++
		}
	}
	if admitted > 0 {
		t.Errorf("the flood gave a busy address %d more requests", admitted)
	}
}

func TestAnIdleLimiterIsSmall(t *testing.T) {
	if raceEnabled {
		return
	}
	before := heap()
	l := New(Options{})
	if got := heap() - before; got > 2<<20 {
		t.Errorf("an idle limiter holds %d bytes", got)
	}
	runtime.KeepAlive(l)
}

func TestRunDropsIdleKeysAndEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := New(Options{Clock: func() Instant { return start.after(time.Since(began)) }})
		r := compile(t, "r", per(10, time.Minute))
		var d Decision
		for i := range 100 {
			l.Decide(start, []Charge{{Rule: r, Key: l.KeyString(r, fmt.Sprint(i)), Cost: 1}}, &d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		time.Sleep(3 * time.Minute)
		if s := l.Stats(); s.Keys != 0 || s.Expired != 100 {
			t.Errorf("%+v, want no keys", s)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestTheIndexFindsWhatWasInsertedAndNotDropped(t *testing.T) {
	w := newWorld(t, Options{})
	r := compile(t, "r", perHour(10))
	rnd := rand.New(rand.NewPCG(5, 5))
	alive := map[Key]bool{}
	now := start
	for range 3000 {
		// Few distinct low bits, so that chains are long and cross buckets.
		k := Key{rnd.Uint64() & 0x0c0000000000000f, rnd.Uint64N(200) << 50}.asText()
		w.Decide(now, []Charge{{Rule: r, Key: k, Cost: 1}}, &w.d)
		alive[k] = true
		if rnd.IntN(500) == 0 {
			now = now.after(2 * time.Hour)
			w.sweep(now)
			clear(alive)
		}
		if rnd.IntN(100) == 0 {
			for k := range alive {
				if e := w.keys.find(k); e == nil || e.key != k {
					t.Fatalf("%x is lost", k)
				}
			}
			if got := w.Stats().Keys; got != int64(len(alive)) {
				t.Fatalf("%d keys, want %d", got, len(alive))
			}
		}
	}
}

func TestDecisionsDoNotAllocate(t *testing.T) {
	if raceEnabled {
		return
	}
	w := newWorld(t, Options{})
	r := compile(t, "r", conf.Limit{Requests: 1_000_000, Burst: &conf.Burst{Rate: 1e6, Size: 1000}})
	s := compile(t, "s", perHour(3))
	addr := netip.MustParseAddr("2001:db8::1")
	charges := []Charge{
		{Rule: r, Key: w.KeyString(r, "acme"), Cost: 1},
		{Rule: r, Key: w.KeyString2(r, "acme", "route"), Cost: 1},
		{Rule: r, Key: w.KeyAddr(r, addr), Cost: 1},
	}
	var d Decision
	now := start
	for name, do := range map[string]func(){
		"admitted": func() { w.Decide(now, charges, &d) },
		"refused": func() {
			w.Decide(now, []Charge{{Rule: s, Key: w.KeyAddrString(s, addr, "x"), Cost: 1}, charges[0]}, &d)
		},
		"red": func() { w.Decide(now, []Charge{{Rule: s, Key: w.KeyString(s, "y"), Cost: 1}}, &d) },
	} {
		for range 300 { // the log grows to its full size
			do()
			now = now.after(11 * time.Millisecond)
		}
		if n := testing.AllocsPerRun(200, func() { do(); now = now.after(11 * time.Millisecond) }); n != 0 {
			t.Errorf("%s: %v allocations a decision", name, n)
		}
	}
}

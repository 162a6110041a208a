package limiter

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// ticker is a clock that costs nothing: it advances by a microsecond a decision.
type ticker struct{ now Instant }

func (t *ticker) next() Instant { t.now = t.now.after(time.Microsecond); return t.now }

func BenchmarkDecideHot(b *testing.B) {
	l := New(Options{})
	r := compile(b, "tenant", perHour(MaxRequests))
	charges := []Charge{{Rule: r, Key: l.KeyString(r, "acme"), Cost: 1}}
	var d Decision
	clock := ticker{start}
	b.ReportAllocs()
	for b.Loop() {
		l.Decide(clock.next(), charges, &d)
	}
	if !d.Admitted {
		b.Fatal("refused")
	}
}

// BenchmarkDecideParallel has a key for each core: nothing is shared.
func BenchmarkDecideParallel(b *testing.B) {
	l := New(Options{})
	r := compile(b, "tenant", perHour(MaxRequests))
	var n atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		charges := []Charge{{Rule: r, Key: l.KeyString(r, fmt.Sprint(n.Add(1))), Cost: 1}}
		var d Decision
		clock := ticker{start}
		for pb.Next() {
			l.Decide(clock.next(), charges, &d)
		}
	})
}

// BenchmarkDecideParallelOneKey has every core on the same key.
func BenchmarkDecideParallelOneKey(b *testing.B) {
	l := New(Options{})
	r := compile(b, "tenant", perHour(MaxRequests))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		charges := []Charge{{Rule: r, Key: l.KeyString(r, "acme"), Cost: 1}}
		var d Decision
		clock := ticker{start}
		for pb.Next() {
			l.Decide(clock.next(), charges, &d)
		}
	})
}

func BenchmarkDecideMillionKeys(b *testing.B) {
	l := New(Options{})
	r := compile(b, "tenant", perHour(1000))
	const n = 1 << 20
	keys := make([]Key, n)
	charges := []Charge{{Rule: r, Cost: 1}}
	var d Decision
	for i := range keys {
		keys[i] = l.KeyString(r, fmt.Sprint(i))
		charges[0].Key = keys[i]
		l.Decide(start, charges, &d)
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	clock := ticker{start}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		charges[0].Key = keys[i&(n-1)]
		i++
		l.Decide(clock.next(), charges, &d)
	}
}

func BenchmarkDecideRefused(b *testing.B) {
	l := New(Options{})
	r := compile(b, "tenant", perHour(10))
	charges := []Charge{{Rule: r, Key: l.KeyString(r, "acme"), Cost: 1}}
	var d Decision
	for range 12 {
		l.Decide(start, charges, &d)
	}
	b.ReportAllocs()
	for b.Loop() {
		l.Decide(start, charges, &d)
	}
	if d.Admitted || d.Zone != Red {
		b.Fatalf("%+v", d)
	}
}

func BenchmarkDecideThreeCharges(b *testing.B) {
	l := New(Options{})
	tenant, route := perHour(MaxRequests), perHour(MaxRequests)
	a, r, s := compile(b, "tenant", tenant), compile(b, "route", route), compile(b, "subject", route)
	charges := []Charge{
		{Rule: a, Key: l.KeyString(a, "acme"), Cost: 1},
		{Rule: r, Key: l.KeyString2(r, "/api/items/*", "acme"), Cost: 1},
		{Rule: s, Key: l.KeyString2(s, "auth0|5f7c8ec7c33c6c004bbafe82", "acme"), Cost: 1},
	}
	var d Decision
	clock := ticker{start}
	b.ReportAllocs()
	for b.Loop() {
		l.Decide(clock.next(), charges, &d)
	}
	if !d.Admitted {
		b.Fatal("refused")
	}
}

func BenchmarkDecideAddress(b *testing.B) {
	l := New(Options{})
	r := compile(b, "address", perHour(MaxRequests))
	charges := []Charge{{Rule: r, Key: l.KeyAddr(r, netip.MustParseAddr("192.0.2.7")), Cost: 1}}
	var d Decision
	clock := ticker{start}
	b.ReportAllocs()
	for b.Loop() {
		l.Decide(clock.next(), charges, &d)
	}
}

// BenchmarkDecideAddressFlood is a new address each time, with its key.
func BenchmarkDecideAddressFlood(b *testing.B) {
	l := New(Options{})
	r := compile(b, "address", perHour(100))
	charges := []Charge{{Rule: r, Cost: 1}}
	var d Decision
	clock := ticker{start}
	rnd := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		var a [4]byte
		x := rnd.Uint32()
		a[0], a[1], a[2], a[3] = byte(x), byte(x>>8), byte(x>>16), byte(x>>24)
		charges[0].Key = l.KeyAddr(r, netip.AddrFrom4(a))
		l.Decide(clock.next(), charges, &d)
	}
}

func BenchmarkKeyString(b *testing.B) {
	l := New(Options{})
	r := compile(b, "tenant", perHour(1))
	b.ReportAllocs()
	var k Key
	for b.Loop() {
		k = l.KeyString(r, "org_Kx8aQ3vU7mTz")
	}
	_ = k
}

func BenchmarkKeyAddr(b *testing.B) {
	l := New(Options{})
	r := compile(b, "address", perHour(1))
	a := netip.MustParseAddr("2001:db8::1")
	b.ReportAllocs()
	var k Key
	for b.Loop() {
		k = l.KeyAddr(r, a)
	}
	_ = k
}

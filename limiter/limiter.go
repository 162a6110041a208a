package limiter

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

// Options configure a Limiter. The zero value is safe.
type Options struct {
	// Secret keys the hash of every Key; nodes that share limits share it. Zero: a
	// random one.
	Secret [16]byte
	// MaxKeys bounds the buckets of tenants and others that are not addresses.
	// Default: 2,097,152 (about 165 B each while quiet).
	MaxKeys int
	// MaxAddresses bounds the buckets of client addresses, about 100 B each; memory
	// is taken as they come. Default: 1,048,576.
	MaxAddresses int
	// Clock is read by Run. Default: Now.
	Clock func() Instant
	// Durable says where a limiter that shares with nobody keeps what is used. Zero:
	// nowhere.
	Durable DurableOptions
	// Cluster says who shares the limits. Zero: nobody. All nodes need the same
	// Secret, or each counts for itself.
	Cluster ClusterOptions
}

// Limiter holds the buckets and decides. It lives as long as the process:
// configuration reloads bring new rules, never a new Limiter.
type Limiter struct {
	secret    [2]uint64
	clock     func() Instant
	keys      *table
	addresses *addresses
	fleet     *fleet  // nil: the authority of every key is in this process
	keeper    *keeper // nil: nothing is kept on disk

	handover atomic.Pointer[Handover] // nil: this process decides

	foreignMu sync.Mutex
	foreign   map[string]*Rule // of another process, by definition; guarded by foreignMu
}

// New returns a Limiter without starting anything.
func New(o Options) *Limiter {
	if o.Secret == ([16]byte{}) && o.Cluster.any() {
		panic("BUG: limits that nodes share need a common secret")
	}
	if o.Secret == ([16]byte{}) {
		rand.Read(o.Secret[:]) // never fails: the process ends instead
	}
	if o.MaxKeys <= 0 {
		o.MaxKeys = 1 << 21
	}
	if o.MaxAddresses <= 0 {
		o.MaxAddresses = 1 << 20
	}
	if o.Clock == nil {
		o.Clock = Now
	}
	l := &Limiter{
		secret: [2]uint64{
			binary.LittleEndian.Uint64(o.Secret[:8]),
			binary.LittleEndian.Uint64(o.Secret[8:]),
		},
		clock:     o.Clock,
		keys:      newTable(o.MaxKeys),
		addresses: newAddresses(o.MaxAddresses),
	}
	if o.Cluster.any() {
		l.fleet = newFleet(l, &o.Cluster)
		l.keys.fleet = l.fleet
	} else if o.Durable.Dir != "" {
		l.keeper = newKeeper(l, o.Durable)
		l.keys.keeper = l.keeper
	}
	return l
}

// sweepEvery is the time between two shards of the housekeeping: the whole table
// is seen about once a minute.
const sweepEvery = time.Minute / numShards

// sweepLag is how far behind the clock the housekeeping works, in nanoseconds: a
// request may carry an instant that old and still find what was used then.
const sweepLag = int64(time.Second)

// Run drops buckets in which nothing is used any more, until ctx ends; it then
// returns nil. Decide is right without it, but keeps every key until the table is
// full.
//
// In a cluster Run also talks to the authority; without it nothing is granted.
// When ctx ends it gives back what this node holds, for a second at most. With
// Options.Durable it writes to disk, and when ctx ends leaves everything there.
func (l *Limiter) Run(ctx context.Context) error {
	if l.fleet != nil {
		var fleet sync.WaitGroup
		fleet.Go(func() { l.fleet.run(ctx) })
		defer fleet.Wait()
	}
	if l.keeper != nil {
		var keeper sync.WaitGroup
		keeper.Go(func() { _ = l.keeper.run(ctx) }) // it has said what is wrong
		defer keeper.Wait()
	}
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for i := 0; ; i = (i + 1) % numShards {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			now := l.clock()
			now.MonoNS, now.UnixNS = now.MonoNS-sweepLag, now.UnixNS-sweepLag
			l.keys.shards[i].sweep(l.keys, now)
		}
	}
}

// Usage returns the state of k under r now.
func (l *Limiter) Usage(r *Rule, k Key) Usage {
	now := l.clock()
	var q Quota
	known := true
	if k.ofAddress() {
		l.addresses.charge(r, k, now, 0, false, &q)
		known = l.addresses.has(k)
		return Usage{
			Limit: q.Limit, Used: q.Limit - q.Remaining, Remaining: q.Remaining,
			ResetAfter: q.ResetAfter, Known: known,
		}
	}
	e := l.keys.find(k)
	if e == nil {
		return Usage{Limit: r.Limit(), Remaining: r.Limit()}
	}
	return e.usage(r, now)
}

// usage is the state of e as r counts it, without making r its rule.
func (e *entry) usage(r *Rule, now Instant) Usage {
	e.mu.Lock()
	defer e.mu.Unlock()
	own := e.rule.Load()
	if own == nil {
		return Usage{Limit: r.limit.Rights, Remaining: r.limit.Rights}
	}
	e.refresh(own, now)
	e.note(own)
	if e.fleet != nil {
		return e.usageFar(r, now)
	}
	// Reserved rights count as used: they most likely will be.
	used := e.account.Log.Used() + e.account.Held - tokensIn(e.hot.Load()) - e.coming()
	u := Usage{Limit: r.limit.Rights, Used: used, Remaining: max(0, r.limit.Rights-used), Known: true}
	if oldest, ok := e.account.Log.Oldest(); ok {
		tick, phase := own.at(now)
		u.ResetAfter = own.until(oldest, tick, phase)
	}
	return u
}

// Ready reports whether the authority of the keys answers and grants. Without a
// cluster it is in this process and always does.
func (l *Limiter) Ready() bool { return l.fleet == nil || l.fleet.ready.Load() }

// Shared reports whether other nodes count the same limits.
func (l *Limiter) Shared() bool { return l.fleet != nil }

// Fingerprint tells the secret's apart without telling it: equal ones have equal
// fingerprints. Nodes that share limits compare them.
func (l *Limiter) Fingerprint() (f [8]byte) {
	s := newSip([2]uint64{l.secret[0] ^ fingerprintKey, l.secret[1]})
	s.text("fingerprint")
	binary.LittleEndian.PutUint64(f[:], s.sum()[0])
	return f
}

const fingerprintKey = 0x9e3779b97f4a7c15 // sets it apart from the keys of buckets

// Stats returns the counters.
func (l *Limiter) Stats() Stats {
	s := Stats{Keys: l.keys.live.Load(), Addresses: l.addresses.held.Load(), Cluster: ClusterStats{Authority: "local", Ready: true}}
	if l.fleet != nil {
		s.Cluster = *l.fleet.state.Load()
	}
	if l.keeper != nil {
		s.Durable = l.keeper.stats()
	}
	for i := range l.keys.shards {
		c := &l.keys.shards[i].count
		for z := range c.decisions {
			s.Decisions[z].Refused += c.decisions[z][0].Load()
			s.Decisions[z].Admitted += c.decisions[z][1].Load()
		}
		s.WouldRefuse += c.wouldRefuse.Load()
		s.Expired += c.expired.Load()
		s.AddressesEvicted += c.evicted.Load()
		s.Overflowed += c.overflowed.Load()
	}
	return s
}

package limiter

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"sluice/limiter/core"
)

const (
	shardBits = 6
	numShards = 1 << shardBits

	// bucketSlots entries and their tags fill one 64-byte line.
	bucketSlots = 7
	// An index grows when more than 3/4 of its slots are taken.
	loadNum, loadDen = 3, 4

	tagEmpty   = 0 // ends a search
	tagDropped = 1 // does not
	tagFirst   = 2

	ones  = 0x0001010101010101 // one bit for each of the seven tags
	highs = 0x0080808080808080
)

// table finds entries by key. Looking up takes no lock; adding and dropping take
// the shard's. At most limit entries are made, not counting overflow entries.
type table struct {
	limit  int64
	fleet  *fleet  // nil: the authority of every key is in this process
	keeper *keeper // nil: nothing is kept on disk
	live   atomic.Int64
	shards [numShards]shard

	// spilled is set once the table has been full: from then on a new entry may
	// belong to a key that has spent from an overflow entry.
	spilled atomic.Bool

	// closed is set while the buckets are with another process: none is added.
	closed atomic.Bool
}

// shard is one part of the table, chosen by the top bits of the key.
type shard struct {
	index atomic.Pointer[index]

	mu    sync.Mutex // guards changes of the index and what follows
	taken int        // slots that are not empty, dropped ones included
	alive int
	hand  int // bucket at which the next search for room starts

	_     [64]byte // every decision writes a counter; lookups only read the above
	count counters
	_     [64]byte
}

// index is an open-addressing hash table of buckets, probed one after the other.
type index struct {
	buckets []bucket // a power of two
}

// bucket holds seven entries; byte i of tags describes slot i. A slot is stored
// before its tag, so whoever sees the tag sees the entry (or one that took its
// place, which comparing the key finds out).
type bucket struct {
	tags  atomic.Uint64
	slots [bucketSlots]atomic.Pointer[entry]
}

func newIndex(buckets int) *index { return &index{buckets: make([]bucket, buckets)} }

func (x *index) room() int { return len(x.buckets) * bucketSlots * loadNum / loadDen }

func (x *index) start(k Key) int { return int(k[0]) & (len(x.buckets) - 1) }

func tagOf(k Key) uint64 { return max(tagFirst, k[1]>>56) }

// matches has the high bit of byte i set when tag i equals tag. Above a true
// match there may be a false one, which comparing the key finds out.
func matches(tags, tag uint64) uint64 {
	x := tags&(1<<56-1) ^ ones*tag
	return (x - ones) &^ x & highs
}

// find returns the entry of k, or nil.
func (x *index) find(k Key) *entry {
	tag := tagOf(k)
	for i := x.start(k); ; i = (i + 1) & (len(x.buckets) - 1) {
		b := &x.buckets[i]
		tags := b.tags.Load()
		for m := matches(tags, tag); m != 0; m &= m - 1 {
			if e := b.slots[bits.TrailingZeros64(m)/8].Load(); e != nil && e.key == k {
				return e
			}
		}
		if matches(tags, tagEmpty) != 0 {
			return nil
		}
	}
}

// insert adds e, whose key is absent. There is room. It reports whether an empty
// slot was used, rather than one that had been taken before.
func (x *index) insert(e *entry) bool {
	for i := x.start(e.key); ; i = (i + 1) & (len(x.buckets) - 1) {
		b := &x.buckets[i]
		tags := b.tags.Load()
		for s := range bucketSlots {
			if was := tags >> (8 * s) & 0xff; was < tagFirst {
				b.slots[s].Store(e)
				b.tags.Store(tags&^(0xff<<(8*s)) | tagOf(e.key)<<(8*s))
				return was == tagEmpty
			}
		}
	}
}

// drop takes slot s out of the bucket.
func (b *bucket) drop(s int) {
	b.tags.Store(b.tags.Load()&^(0xff<<(8*s)) | tagDropped<<(8*s))
	b.slots[s].Store(nil)
}

func newTable(limit int) *table {
	t := &table{limit: int64(limit)}
	for i := range t.shards {
		t.shards[i].index.Store(newIndex(1))
	}
	return t
}

func (t *table) shard(k Key) *shard { return &t.shards[k[0]>>(64-shardBits)] }

// find returns the entry of k, or nil.
func (t *table) find(k Key) *entry { return t.shard(k).index.Load().find(k) }

// make returns the entry of k, adding it when it is absent; nil when the table is closed. When the table is
// full, the entry of r's overflow key is returned instead: all keys of a rule that
// find no room share one bucket with the rule's own limit. So each of them stays
// within its limit, and together they may get less than each its own.
func (t *table) make(k Key, r *Rule, now Instant) (e *entry, own bool) {
	if e := t.add(k, r, now, false); e != nil {
		return e, true
	}
	if t.closed.Load() {
		return nil, false
	}
	t.spilled.Store(true)
	return t.add(overflowKey(r), r, now, true), false
}

// overflowKey is the bucket of keys of r that found the table full.
func overflowKey(r *Rule) Key {
	// No hash of dims with a secret gives this, except by a 2⁻¹²⁷ chance.
	return Key{r.digest, ^r.digest}.asText()
}

// add returns the entry of k, made when it is absent; nil when it is absent and
// the table is full and force is false, and when the table is closed.
func (t *table) add(k Key, r *Rule, now Instant, force bool) *entry {
	var spent int64
	if !force && t.spilled.Load() {
		spent = t.overflowed(r, now)
	}
	s := t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.closed.Load() {
		return nil
	}
	x := s.index.Load()
	if e := x.find(k); e != nil {
		return e
	}
	if t.live.Add(1) > t.limit && !force && !s.makeRoom(t, now) {
		t.live.Add(-1)
		return nil
	}
	if s.taken >= x.room() {
		x = s.rebuild(x)
	}
	e := t.entry()
	tick, _ := r.at(now)
	e.init(k, r, tick)
	if spent > 0 {
		// This key may be one of those that spent from the overflow entry.
		e.account.Log.Add(tick+1, uint32(spent), core.MaxRuns)
		e.note(r)
	}
	if x.insert(e) {
		s.taken++
	}
	s.alive++
	return e
}

// entry returns a new one of this table.
func (t *table) entry() *entry {
	e := &entry{fleet: t.fleet}
	if t.keeper != nil {
		e.kept = &kept{keeper: t.keeper}
	}
	return e
}

// overflowed is how much of r's overflow entry is used now.
func (t *table) overflowed(r *Rule, now Instant) int64 {
	e := t.find(overflowKey(r))
	if e == nil {
		return 0
	}
	u := e.usage(r, now)
	return u.Used
}

// rebuild replaces the index by one with at most half of its room taken, without
// the dropped slots. Readers of the old one go on seeing what it held. mu is held.
func (s *shard) rebuild(old *index) *index {
	n := 1
	for n*bucketSlots*loadNum < 2*loadDen*(s.alive+1) {
		n *= 2
	}
	next := newIndex(n)
	for i := range old.buckets {
		for j := range bucketSlots {
			if e := old.buckets[i].slots[j].Load(); e != nil {
				next.insert(e)
			}
		}
	}
	s.taken = s.alive
	s.index.Store(next)
	return next
}

// roomSearch is how many buckets makeRoom looks at: a bound on the delay of the
// request that finds the table full.
const roomSearch = 4

// makeRoom drops entries in which nothing is used from the next few buckets. mu
// is held; t.live counts the entry that is about to come.
func (s *shard) makeRoom(t *table, now Instant) bool {
	x := s.index.Load()
	for range min(roomSearch, len(x.buckets)) {
		s.hand = (s.hand + 1) & (len(x.buckets) - 1)
		s.sweepBucket(t, &x.buckets[s.hand], now)
	}
	return t.live.Load() <= t.limit
}

// sweepBucket drops the entries of b in which nothing is used. mu is held.
func (s *shard) sweepBucket(t *table, b *bucket, now Instant) {
	for i := range bucketSlots {
		if e := b.slots[i].Load(); e != nil && e.retire(now) {
			b.drop(i)
			s.alive--
			t.live.Add(-1)
			s.count.expired.Add(1)
		}
	}
}

// sweep drops the entries of the shard in which nothing is used, and shrinks an
// index that is mostly empty. It holds the lock for one bucket at a time.
func (s *shard) sweep(t *table, now Instant) {
	for i := 0; ; i++ {
		s.mu.Lock()
		if t.closed.Load() {
			s.mu.Unlock()
			return
		}
		x := s.index.Load()
		if i >= len(x.buckets) {
			if len(x.buckets) > 1 && s.alive < x.room()/8 {
				s.rebuild(x)
			}
			s.mu.Unlock()
			return
		}
		s.sweepBucket(t, &x.buckets[i], now)
		s.mu.Unlock()
	}
}

package detector

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"

	"sluice/waf/bans"
)

// shards of the windows; each has a lock of its own.
const shards = 64

// table holds the windows of whoever had a fault lately.
type table struct {
	seed   maphash.Seed
	limit  int // of entries, in one shard
	shards [shards]shard
	size   atomic.Int64
}

type shard struct {
	mu      sync.Mutex
	entries map[uint64]*client // guarded by mu; by hash of kind and value
	_       [40]byte           // shards on cache lines of their own
}

// client is one address, subject or key.
type client struct {
	lastNS  int64
	windows [numWindows]*window // nil: nothing counted
}

// with calls f with the client of that hash, which is made when there is none.
func (t *table) with(hash uint64, nowNS int64, f func(*client)) {
	s := &t.shards[hash%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.entries[hash]
	if c == nil {
		if s.entries == nil {
			s.entries = make(map[uint64]*client)
		}
		if len(s.entries) >= t.limit {
			t.evictLocked(s)
		}
		c = new(client)
		s.entries[hash] = c
		t.size.Add(1)
	}
	c.lastNS = nowNS
	f(c)
}

// evictLocked takes out the one that was seen longest ago among a few: a map
// begins anywhere.
func (t *table) evictLocked(s *shard) {
	var oldest uint64
	var at int64
	n := 0
	for hash, c := range s.entries {
		if n == 0 || c.lastNS < at {
			oldest, at = hash, c.lastNS
		}
		if n++; n == 8 {
			break
		}
	}
	delete(s.entries, oldest)
	t.size.Add(-1)
}

// sweep takes out who was last seen before ns.
func (t *table) sweep(beforeNS int64) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for hash, c := range s.entries {
			if c.lastNS < beforeNS {
				delete(s.entries, hash)
				t.size.Add(-1)
			}
		}
		s.mu.Unlock()
	}
}

// hash tells clients apart. It is keyed, so that nobody can choose to collide.
func (t *table) hash(kind bans.Kind, value string) uint64 {
	return maphash.String(t.seed, value) + uint64(kind)*0x9e3779b97f4a7c15
}

func (t *table) hashAddr(a netip.Addr) uint64 {
	b := a.As16()
	if a.Is4() {
		return maphash.Bytes(t.seed, b[:])
	}
	return maphash.Bytes(t.seed, b[:8]) // a /64
}

// targetOf is the ban's target for an address.
func targetOf(a netip.Addr) bans.Target {
	if a.Is4() {
		return bans.Target{Kind: bans.Address, Value: a.String()}
	}
	p, err := a.Prefix(64)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return bans.Target{Kind: bans.Address, Value: p.String()}
}

// sketch counts requests by hash in memory of fixed size. It never counts too
// few, but for requests that end while it is exchanged.
type sketch struct {
	rows [2][1 << 15]atomic.Uint32
}

// add counts one and returns the count.
func (s *sketch) add(hash uint64) uint32 {
	return min(s.rows[0][hash%(1<<15)].Add(1), s.rows[1][hash>>32%(1<<15)].Add(1))
}

func (s *sketch) count(hash uint64) uint32 {
	return min(s.rows[0][hash%(1<<15)].Load(), s.rows[1][hash>>32%(1<<15)].Load())
}

func (s *sketch) clear() {
	for r := range s.rows {
		for i := range s.rows[r] {
			s.rows[r][i].Store(0)
		}
	}
}

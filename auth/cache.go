package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// tokenCache remembers verified tokens, so that a token is verified once and not
// with every request: 40 µs of RSA against a look into a table.
//
// # What a token is known by
//
// By 128 bits: GMAC (NIST SP 800-38D) over the whole token, under a key drawn at
// random for this cache, never shown to anybody. What it must rule out is that
// one token is taken for another, for that would be another tenant's identity.
//
//   - Two tokens of at most L blocks of 16 bytes have the same GMAC under a random
//     key with a probability of at most (L+1)/2^128, whoever chose them and however
//     (GHASH is a polynomial hash; McGrew and Viega, INDOCRYPT 2004). For a full
//     cache of 100,000 and the longest token that is 3e-31 for one try; a
//     million tries a second for a century come to 1e-15. The caller learns only
//     whether a token is accepted, which says nothing about the key until then.
//   - A 64-bit hash/maphash would need the whole token beside it to be sure:
//     1 KB of memory each, holding credentials that can still be used. Two
//     maphashes are fast, but nobody has shown that they fail independently.
//   - SHA-256 is as sure and takes 440 ns for 600 bytes here, against 160.
//
// # How it is laid out
//
// Sets of seven slots, found by 64 bits of the hash; a set fills one cache line,
// the tags of its slots packed into a word (after SwissTable). A reader meets that
// line and the one of the entry, and takes no lock. The only write of a hit is the
// CLOCK bit, and only when it is clear: a token that comes again and again is
// read, never written, on every core. Writers lock one of 64 stripes of sets; they
// come after a signature check and are rare.
//
// Only verified tokens are put in: a flood of bad ones evicts nothing.
type tokenCache struct {
	capacity int64
	mac      cipher.AEAD
	scratch  sync.Pool // of *scratch
	stripes  atomic.Uint32

	generation atomic.Uint64 // entries of a former one are dead
	count      atomic.Int64  // filled slots
	hand       atomic.Uint64 // the set where the next sweep begins
	locks      [64]sync.Mutex

	once sync.Once // makes sets at the first insert: a gateway without tokens pays nothing
	sets atomic.Pointer[[]cacheSet]
}

const (
	ways       = 7
	tagSize    = 16
	maxEntries = 10_000_000
)

// cacheSet fills one cache line of 64 bytes.
type cacheSet struct {
	tags    atomic.Uint64 // byte i is of entries[i]; written under the stripe's lock
	entries [ways]atomic.Pointer[cacheEntry]
}

const (
	lowBits  = 0x0001_0101_0101_0101 // of each byte that is a tag
	highBits = 0x0080_8080_8080_8080
)

// match returns a word whose high bits are set where the tag is, and here and
// there, above such a place, where it is not: each entry has the last word.
func (set *cacheSet) match(tag uint64) uint64 {
	differ := set.tags.Load() ^ tag*lowBits
	return (differ - lowBits) &^ differ & highBits
}

// put fills slot i; a nil entry clears it. The caller holds the stripe's lock.
func (set *cacheSet) put(i int, tag uint64, e *cacheEntry) {
	set.entries[i].Store(e)
	set.tags.Store(set.tags.Load()&^(0xff<<(8*i)) | tag<<(8*i))
}

type cacheEntry struct {
	sum        [tagSize]byte
	until      int64 // Unix seconds: exp and leeway, rounded down
	generation uint64
	key        *publicKey // that verified it
	identity   *Identity
	tally      *tally
	recent     atomic.Bool // looked up since the CLOCK hand passed
}

// live reports whether the entry still stands for its token.
func (e *cacheEntry) live(now int64, generation uint64) bool {
	return now < e.until && e.generation == generation && !e.key.retired.Load()
}

// scratch is what a hash needs beside the stack, and a number that tells
// processors apart (a sync.Pool keeps to each what it put there).
type scratch struct {
	token  []byte
	nonce  [12]byte // always zero: one hash function, not an encryption
	sum    [tagSize]byte
	stripe uint32
}

func newTokenCache(capacity int) *tokenCache {
	var key [16]byte
	rand.Read(key[:]) // never fails: it ends the process instead
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("BUG: AES refuses 16 bytes: " + err.Error())
	}
	c := &tokenCache{capacity: int64(capacity)}
	if c.mac, err = cipher.NewGCM(block); err != nil {
		panic("BUG: GCM refuses AES: " + err.Error())
	}
	c.scratch.New = func() any {
		return &scratch{token: make([]byte, 0, 2<<10), stripe: c.stripes.Add(1)}
	}
	return c
}

// hash writes the token's GMAC to s.sum.
func (c *tokenCache) hash(s *scratch, token string) {
	s.token = append(s.token[:0], token...)
	c.mac.Seal(s.sum[:0], s.nonce[:], nil, s.token)
}

// lookup returns the entry of a hashed token, or nil. now is in Unix seconds.
func (c *tokenCache) lookup(sum *[tagSize]byte, now int64) *cacheEntry {
	sets := c.sets.Load()
	if sets == nil {
		return nil
	}
	index, tag := place(*sets, sum)
	set := &(*sets)[index]
	for found := set.match(tag); found != 0; found &= found - 1 {
		e := set.entries[bits.TrailingZeros64(found)/8].Load()
		if e == nil || e.sum != *sum {
			continue
		}
		if !e.live(now, c.generation.Load()) {
			return nil
		}
		if !e.recent.Load() {
			e.recent.Store(true)
		}
		return e
	}
	return nil
}

// place is where a hash belongs: the index of its set, and its tag there.
//
// GHASH is linear: two tokens that differ in few bits have hashes whose difference
// follows from those bits. That does no harm to its sureness, but single bits of
// it would spread such tokens unevenly; the product of the halves does not.
func place(sets []cacheSet, sum *[tagSize]byte) (index, tag uint64) {
	const odd1, odd2 = 0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03
	high, low := bits.Mul64(binary.LittleEndian.Uint64(sum[:8])^odd1, binary.LittleEndian.Uint64(sum[8:])^odd2)
	mixed := high ^ low
	return mixed & uint64(len(sets)-1), mixed >> 56
}

// insert remembers e; now is in Unix seconds. It may evict another entry, or
// replace an older one of the same token.
func (c *tokenCache) insert(e *cacheEntry, now int64) {
	if !e.live(now, c.generation.Load()) {
		return
	}
	c.once.Do(c.allocate)
	sets := *c.sets.Load()
	if c.count.Load() >= c.capacity {
		c.sweep(sets, now)
	}
	index, tag := place(sets, &e.sum)
	set, lock := &sets[index], &c.locks[index%uint64(len(c.locks))]
	lock.Lock()
	defer lock.Unlock()
	i := c.slotLocked(set, e, now)
	if set.entries[i].Load() == nil {
		c.count.Add(1)
	}
	set.put(i, tag, e)
}

// slotLocked chooses where to put e: over its own former entry, in a free slot,
// over a dead one, or over one that was not looked up lately.
func (c *tokenCache) slotLocked(set *cacheSet, e *cacheEntry, now int64) int {
	free, dead, idle := -1, -1, -1
	generation := c.generation.Load()
	for i := range ways {
		switch held := set.entries[i].Load(); {
		case held == nil:
			free = i
		case held.sum == e.sum:
			return i
		case !held.live(now, generation):
			dead = i
		case !held.recent.Load():
			idle = i
		}
	}
	for _, i := range [...]int{free, dead, idle} {
		if i >= 0 {
			return i
		}
	}
	// All were: from now on they must be looked up again to stay.
	for i := range ways {
		set.entries[i].Load().recent.Store(false)
	}
	return int(c.hand.Add(1) % ways)
}

// sweep moves the CLOCK hand until a slot is free: dead entries go, and those
// not looked up since the hand came by last. It gives up after a bounded walk.
func (c *tokenCache) sweep(sets []cacheSet, now int64) {
	generation := c.generation.Load()
	for range 2*len(sets) + 1 {
		if c.count.Load() < c.capacity {
			return
		}
		index := c.hand.Add(1) & uint64(len(sets)-1)
		set, lock := &sets[index], &c.locks[index%uint64(len(c.locks))]
		lock.Lock()
		for i := range ways {
			e := set.entries[i].Load()
			if e == nil {
				continue
			}
			if e.live(now, generation) && e.recent.Load() {
				e.recent.Store(false)
				continue
			}
			set.put(i, 0, nil)
			c.count.Add(-1)
		}
		lock.Unlock()
	}
}

// allocate makes the table with at least twice as many slots as entries: then no
// more than 1 set in 37 is asked to hold more than it can (Poisson, mean 3.5).
func (c *tokenCache) allocate() {
	n := 1
	for int64(n*ways) < 2*c.capacity {
		n *= 2
	}
	sets := make([]cacheSet, n)
	c.sets.Store(&sets)
}

// flush forgets everything, also what is being verified at this moment.
func (c *tokenCache) flush() { c.generation.Add(1) }

// tally counts hits and misses of one issuer, in stripes so that cores do not
// fight for a cache line.
type tally struct {
	stripes [tallyStripes]struct {
		hits, misses atomic.Uint64
		_            [128 - 16]byte
	}
}

const tallyStripes = 16

func (t *tally) hit(stripe uint32)  { t.stripes[stripe%tallyStripes].hits.Add(1) }
func (t *tally) miss(stripe uint32) { t.stripes[stripe%tallyStripes].misses.Add(1) }

func (t *tally) sums() (hits, misses uint64) {
	for i := range t.stripes {
		hits += t.stripes[i].hits.Load()
		misses += t.stripes[i].misses.Load()
	}
	return hits, misses
}

// cacheUntil is the Unix second from which a token is no longer remembered.
func cacheUntil(expires time.Time, leeway time.Duration) int64 {
	return expires.Add(leeway).Unix()
}

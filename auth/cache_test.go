package auth

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/conf"
	"sluice/internal/issuer"
)

var testTally tally

// entry is a cache entry as Verify makes one, for a token that is not one.
func (c *tokenCache) entry(token string, key *publicKey, until int64) *cacheEntry {
	s := c.scratch.Get().(*scratch)
	defer c.scratch.Put(s)
	c.hash(s, token)
	return &cacheEntry{sum: s.sum, until: until, generation: c.generation.Load(), key: key, identity: &Identity{Tenant: token}, tally: &testTally}
}

func (c *tokenCache) find(token string, now int64) *Identity {
	s := c.scratch.Get().(*scratch)
	defer c.scratch.Put(s)
	c.hash(s, token)
	if e := c.lookup(&s.sum, now); e != nil {
		return e.identity
	}
	return nil
}

func TestARememberedToken_IsVerifiedOnce(t *testing.T) {
	w := newWorld(t, KeyStoreOptions{}, nil)
	token := w.token(t, issuer.Claims{Tenant: "acme"})
	first := w.accept(t, token)
	if second := w.accept(t, strings.Clone(token)); second != first {
		t.Error("the second visit made another identity")
	}
	if st := w.Stats(); st.Cached != 1 || st.Issuers[0].Hits != 1 || st.Issuers[0].Misses != 1 {
		t.Errorf("stats %+v; want 1 remembered, 1 hit, 1 miss", st)
	}
	w.Flush()
	if third := w.accept(t, token); third == first {
		t.Error("Flush forgot nothing")
	}
}

func TestAHit_AllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Log("allocations are not counted: the race detector makes some")
		return
	}
	w := newWorld(t, KeyStoreOptions{}, nil)
	for _, size := range []int{0, 3000} {
		token := w.token(t, issuer.Claims{Tenant: "acme", Extra: map[string]any{"filler": strings.Repeat("x", size)}})
		w.accept(t, token)
		now := time.Now()
		if n := testing.AllocsPerRun(1000, func() {
			if _, err := w.Verify(token, now); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("a hit with a token of %d bytes allocates %v times, want 0", len(token), n)
		}
	}
}

// Invariant 3.
func TestTheCache_NeverOutlivesAToken(t *testing.T) {
	w := newWorld(t, KeyStoreOptions{}, func(c *conf.Issuer) { c.Leeway = conf.Duration(1500 * time.Millisecond) })
	now := time.Now()
	token := w.token(t, issuer.Claims{TTL: time.Minute})
	expires := w.accept(t, token).Expires
	for d := -2 * time.Second; d <= 2*time.Second; d += 100 * time.Millisecond {
		at := expires.Add(d)
		_, err := w.Verify(token, at)
		if want := at.Before(expires.Add(1500 * time.Millisecond)); (err == nil) != want {
			t.Errorf("%v after exp: %v; want accepted: %v", d, err, want)
		}
		if err != nil && Reason(err) != ReasonExpired {
			t.Errorf("%v after exp: reason %s", d, Reason(err))
		}
	}
	if expires.Before(now) {
		t.Fatal("the token had expired from the start")
	}
}

// Invariant 3.
func TestANewConfiguration_KeepsRememberedTokensOnlyWhenNothingChanged(t *testing.T) {
	w := newWorld(t, KeyStoreOptions{}, nil)
	token := w.token(t, issuer.Claims{Tenant: "acme", Extra: map[string]any{"other": "rival"}})
	first := w.accept(t, token)

	same := w.conf
	same.Issuers = append([]conf.Issuer(nil), w.conf.Issuers...)
	same.TenantHeader.Name = "X-Org" // decides nothing about tokens
	next := compile(t, same, w.store, w.Verifier)
	if id, err := next.Verify(token, time.Now()); err != nil || id != first {
		t.Errorf("the same issuers: %+v, %v; want the remembered identity", id, err)
	}
	if st := next.Stats(); st.Issuers[0].Hits != 1 {
		t.Errorf("%d hits after a reload, want 1", st.Issuers[0].Hits)
	}

	changed := w.conf
	changed.Issuers = append([]conf.Issuer(nil), w.conf.Issuers...)
	changed.Issuers[0].TenantClaim = "other"
	next = compile(t, changed, w.store, next)
	if id, err := next.Verify(token, time.Now()); err != nil || id.Tenant != "rival" {
		t.Errorf("another tenant claim: %+v, %v; want tenant rival", id, err)
	}
	if st := next.Stats(); st.Issuers[0].Hits != 1 || st.Issuers[0].Misses != 2 {
		t.Errorf("counts %+v do not go on", st.Issuers[0])
	}

	changed.SuperAdminPermission = "other"
	if next = compile(t, changed, w.store, next); next.Stats().Cached != 0 {
		t.Error("another super admin permission kept the remembered tokens")
	}
	if compile(t, w.conf, NewKeyStore(KeyStoreOptions{}), w.Verifier).cache == w.cache {
		t.Error("another key store kept the remembered tokens")
	}
}

func TestTheCache_IsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	const capacity = 1000
	c := newTokenCache(capacity)
	key := new(publicKey)
	for i := range 100 {
		c.insert(c.entry(fmt.Sprint("good", i), key, 1000), 0)
	}
	kept := 0
	for i := range 50_000 {
		c.insert(c.entry(fmt.Sprint("once", i), key, 1000), 0)
		if i%100 == 0 {
			kept = 0
			for j := range 100 {
				name := fmt.Sprint("good", j)
				if id := c.find(name, 0); id != nil {
					kept++
				} else {
					c.insert(c.entry(name, key, 1000), 0)
				}
			}
		}
	}
	if n := c.count.Load(); n > capacity {
		t.Errorf("%d entries, want at most %d", n, capacity)
	}
	if kept < 95 {
		t.Errorf("%d of 100 used tokens are still remembered, want nearly all", kept)
	}
	filled := int64(0)
	sets := *c.sets.Load()
	for i := range sets {
		for j := range ways {
			if sets[i].entries[j].Load() != nil {
				filled++
			}
		}
	}
	if filled != c.count.Load() {
		t.Errorf("%d slots are filled, %d counted", filled, c.count.Load())
	}
}

func TestTheCache_HoldsAsManyTokensAsItIsFor(t *testing.T) {
	const capacity = 10_000
	c := newTokenCache(capacity)
	key := new(publicKey)
	for i := range capacity {
		c.insert(c.entry(fmt.Sprint(i), key, 1000), 0)
	}
	found := 0
	for i := range capacity {
		if id := c.find(fmt.Sprint(i), 0); id != nil {
			if id.Tenant != fmt.Sprint(i) {
				t.Fatalf("token %d gives %s", i, id.Tenant)
			}
			found++
		}
	}
	if found < capacity*98/100 {
		t.Errorf("%d of %d tokens are remembered", found, capacity)
	}
}

func TestAFullSetOfUsedTokens_MakesRoomForANewOne(t *testing.T) {
	c := newTokenCache(3) // one set of seven slots
	c.once.Do(c.allocate)
	c.capacity = 100 // so that the set is full before the cache is
	key := new(publicKey)
	for i := range 20 {
		name := fmt.Sprint(i)
		c.insert(c.entry(name, key, 1000), 0)
		if c.find(name, 0) == nil {
			t.Errorf("token %s is not remembered", name)
		}
	}
	if len(*c.sets.Load()) != 1 || c.count.Load() != ways {
		t.Errorf("%d sets hold %d tokens, want 1 with %d", len(*c.sets.Load()), c.count.Load(), ways)
	}
}

func TestATinyCache_Works(t *testing.T) {
	for capacity := 1; capacity <= 9; capacity++ {
		c := newTokenCache(capacity)
		for i := range 100 {
			c.insert(c.entry(fmt.Sprint(i), new(publicKey), 1000), 0)
			if c.find(fmt.Sprint(i), 0) == nil {
				t.Errorf("capacity %d: the newest token is not remembered", capacity)
			}
			if n := c.count.Load(); n > int64(capacity) {
				t.Fatalf("capacity %d: %d entries", capacity, n)
			}
		}
	}
}

// Invariant 3.
func TestDeadEntries_AreNotFound(t *testing.T) {
	c := newTokenCache(100)
	key := new(publicKey)
	c.insert(c.entry("a", key, 10), 0)
	if c.find("a", 9) == nil || c.find("a", 10) != nil {
		t.Error("an entry until second 10 must be found in second 9 alone")
	}
	e := c.entry("b", key, 10)
	c.flush()
	c.insert(e, 0) // verified before the flush
	if c.find("a", 0) != nil || c.find("b", 0) != nil {
		t.Error("a flush left something")
	}
	c.insert(c.entry("c", key, 10), 0)
	key.retired.Store(true)
	if c.find("c", 0) != nil {
		t.Error("a retired key left something")
	}
	c.insert(c.entry("d", key, 10), 0)
	if c.find("d", 0) != nil {
		t.Error("a retired key put something in")
	}
}

// Invariant 4.
func TestTheHash_DependsOnEveryByteAndOnTheCache(t *testing.T) {
	c := newTokenCache(1)
	hash := func(c *tokenCache, token string) [tagSize]byte { return c.entry(token, nil, 0).sum }
	token := strings.Repeat("abcdefghijklmnop", 40)
	seen := map[[tagSize]byte]int{hash(c, token): -1}
	for i := range token {
		b := []byte(token)
		b[i] ^= 1
		sum := hash(c, string(b))
		if j, ok := seen[sum]; ok {
			t.Errorf("changes at %d and %d have one hash", i, j)
		}
		seen[sum] = i
	}
	for _, other := range []string{"", token[1:], token[:len(token)-1], token + "a", token + "\x00", token + token} {
		if _, ok := seen[hash(c, other)]; ok {
			t.Errorf("a token of %d bytes has a hash that was there", len(other))
		}
	}
	if hash(c, token) != hash(c, strings.Clone(token)) {
		t.Error("a token has two hashes")
	}
	if hash(c, token) == hash(newTokenCache(1), token) {
		t.Error("two caches have one key")
	}
}

// Invariant 4.
func TestConcurrentUse_MixesNobodyUp(t *testing.T) {
	w := newWorld(t, KeyStoreOptions{Cooldown: time.Millisecond}, nil)
	a := w.conf
	a.CacheTokens = 64 // so that eviction is at work
	v := compile(t, a, w.store, nil)
	tokens := make([]string, 200)
	for i := range tokens {
		tokens[i] = w.token(t, issuer.Claims{Tenant: fmt.Sprint("tenant-", i), Algorithm: issuer.EdDSA})
	}
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 500 {
				n := (i*7 + worker*31) % len(tokens)
				if i%3 == 0 {
					n %= 10
				}
				id, err := v.Verify(tokens[n], time.Now())
				if err != nil || id.Tenant != fmt.Sprint("tenant-", n) {
					t.Errorf("token %d gives %+v, %v", n, id, err)
					return
				}
				if i%100 == 50 {
					v.Flush()
				}
			}
		})
	}
	all.Go(func() {
		for range 5 {
			if err := w.issuer.Rotate(); err != nil { // the former keys stay listed
				t.Error(err)
			}
			v.Verify(w.token(t, issuer.Claims{}), time.Now())
			v.Stats()
			w.store.Export()
		}
	})
	all.Wait()
}

func BenchmarkVerifyHit(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		v, tokens := remembered(b, n)
		now := time.Now()
		b.Run(fmt.Sprintf("tokens=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := v.Verify(tokens[i], now); err != nil {
					b.Fatal(err)
				}
				if i++; i == n {
					i = 0
				}
			}
		})
		b.Run(fmt.Sprintf("tokens=%d/parallel", n), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				var start [8]byte
				rand.Read(start[:])
				i := int(binary.LittleEndian.Uint64(start[:]) % uint64(n))
				for pb.Next() {
					if _, err := v.Verify(tokens[i], now); err != nil {
						b.Fatal(err)
					}
					if i++; i == n {
						i = 0
					}
				}
			})
		})
	}
}

// remembered is a verifier that remembers n tokens of 600 bytes. The texts lie
// one after the other: in a gateway a token was just read from its connection and
// is warm, so only the cache itself should be met cold. No signature is checked,
// for signing 100,000 tokens would take longer than all else.
func remembered(b *testing.B, n int) (*Verifier, []string) {
	const size = 600
	v := compile(b, conf.Auth{CacheTokens: n + n/2}, NewKeyStore(KeyStoreOptions{}), nil)
	letters := make([]byte, n*size)
	rand.Read(letters)
	for i := range letters {
		letters[i] = 'a' + letters[i]%26
	}
	all, key := string(letters), new(publicKey)
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = all[i*size : (i+1)*size]
		v.cache.insert(v.cache.entry(tokens[i], key, time.Now().Unix()+1e6), 0)
	}
	kept := tokens[:0]
	for _, token := range tokens {
		if v.cache.find(token, 0) != nil {
			kept = append(kept, token)
		}
	}
	if len(kept) < n*98/100 {
		b.Fatalf("%d of %d tokens are remembered", len(kept), n)
	}
	for i := len(kept); i < n; i++ {
		kept = append(kept, kept[i%len(kept)])
	}
	return v, kept
}

func BenchmarkVerifyMiss(b *testing.B) {
	w := newWorld(b, KeyStoreOptions{}, nil)
	for _, algorithm := range []string{issuer.RS256, issuer.ES256, issuer.EdDSA} {
		token := w.token(b, issuer.Claims{Tenant: "acme", Tier: "premium", Permissions: []string{"a:b", "c:d"}, Algorithm: algorithm})
		b.Run(algorithm, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.Flush()
				if _, err := w.Verify(token, time.Now()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

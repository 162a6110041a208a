package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
)

// bounded is a map that only grows, up to a limit: a key over the limit gets
// the value that all such keys share. Reading takes no lock: the map is never
// changed but replaced by a copy, which costs O(n) for each of at most limit
// insertions.
type bounded[K comparable, V any] struct {
	limit   int
	make    func(K) *V
	restKey K
	rest    *V               // shared by what is over the limit, and by restKey itself
	over    *metrics.Counter // look-ups that were over the limit

	m  atomic.Pointer[map[K]*V]
	mu sync.Mutex // held while replacing m
}

func newBounded[K comparable, V any](limit int, restKey K, over *metrics.Counter, make func(K) *V) *bounded[K, V] {
	b := &bounded[K, V]{limit: limit, make: make, restKey: restKey, rest: make(restKey), over: over}
	b.m.Store(&map[K]*V{})
	return b
}

func (b *bounded[K, V]) get(k K) *V {
	if v, ok := (*b.m.Load())[k]; ok {
		return v
	}
	return b.insert(k)
}

func (b *bounded[K, V]) insert(k K) *V {
	if k == b.restKey {
		return b.rest // one series, not two of the same name
	}
	// When full, answer without the lock: an attack with many keys must not queue here.
	if len(*b.m.Load()) >= b.limit {
		b.over.Inc()
		return b.rest
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	old := *b.m.Load()
	if v, ok := old[k]; ok {
		return v
	}
	if len(old) >= b.limit {
		b.over.Inc()
		return b.rest
	}
	next := maps.Clone(old)
	v := b.make(k)
	next[k] = v
	b.m.Store(&next)
	return v
}

// all calls f for every value, the shared one included.
func (b *bounded[K, V]) all(f func(*V)) {
	for _, v := range *b.m.Load() {
		f(v)
	}
	f(b.rest)
}

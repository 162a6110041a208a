package detector

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

// maxTenants bounds how many tenants are compared with their past.
const maxTenants = 10000

// tenant counts one tenant's requests and signals within a tick.
type tenant struct {
	requests atomic.Uint32
	signals  [numSignals]atomic.Uint32

	usual     [1 + numSignals]baseline // Run's
	idleTicks int
}

// tenants are found without a lock: maps that are replaced, not changed, and
// small enough, by shards, that replacing one costs little.
type tenants struct {
	mu    sync.Mutex // held while a map is replaced
	maps  [shards]atomic.Pointer[map[string]*tenant]
	known atomic.Int64
}

// get returns the counts of one, nil when there are too many.
func (t *tenants) get(hash uint64, name string) *tenant {
	at := &t.maps[hash%shards]
	if m := at.Load(); m != nil {
		if found := (*m)[name]; found != nil {
			return found
		}
	}
	if t.known.Load() >= maxTenants {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	next := make(map[string]*tenant)
	if m := at.Load(); m != nil {
		if found := (*m)[name]; found != nil {
			return found
		}
		maps.Copy(next, *m)
	}
	made := new(tenant)
	next[strings.Clone(name)] = made
	at.Store(&next)
	t.known.Add(1)
	return made
}

// keep calls f with each tenant and forgets those for which it says false.
func (t *tenants) keep(f func(string, *tenant) bool) {
	for i := range t.maps {
		m := t.maps[i].Load()
		if m == nil {
			continue
		}
		var gone []string
		for name, each := range *m {
			if !f(name, each) {
				gone = append(gone, name)
			}
		}
		if len(gone) == 0 {
			continue
		}
		t.mu.Lock()
		next := maps.Clone(*t.maps[i].Load())
		for _, name := range gone {
			delete(next, name)
		}
		t.maps[i].Store(&next)
		t.mu.Unlock()
		t.known.Add(-int64(len(gone)))
	}
}

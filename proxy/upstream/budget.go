package upstream

import (
	"sync/atomic"
	"time"

	"sluice/conf"
)

const (
	budgetSlots = 10 // of a second each
	// budgetFloor are the retries in the window that are always allowed: a share
	// of few requests would be none.
	budgetFloor = 10
)

// Budget bounds retries to a share of the requests of the last ten seconds, so
// that retries cannot multiply the load on a service that fails because of its
// load. Safe for concurrent use; counts are exact but for requests that cross a
// second's edge on two cores at once.
type Budget struct {
	share atomic.Uint64 // parts of a million
	slots [budgetSlots]budgetSlot
}

type budgetSlot struct {
	second   atomic.Int64
	requests atomic.Int64
	retries  atomic.Int64
}

// slot returns the slot of now, emptied if it is of an earlier round.
func (b *Budget) slot(now time.Time) *budgetSlot {
	second := now.Unix()
	s := &b.slots[uint64(second)%budgetSlots]
	if old := s.second.Load(); old != second && s.second.CompareAndSwap(old, second) {
		s.requests.Store(0)
		s.retries.Store(0)
	}
	return s
}

// Count notes a request: the first try of it. now may be a little old.
func (b *Budget) Count(now time.Time) { b.slot(now).requests.Add(1) }

// Take reports whether a retry may be made, and notes it if so.
func (b *Budget) Take(now time.Time) bool {
	current := b.slot(now)
	var requests, retries int64
	oldest := now.Unix() - budgetSlots
	for i := range b.slots {
		if s := &b.slots[i]; s.second.Load() > oldest {
			requests += s.requests.Load()
			retries += s.retries.Load()
		}
	}
	if allowed := max(budgetFloor, requests*int64(b.share.Load())/1e6); retries >= allowed {
		return false
	}
	current.retries.Add(1)
	return true
}

// set changes the share.
func (b *Budget) set(share conf.Percent) {
	if share <= 0 {
		share = 0.2
	}
	b.share.Store(uint64(float64(share) * 1e6))
}

package limiter

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"sluice/limiter/core"
)

const (
	// addressWays is how many addresses share a set, and so how many may contend
	// for a place: 7 and the header fill a size class of the allocator.
	addressWays = 7
	// addressRuns is how many runs an address's log has. A burst needs one; an
	// address that spends its quota evenly gets about 1 − 0.8/addressRuns of it.
	addressRuns = 8
	// maxVisits bounds the memory of the eviction clock: how many turns of the
	// hand a busy address survives.
	maxVisits = 3
)

// addresses is the table of client addresses: a fixed number of sets of a fixed
// number of ways, each set taken from memory when it is first needed. Anybody can
// make up addresses, so it never grows: within a set the clock hand (GCLOCK:
// Smith, "Sequentiality and prefetching in database systems", 1978) evicts the
// address that has been seen least, and an evicted one starts anew if it
// comes back.
//
// A set has a mutex; two cores meet on it only when they serve addresses of one
// set at the same moment.
type addresses struct {
	sets []atomic.Pointer[addressSet]
	held atomic.Int64

	// closed is set while the addresses are with another process: none is charged.
	closed atomic.Bool
}

type addressSet struct {
	mu   sync.Mutex
	hand uint8
	used uint8 // ways in use, the first ones
	ways [addressWays]address
}

// address is one bucket without pointers: the collector does not look into it.
type address struct {
	key    Key
	full   int64 // burst bucket, as in entry
	unitNS int64 // what a tick of the stamps is; negative for fixed windows
	n      uint8 // runs in use
	visits uint8
	runs   [addressRuns]core.Run
}

func newAddresses(limit int) *addresses {
	return &addresses{sets: make([]atomic.Pointer[addressSet], (limit+addressWays-1)/addressWays)}
}

// set returns the set of k; nil when it has never been needed and make is false.
func (t *addresses) set(k Key, make bool) *addressSet {
	i, _ := bits.Mul64(k[0], uint64(len(t.sets)))
	s := t.sets[i].Load()
	if s == nil && make {
		s = new(addressSet)
		if !t.sets[i].CompareAndSwap(nil, s) {
			s = t.sets[i].Load()
		}
	}
	return s
}

// find returns the way of k, or nil. mu is held.
func (s *addressSet) find(k Key) *address {
	for i := range s.ways[:s.used] {
		if s.ways[i].key == k {
			return &s.ways[i]
		}
	}
	return nil
}

// place returns a way for k, evicting when the set is full. mu is held.
func (s *addressSet) place(k Key) (a *address, evicted bool) {
	if s.used < addressWays {
		a = &s.ways[s.used]
		s.used++
	} else {
		evicted = true
		for {
			a = &s.ways[s.hand]
			s.hand = (s.hand + 1) % addressWays
			if a.visits == 0 {
				break
			}
			a.visits--
		}
	}
	*a = address{key: k}
	return a, evicted
}

// log is the address's log under r at tick. The result must be stored with keep.
func (a *address) log(r *Rule, tick core.Stamp) core.Log {
	log := core.Load(a.runs[:a.n:addressRuns])
	unit := r.unitNS
	if r.fixed {
		unit = -unit
	}
	if a.unitNS != unit {
		// The rule's window has changed: what is used counts as used now.
		log.Restamp(tick + 1)
		a.unitNS = unit
	}
	if runs := log.Runs(); r.fixed && len(runs) > 0 && int32(runs[len(runs)-1].At-(tick+1)) > int32(r.slack()) {
		log.Restamp(tick + 1) // the wall clock was set back by more than a window
	}
	log.Expire(tick, r.limit.Span)
	return log
}

func (a *address) keep(log *core.Log) { a.n = uint8(len(log.Runs())) }

// receipt is what undoing a charge to an address needs.
type receipt struct {
	at         core.Stamp
	fullBefore int64
	fullAfter  int64
}

// charge takes c from k under r, or nothing, and fills q. When take is false it
// only looks whether c would fit. When the table is closed it takes nothing and
// leaves q without a limit.
func (t *addresses) charge(r *Rule, k Key, now Instant, c int64, take bool, q *Quota) (rc receipt, ok, evicted bool) {
	s := t.set(k, take)
	tick, phase := r.at(now)
	if s == nil {
		r.untouched(q)
		return rc, true, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if take && t.closed.Load() { // looked at under mu: see Handover.Export
		*q = Quota{}
		return rc, false, false
	}
	a := s.find(k)
	if a == nil {
		if !take {
			r.untouched(q)
			return rc, true, false
		}
		if a, evicted = s.place(k); !evicted {
			t.held.Add(1)
		}
	} else if a.visits < maxVisits {
		a.visits++
	}
	log := a.log(r, tick)
	account := core.Account{Log: log}
	wait := r.burstWait(a.full, now, c, q)
	if lack := c - account.Pool(r.limit); lack > 0 {
		q.Wait, q.BurstRefused = max(wait, r.quotaWait(&account, c, tick, phase)), false
	} else {
		q.Wait, q.BurstRefused = wait, wait > 0
	}
	if ok = q.Wait == 0; ok && take {
		rc.at, _ = account.Spend(r.limit, tick+1, c, addressRuns)
		rc.fullBefore = a.full
		if r.intervalNS > 0 {
			a.full, _ = core.Burst(a.full, now.MonoNS, r.intervalNS, r.toleranceNS, c)
			q.BurstRemaining = core.BurstLeft(a.full, now.MonoNS, r.intervalNS, r.toleranceNS)
		}
		rc.fullAfter = a.full
	}
	a.keep(&account.Log)
	q.Limit = r.limit.Rights
	q.Remaining = max(0, account.Pool(r.limit))
	q.ResetAfter = 0
	if oldest, some := account.Log.Oldest(); some {
		q.ResetAfter = r.until(oldest, tick, phase)
	}
	return rc, ok, evicted
}

// refund takes back a charge that rc came from.
func (t *addresses) refund(k Key, c int64, rc receipt) {
	s := t.set(k, false)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(k)
	if a == nil {
		return // evicted meanwhile
	}
	log := core.Load(a.runs[:a.n:addressRuns])
	log.Remove(rc.at, uint32(c))
	a.keep(&log)
	if a.full == rc.fullAfter {
		a.full = rc.fullBefore
	}
}

// quotaWait is the time until c fits an account that has too little for it.
func (r *Rule) quotaWait(a *core.Account, c int64, tick core.Stamp, phaseNS int64) time.Duration {
	if c > r.limit.Rights {
		return r.window // it never will
	}
	if at, ok := a.Fits(r.limit, c); ok {
		return max(1, r.until(at, tick, phaseNS))
	}
	return max(1, r.until(tick+1-r.limit.Span, tick, phaseNS))
}

// burstWait is the time until the burst bucket that is full again at full takes
// c; 0: now. It also notes the burst's numbers in q.
func (r *Rule) burstWait(full int64, now Instant, c int64, q *Quota) time.Duration {
	q.BurstLimit = r.burst
	if r.intervalNS == 0 {
		q.BurstRemaining = 0
		return 0
	}
	q.BurstRemaining = core.BurstLeft(full, now.MonoNS, r.intervalNS, r.toleranceNS)
	if c > r.burst {
		return time.Duration(r.toleranceNS) // it never fits
	}
	_, wait := core.Burst(full, now.MonoNS, r.intervalNS, r.toleranceNS, c)
	return time.Duration(wait)
}

// untouched fills q for a bucket that does not exist.
func (r *Rule) untouched(q *Quota) {
	*q = Quota{
		Limit: r.limit.Rights, Remaining: r.limit.Rights,
		BurstLimit: r.burst, BurstRemaining: r.burst,
	}
}

// has reports whether k has a place.
func (t *addresses) has(k Key) bool {
	s := t.set(k, false)
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(k) != nil
}

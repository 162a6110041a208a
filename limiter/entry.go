package limiter

import (
	"sync"
	"sync/atomic"
	"time"

	"sluice/limiter/core"
)

// The hot word of an entry, changed only by compare-and-swap:
//
//	tokens (22 bits) | pending (18 bits) | tick (24 bits)
//
// tokens are rights in hand; pending are rights spent during tick that are not
// yet in the log. Spending is one swap of the word. A spender whose tick is
// later than the word's first moves pending into the log, under the mutex.
const (
	tickBits     = 24
	pendingBits  = 18
	pendingShift = tickBits
	tokenShift   = tickBits + pendingBits

	tickMask   = 1<<tickBits - 1
	maxPending = 1<<pendingBits - 1
	maxTokens  = 1<<(64-tokenShift) - 1

	// maxHotCost is the largest cost that goes through the hot word; a dearer
	// charge is booked under the mutex.
	maxHotCost = maxPending / 2
)

func tokensIn(w uint64) int64  { return int64(w >> tokenShift) }
func pendingIn(w uint64) int64 { return int64(w >> pendingShift & maxPending) }

// tickIn widens the word's tick to the stamp nearest to the present.
func tickIn(w uint64, present core.Stamp) core.Stamp {
	return present + core.Stamp(int32(uint32(w)<<(32-tickBits)-uint32(present)<<(32-tickBits))>>(32-tickBits))
}

func wordOf(tokens, pending int64, tick core.Stamp) uint64 {
	return uint64(tokens)<<tokenShift | uint64(pending)<<pendingShift | uint64(tick)&tickMask
}

// entry is one bucket of the key table: what this node holds of the key's rights,
// and the account of those that it owns: all of them on a lone node; in a cluster none,
// unless it is cut off and has an allowance (fleet.allowance). There far comes to it.
//
// Invariant: account.Held, and far.account.Held beside it, are tokens + pending +
// what requests have reserved and neither committed nor put back (+ what far keeps
// outside the word, + what kept is still writing to disk). With each account's own
// U + H + P = L no request can be admitted beyond the limit.
//
// The first 64 bytes are all that a green or red decision touches. hot, seen,
// full and deny are atomic; the account is guarded by mu. An entry whose rule is
// nil has been dropped from the table and is never used again.
type entry struct {
	hot  atomic.Uint64
	key  Key
	rule atomic.Pointer[Rule] // under which the numbers below were made
	seen atomic.Uint64        // pool (int32) and oldest stamp (0: log empty) when mu was last held
	full atomic.Int64         // when the burst bucket will be full again, MonoNS
	deny atomic.Uint64        // stamp until which, and cost from which, nothing fits; 0: no mark
	mu   sync.Mutex

	account core.Account
	fleet   *fleet      // nil: the authority is in this process
	far     *far        // nil: the authority has not been asked
	kept    *kept       // nil: nothing of it is on disk; never with fleet
	inline  [3]core.Run // the log's first storage
}

// limit is what the entry's account is held to: r's limit, or in a cluster the part
// of it that this node may spend on its own.
func (e *entry) limit(r *Rule, now Instant) core.Limit {
	if e.fleet == nil {
		return r.limit
	}
	return core.Limit{Rights: e.fleet.allowance(r, now), Span: r.limit.Span}
}

// used moves n rights that were spent at or before at from held to used: of the
// node's own first, since those come back to it alone. mu is held.
func (e *entry) used(at core.Stamp, n int64) {
	own := min(n, e.account.Held)
	e.account.Settle(at, own, core.MaxRuns)
	if e.kept != nil {
		e.kept.fresh += own
	}
	if n > own {
		e.far.account.Settle(at, n-own, core.MaxRuns)
	}
}

// init makes a fresh entry the empty bucket of k.
func (e *entry) init(k Key, r *Rule, tick core.Stamp) {
	e.key = k
	e.account.Log = core.Over(e.inline[:])
	e.hot.Store(wordOf(0, 0, tick))
	e.rule.Store(r)
	e.note(r)
}

// note publishes the pool and the oldest stamp for readers without the mutex.
func (e *entry) note(r *Rule) {
	if e.fleet != nil {
		e.noteFar(r)
		return
	}
	oldest, ok := e.account.Log.Oldest()
	if ok && oldest == 0 {
		oldest = 1 // 0 means none
	}
	e.seen.Store(uint64(uint32(int32(e.account.Pool(r.limit)+e.coming())))<<32 | uint64(oldest))
}

// spend takes c rights without the mutex: the green path. When commit is false
// they are reserved: the caller must commit or put them back. It returns the word
// that it left, or false when the mutex is needed.
func (e *entry) spend(r *Rule, tick core.Stamp, c int64, commit bool) (uint64, bool) {
	delta := uint64(c) << tokenShift
	if commit {
		delta -= uint64(c) << pendingShift
	}
	for {
		w := e.hot.Load()
		if tokensIn(w) < c || e.rule.Load() != r || uint32(w)&tickMask != uint32(tick)&tickMask ||
			pendingIn(w)+c > maxPending {
			return 0, false
		}
		if e.hot.CompareAndSwap(w, w-delta) {
			return w - delta, true
		}
	}
}

// verdict is the authority's answer.
type verdict uint8

const (
	taken    verdict = iota
	refused          // not enough rights
	vanished         // the entry was dropped: look the key up again
)

// take is spend with the mutex: it brings the account up to date, asks it for
// rights when those in hand do not do, and marks the key when there are none.
// granted tells whether the account had to be asked.
func (e *entry) take(r *Rule, now Instant, c int64, commit bool) (w uint64, granted bool, v verdict) {
	if e.fleet != nil {
		return e.takeFar(r, now, c, commit)
	}
	if e.kept != nil {
		return e.takeKept(r, now, c, commit)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rule.Load() == nil {
		return 0, false, vanished
	}
	tick := e.refresh(r, now)
	defer e.note(r)
	if c > maxHotCost {
		return e.takeDear(r, tick, c, commit)
	}
	inHand := int64(0) // granted, but not yet in the word
	for {
		w = e.hot.Load()
		have := tokensIn(w) + inHand
		if have < c {
			pool := e.account.Pool(r.limit)
			if have+pool < c {
				e.account.Return(inHand)
				e.mark(r, tick, c)
				return w, true, refused
			}
			g := e.account.Grant(r.limit, c-have, 1)
			if over := have + g - c - maxTokens; over > 0 {
				e.account.Return(over)
				g -= over
			}
			inHand += g
			have += g
			granted = true
		}
		if pendingIn(w)+c > maxPending {
			e.roll(r, tick)
			continue
		}
		next := wordOf(have-c, pendingIn(w), tickIn(w, tick))
		if commit {
			next += uint64(c) << pendingShift
		}
		if e.hot.CompareAndSwap(w, next) {
			return next, granted, taken
		}
	}
}

// takeDear takes a cost that is too large for the hot word: all rights in hand go
// back to the pool, and the charge is booked in the account. mu is held.
func (e *entry) takeDear(r *Rule, tick core.Stamp, c int64, commit bool) (w uint64, granted bool, v verdict) {
	e.recall(maxTokens)
	if e.account.Pool(r.limit) < c {
		e.mark(r, tick, c)
		return e.hot.Load(), true, refused
	}
	e.account.Held += c
	if commit {
		e.used(tick+1, c)
	}
	return e.hot.Load(), true, taken
}

// commit spends c reserved rights.
func (e *entry) commit(r *Rule, now Instant, c int64) {
	tick, _ := r.at(now)
	for c <= maxHotCost {
		w := e.hot.Load()
		if e.rule.Load() != r || uint32(w)&tickMask != uint32(tick)&tickMask || pendingIn(w)+c > maxPending {
			break
		}
		if e.hot.CompareAndSwap(w, w+uint64(c)<<pendingShift) {
			return
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	// Reserved rights keep an entry in the table, so its rule is not nil.
	tick = e.refresh(e.rule.Load(), now)
	e.used(tick+1, c)
	e.note(e.rule.Load())
}

// putBack returns c reserved rights unspent.
func (e *entry) putBack(c int64) {
	for c <= maxHotCost {
		w := e.hot.Load()
		if tokensIn(w)+c > maxTokens {
			break
		}
		if e.hot.CompareAndSwap(w, w+uint64(c)<<tokenShift) {
			return
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.far != nil {
		e.far.frozen += c
		return
	}
	e.account.Return(c)
	e.note(e.rule.Load())
}

// refresh brings the account to the present under r and returns the bucket's
// present tick, which is never earlier than a tick it had before (except when a
// wall clock was set back by more than a fixed window). mu is held; e is alive.
func (e *entry) refresh(r *Rule, now Instant) core.Stamp {
	if old := e.rule.Load(); old != r {
		e.adopt(old, r, now)
	}
	if e.fleet != nil {
		return e.refreshFar(r, now)
	}
	present, _ := r.at(now)
	tick := e.roll(r, present)
	e.kept.harvest(e)
	e.account.Expire(tick, r.limit)
	if p := e.account.Pool(r.limit); p < 0 {
		e.recall(-p)
	}
	if d := e.deny.Load(); d != 0 && !tick.Before(core.Stamp(d>>32)) {
		e.deny.Store(0) // or it would hold again once stamps have wrapped
	}
	return tick
}

// roll moves the pending uses into the log (held to used) and the word to the
// present, and returns the bucket's tick. mu is held.
func (e *entry) roll(r *Rule, present core.Stamp) core.Stamp {
	for {
		w := e.hot.Load()
		tick, spent := present, tickIn(w, present)
		stepped := false
		if ahead := spent - present; present.Before(spent) {
			if stepped = ahead > r.slack(); stepped {
				spent = present
			} else {
				tick = spent
			}
		}
		if !e.hot.CompareAndSwap(w, wordOf(tokensIn(w), 0, tick)) {
			continue
		}
		if stepped && r.fixed {
			// The wall clock was set back over a whole window. What is used stays
			// used, in the window that the clock shows now.
			e.account.Log.Restamp(present + 1)
			if e.far != nil {
				e.far.account.Log.Restamp(present + 1)
			}
			e.kept.recast()
		}
		if n := pendingIn(w); n > 0 {
			// A use during a tick happened before the tick ended.
			e.used(spent+1, n)
		}
		return tick
	}
}

// adopt makes r the entry's rule: what is used stays used. mu is held.
func (e *entry) adopt(old, r *Rule, now Instant) {
	// From here on spenders with the old rule need the mutex; one that read the
	// rule before this line still finds a word to swap, whose pending are rolled
	// here, or finds it changed.
	e.rule.Store(r)
	e.deny.Store(0)
	if e.far != nil {
		e.far.waitNS = 0 // the authority may have room by the new limit
		if r.limit.Rights < old.limit.Rights || r.window > old.window {
			// What is in hand was granted by the former limit, and may be more than all
			// that the new one allows.
			e.far.freeze()
			e.far.ask()
		}
	}
	if old.sameTicks(r) {
		return
	}
	e.kept.recast()
	before, _ := old.at(now)
	after, _ := r.at(now)
	before = e.roll(old, before)
	e.account.Expire(before, old.limit)
	if e.far != nil {
		e.far.account.Log.Restamp(after + 1)
	}
	switch {
	case old.fixed || r.fixed:
		e.account.Log.Restamp(after + 1)
	default:
		e.account.Log.Rescale(before, after, old.unitNS, r.unitNS)
	}
	for {
		w := e.hot.Load()
		if e.hot.CompareAndSwap(w, wordOf(tokensIn(w), pendingIn(w), after)) {
			return
		}
	}
}

// recall moves up to n rights in hand back to the pool. mu is held.
func (e *entry) recall(n int64) {
	for {
		w := e.hot.Load()
		k := min(n, tokensIn(w))
		if k == 0 {
			return
		}
		if e.hot.CompareAndSwap(w, w-uint64(k)<<tokenShift) {
			e.account.Return(k)
			return
		}
	}
}

// mark notes that c does not fit before a certain stamp. While requests have
// reserved rights that they may put back, nothing is certain. mu is held.
func (e *entry) mark(r *Rule, tick core.Stamp, c int64) {
	e.roll(r, tick) // so that every spent right is in the log
	w := e.hot.Load()
	if e.account.Held != tokensIn(w)+pendingIn(w) {
		return
	}
	at, ok := e.account.Fits(r.limit, c-tokensIn(w))
	switch {
	case c > r.limit.Rights:
		at = tick + 1 // not before the present leaves the window, and then the same again
	case !ok:
		return
	}
	e.deny.Store(uint64(at+r.limit.Span)<<32 | uint64(min(c, 1<<32-1)))
}

// red returns the time for which c is known not to fit under r; 0 when it is not
// known.
func (e *entry) red(r *Rule, tick core.Stamp, phaseNS, c int64) time.Duration {
	d := e.deny.Load()
	if d == 0 || uint64(c) < d&(1<<32-1) || e.rule.Load() != r {
		return 0
	}
	until := core.Stamp(d >> 32)
	if until-tick-1 > r.limit.Span+r.slack() {
		return 0 // over, or from before the wall clock was set back
	}
	return r.until(until-r.limit.Span, tick, phaseNS)
}

// retire drops the entry when nothing in it is used, held by a request or marked:
// a bucket that is made anew later is the same. It reports whether it did; the
// caller then takes it out of the table.
func (e *entry) retire(now Instant) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.rule.Load()
	if r == nil {
		return false
	}
	tick := e.refresh(r, now)
	defer e.note(r)
	e.kept.tidy(e, r, tick)
	if e.far != nil && !e.idleFar() {
		return false
	}
	if e.account.Log.Used() == 0 && cap(e.account.Log.Runs()) > len(e.inline) {
		e.account.Log = core.Over(e.inline[:])
	}
	w := e.hot.Load()
	if e.account.Log.Used() != 0 || pendingIn(w) != 0 || e.account.Held != tokensIn(w) || e.full.Load() > now.MonoNS {
		return false
	}
	if !e.hot.CompareAndSwap(w, 0) {
		return false // somebody just spent
	}
	e.account.Return(tokensIn(w))
	e.rule.Store(nil)
	return true
}

package limiter

import (
	"sync"
	"time"

	"sluice/limiter/core"
	"sluice/limiter/lease"
)

// far is the part of an entry whose authority is elsewhere: what is known of the
// authority, and the requests that wait for its answer. It is guarded by the entry's
// mu, and once made it stays.
//
// Rights of the allowance and of the authority are alike while they are in the word or
// reserved; how many of each there are is in the Held of two accounts. When rights
// are spent it is the allowance's that count as spent first.
type far struct {
	drillFar
	e     *entry
	fleet *fleet

	// account is what the authority has granted: Held is what this node holds of it,
	// the Log the uses that the books (lease.Node) have not taken over yet. Its pool
	// means nothing: pool is the authority's, as last heard.
	account core.Account

	life   uint32 // of the rights in the word
	frozen int64  // rights that may not be spent, and go back
	spare  int64  // rights in hand beyond what the word holds
	bound  bool   // the fleet keeps books of the key
	asked  bool   // and will answer

	pool    int64
	resetNS int64 // when a used right comes back, MonoNS; 0: none is used
	low     int64 // with so few in hand, more are asked for
	quietNS int64 // when rights were last spent or wanted
	waitNS  int64 // until when there is no use in asking

	first, last *waiter
	waiting     int
	lacking     int64 // the sum of the waiters' costs
}

// waiter is a request that waits for rights.
type waiter struct {
	cost   int64
	next   *waiter
	queued bool
	served chan bool // whether the rights are reserved for it
	timer  *time.Timer
}

const (
	maxWaiters  = 1024
	waitBudget  = 5 * time.Millisecond
	retryMarked = 250 * time.Millisecond // how long one holds while the authority is away
	strayMarked = 500 * time.Millisecond // how long a refusal holds while others hold rights
)

var waiters = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &waiter{served: make(chan bool, 1), timer: t}
}}

// refreshFar is refresh for an entry of a cluster. mu is held; e is alive.
func (e *entry) refreshFar(r *Rule, now Instant) core.Stamp {
	f := e.far
	present, _ := r.at(now)
	spent := pendingIn(e.hot.Load()) > 0
	tick := e.roll(r, present)
	own := e.limit(r, now)
	e.account.Expire(tick, own)
	if p := e.account.Pool(own); p < 0 {
		e.recall(min(-p, e.account.Held))
	}
	if d := e.deny.Load(); d != 0 && !tick.Before(core.Stamp(d>>32)) {
		e.deny.Store(0)
	}
	if f == nil {
		return tick
	}
	if spent {
		f.quietNS = now.MonoNS
	}
	if life := f.fleet.life.Load(); f.life != life || f.fleet.fenced(now) {
		f.freeze()
		f.life = life
	}
	if tokensIn(e.hot.Load()) <= maxTokens/2 {
		f.refill()
	}
	if !f.asked && f.low > 0 && f.spare == 0 && tokensIn(e.hot.Load()) <= f.low && now.MonoNS >= f.waitNS && e.account.Pool(own) <= 0 {
		f.ask()
	}
	return tick
}

// draw moves rights of the allowance that are free into the word, and reports whether
// there were any. mu is held.
func (e *entry) draw(r *Rule, now Instant) bool {
	p := e.account.Pool(e.limit(r, now))
	for p > 0 {
		w := e.hot.Load()
		k := min(p, maxTokens-tokensIn(w))
		if k == 0 {
			break
		}
		if e.hot.CompareAndSwap(w, w+uint64(k)<<tokenShift) {
			e.account.Held += k
			return true
		}
	}
	return false
}

// freeze takes the rights in hand out of the word: those of the allowance go back to it,
// the others to their authority. mu is held.
func (f *far) freeze() {
	n := f.e.withdraw(maxTokens) + f.spare
	own := min(n, f.e.account.Held)
	f.e.account.Return(own)
	f.frozen += n - own
	f.low, f.spare = 0, 0
}

// refill moves spare rights into the word. mu is held.
func (f *far) refill() {
	for f.spare > 0 {
		w := f.e.hot.Load()
		k := min(f.spare, maxTokens-tokensIn(w))
		if f.e.hot.CompareAndSwap(w, w+uint64(k)<<tokenShift) {
			f.spare -= k
			return
		}
	}
}

// withdraw takes up to n unspent rights out of the word. mu is held.
func (e *entry) withdraw(n int64) int64 {
	for {
		w := e.hot.Load()
		k := min(n, tokensIn(w))
		if e.hot.CompareAndSwap(w, w-uint64(k)<<tokenShift) {
			return k
		}
	}
}

// ask tells the fleet that rights are lacking or will be. mu is held.
func (f *far) ask() {
	if !f.asked {
		f.asked, f.bound = true, true
		f.fleet.ask(f.e)
	}
}

// takeFar is take for an entry of a cluster: when neither the rights in hand nor an
// allowance do, it waits a little for the authority.
func (e *entry) takeFar(r *Rule, now Instant, c int64, commit bool) (w uint64, granted bool, v verdict) {
	e.mu.Lock()
	if e.rule.Load() == nil {
		e.mu.Unlock()
		return 0, false, vanished
	}
	tick := e.refresh(r, now)
	for c <= maxHotCost {
		if w = e.hot.Load(); tokensIn(w) < c {
			if e.draw(r, now) {
				continue
			}
			if e.far == nil || e.far.spare < c {
				break
			}
			e.far.refill()
			continue
		}
		if pendingIn(w)+c > maxPending {
			e.roll(r, tick)
			continue
		}
		next := w - uint64(c)<<tokenShift
		if commit {
			next += uint64(c) << pendingShift
		}
		if e.hot.CompareAndSwap(w, next) {
			e.note(r)
			e.mu.Unlock()
			return next, false, taken
		}
	}
	if c <= r.limit.Rights && e.far == nil {
		e.far = &far{e: e, fleet: e.fleet, life: e.fleet.life.Load(), quietNS: now.MonoNS}
	}
	f := e.far
	if f == nil || now.MonoNS < f.waitNS || f.waiting >= maxWaiters || c > r.limit.Rights {
		e.note(r)
		w = e.hot.Load()
		e.mu.Unlock()
		return w, true, refused
	}
	x := waiters.Get().(*waiter)
	x.cost, x.next, x.queued = c, nil, true
	if f.last == nil {
		f.first = x
	} else {
		f.last.next = x
	}
	f.last = x
	f.waiting++
	f.lacking += c
	f.quietNS = now.MonoNS
	f.ask()
	e.mu.Unlock()

	began := time.Now()
	defer func() { f.fleet.o.Waited(time.Since(began)) }()
	x.timer.Reset(f.fleet.budget)
	served := false
	select {
	case served = <-x.served:
		x.timer.Stop()
	case <-x.timer.C:
		e.mu.Lock()
		if x.queued {
			f.unqueue(x)
		} else {
			served = <-x.served // was answered just now
		}
		e.mu.Unlock()
	}
	waiters.Put(x)
	if !served {
		return e.hot.Load(), true, refused
	}
	if commit {
		e.commit(r, now, c)
	}
	return e.hot.Load(), true, taken
}

// unqueue takes a waiter out of the middle. mu is held.
func (f *far) unqueue(x *waiter) {
	var before *waiter
	for y := f.first; y != x; y = y.next {
		before = y
	}
	if before == nil {
		f.first = x.next
	} else {
		before.next = x.next
	}
	if f.last == x {
		f.last = before
	}
	x.queued = false
	f.waiting--
	f.lacking -= x.cost
}

// The methods of lease.Purse. They are called by the fleet's goroutine.

// Limit implements lease.Purse.
func (f *far) Limit() lease.Limit {
	r := f.e.rule.Load()
	if r == nil {
		r = f.fleet.gone
	}
	return lease.Limit{Rights: r.limit.Rights, Window: r.window, Fixed: r.fixed, Version: r.revision}
}

// Spent implements lease.Purse.
func (f *far) Spent(now lease.Instant, use func(at core.Stamp, n int64)) {
	e := f.e
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.rule.Load()
	if r == nil {
		return
	}
	if f.account.Log.Used() == 0 && pendingIn(e.hot.Load()) == 0 {
		return
	}
	here := f.fleet.l.clock()
	e.refresh(r, here)
	present, phase := r.at(here)
	limit := f.Limit()
	tick := int64(limit.Tick())
	for _, run := range f.account.Log.Runs() {
		// The end of the run's tick is so long ago; it has not come yet for the present one.
		ago := max(0, int64(int32(present-run.At))*r.unitNS+phase)
		at, n := core.Stamp((now.MonoNS-ago)/tick+1), int64(run.N)
		if drill {
			at, n = f.drillSpent(at, n)
		}
		use(at, n)
	}
	f.account.Log.Clear()
}

// Lack implements lease.Purse.
func (f *far) Lack() int64 {
	e := f.e
	e.mu.Lock()
	defer e.mu.Unlock()
	tokens := tokensIn(e.hot.Load()) + f.spare
	switch {
	case f.lacking > tokens:
		return f.lacking - tokens
	case f.lacking > 0 || f.low > 0 && tokens <= f.low:
		return 0
	}
	return core.ReportOnly
}

// Tokens implements lease.Purse.
func (f *far) Tokens() int64 {
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	return min(f.account.Held, tokensIn(f.e.hot.Load())+f.frozen+f.spare)
}

// Withdraw implements lease.Purse.
func (f *far) Withdraw(n int64) int64 {
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	if drill {
		n = f.drillWithdraw(n)
	}
	n = min(n, f.account.Held) // of the authority's alone
	k := min(n, f.frozen)
	f.frozen -= k
	spare := min(n-k, f.spare)
	f.spare -= spare
	k += spare
	k += f.e.withdraw(n - k)
	if drill {
		f.drillWithdrawn(k)
	}
	f.low = 0 // what was given back is not to be asked for again
	f.account.Return(k)
	return k
}

// Deposit implements lease.Purse.
func (f *far) Deposit(n int64) {
	e := f.e
	e.mu.Lock()
	defer e.mu.Unlock()
	f.account.Held += n
	if f.life != f.fleet.life.Load() {
		f.frozen += n
		return
	}
	f.spare += n // the next request finds it
	e.deny.Store(0)
	f.waitNS = 0
}

// Quiet implements lease.Purse.
func (f *far) Quiet(lease.Instant) time.Duration {
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	return time.Duration(f.fleet.l.clock().MonoNS - f.quietNS)
}

// Release implements lease.Purse.
func (f *far) Release() bool {
	e := f.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if f.asked || f.waiting > 0 || f.account.Held != 0 || f.account.Log.Used() != 0 {
		return false
	}
	f.bound = false
	return true
}

// Answer implements lease.Purse.
func (f *far) Answer(_ lease.Instant, a lease.Answer) {
	e := f.e
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.rule.Load()
	if r == nil {
		return // nothing was granted: a bound entry is not dropped
	}
	if f.asked = a.Outcome == lease.Recalling; a.Outcome == lease.Enough {
		return
	}
	now := f.fleet.l.clock()
	// What the waiters spend they spend now, not when they came.
	present, _ := r.at(now)
	e.roll(r, present)
	f.account.Held += a.Granted
	if life := f.fleet.life.Load(); life != f.life {
		f.freeze()
		f.life = life
	}
	if a.Outcome <= lease.Recalling {
		f.pool, f.resetNS = a.Pool, 0
		if a.Reset > 0 {
			f.resetNS = now.MonoNS + int64(a.Reset)
		}
		if a.Granted > 0 || a.Outcome != lease.Recalling {
			f.low = min(a.Granted, maxTokens) / 4
		}
		if a.Outcome == lease.Exhausted {
			f.low = 0
		}
	}
	rights := a.Granted + f.spare
	f.spare = 0
	refuses := a.Outcome != lease.Served && a.Outcome != lease.Recalling
	least := f.serve(&rights, refuses)
	f.spare = rights
	f.refill()
	if refuses {
		f.mark(r, now, a, least)
	}
	e.note(r)
	if f.waiting > 0 {
		f.ask() // they came while this answer was under way
	}
}

// serve reserves rights for the waiters, first come, first served, from rights and
// from the word. When all is true those that do not fit are refused; the least
// cost that was is returned. mu is held.
func (f *far) serve(rights *int64, all bool) (least int64) {
	for x := f.first; x != nil; {
		next := x.next
		fits := true
		if lack := x.cost - *rights; lack > 0 {
			if got := f.e.withdraw(lack); got < lack {
				*rights += got
				fits = false
			} else {
				*rights += got
			}
		}
		switch {
		case fits:
			*rights -= x.cost
		case all:
			if least == 0 || x.cost < least {
				least = x.cost
			}
		default:
			return 0 // those behind wait their turn
		}
		f.unqueue(x)
		x.served <- fits
		x = next
	}
	return least
}

// mark notes for how long asking is of no use. mu is held.
func (f *far) mark(r *Rule, now Instant, a lease.Answer, least int64) {
	wait := a.Wait
	if a.Outcome == lease.Exhausted {
		if a.Reset > 0 && (wait == 0 || a.Reset < wait) && least <= 1 {
			wait = a.Reset
		}
		if wait == 0 || a.Stray && a.Recall < wait {
			wait = min(max(a.Recall, 10*time.Millisecond), strayMarked)
		}
	}
	if a.Outcome > lease.Exhausted {
		wait = retryMarked // it may be over sooner than was said
	}
	f.waitNS = now.MonoNS + int64(wait)
	if r.fixed || least == 0 {
		return // nobody was refused; or a window is too coarse for a mark
	}
	tick, phase := r.at(now)
	if own := f.e.ownWait(r, now, tick, phase, max(1, least)); own > 0 {
		wait = min(wait, own)
	}
	until := tick + core.Stamp((int64(wait)+r.unitNS-1)/r.unitNS)
	f.e.deny.Store(uint64(until)<<32 | uint64(min(max(1, least), 1<<32-1)))
}

// ownWait is the time until time alone has freed n rights of the allowance; 0: never.
// mu is held.
func (e *entry) ownWait(r *Rule, now Instant, tick core.Stamp, phaseNS, n int64) time.Duration {
	if at, ok := e.account.Fits(e.limit(r, now), n); ok {
		return max(1, r.until(at, tick, phaseNS))
	}
	return 0
}

// beyond is how many rights there may be for this node outside of the word: as far
// as is known here. mu is held.
func (e *entry) beyond(r *Rule) int64 {
	if f := e.far; f != nil && f.bound {
		return f.pool + f.spare
	}
	return r.limit.Rights - tokensIn(e.hot.Load())
}

// noteFar publishes what is known of the pool. mu is held.
func (e *entry) noteFar(r *Rule) {
	oldest, some := e.account.Log.Oldest()
	if f := e.far; f != nil && f.resetNS != 0 {
		var at core.Stamp
		if r.fixed {
			tick, _ := r.at(e.fleet.l.clock())
			at = tick + 1
		} else {
			tick, _ := r.at(Instant{MonoNS: f.resetNS})
			at = tick - r.limit.Span
		}
		if !some || at.Before(oldest) {
			oldest, some = at, true
		}
	}
	if some && oldest == 0 {
		oldest = 1 // 0 means none
	}
	e.seen.Store(uint64(uint32(int32(min(e.beyond(r), MaxRequests))))<<32 | uint64(oldest))
}

// lookFar is the far part of look. mu is held.
func (e *entry) lookFar(r *Rule, now Instant, cost int64, burst time.Duration, q *Quota) {
	tokens := tokensIn(e.hot.Load())
	q.Remaining = min(tokens+e.beyond(r), r.limit.Rights)
	q.ResetAfter = e.resetFar(r, now)
	q.Wait, q.BurstRefused = burst, burst > 0
	if tokens >= cost || e.account.Pool(e.limit(r, now))+tokens >= cost {
		return
	}
	wait := time.Duration(0)
	if e.far != nil {
		wait = time.Duration(e.far.waitNS - now.MonoNS)
	}
	switch {
	case cost > r.limit.Rights:
		wait = r.window
	case wait <= 0:
		wait = waitBudget // the authority did not answer in time
	}
	tick, phase := r.at(now)
	if own := e.ownWait(r, now, tick, phase, cost-tokens); own > 0 {
		wait = min(wait, own)
	}
	q.Wait, q.BurstRefused = max(burst, wait), false
	q.Remaining = min(q.Remaining, max(0, cost-1))
}

// resetFar is the time until some used right comes back. mu is held.
func (e *entry) resetFar(r *Rule, now Instant) (wait time.Duration) {
	if f := e.far; f != nil && f.resetNS > now.MonoNS {
		wait = time.Duration(f.resetNS - now.MonoNS)
	}
	if oldest, ok := e.account.Log.Oldest(); ok {
		tick, phase := r.at(now)
		if own := r.until(oldest, tick, phase); wait == 0 || own < wait {
			wait = own
		}
	}
	return wait
}

// usageFar is what is known here of the key. mu is held.
func (e *entry) usageFar(r *Rule, now Instant) Usage {
	free := min(tokensIn(e.hot.Load())+e.beyond(r), r.limit.Rights)
	return Usage{Limit: r.limit.Rights, Used: r.limit.Rights - free, Remaining: free, ResetAfter: e.resetFar(r, now), Known: true}
}

// idleFar reports whether nothing at all that is the authority's is left at this
// node. mu is held.
func (e *entry) idleFar() bool {
	f := e.far
	return !f.bound && !f.asked && f.waiting == 0 && f.account.Held == 0 && f.account.Log.Used() == 0
}

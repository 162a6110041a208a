package limiter

import (
	"math/bits"
	"sync/atomic"
	"time"

	"sluice/limiter/core"
)

// counters are kept per shard of the first charge's key, so that cores deciding
// about different keys seldom write the same line.
type counters struct {
	decisions   [3][2]atomic.Uint64 // by zone, then refused or admitted
	wouldRefuse atomic.Uint64
	overflowed  atomic.Uint64
	evicted     atomic.Uint64
	expired     atomic.Uint64
}

// step is what has been done about one charge.
type step struct {
	cost  int64
	entry *entry // nil for addresses, and for a look at a key that has no bucket
	word  uint64 // the entry's word when it was last seen
	state state

	receipt                receipt // of a charged address
	fullBefore, fullBooked int64   // of a booked burst
}

type state uint8

const (
	idle     state = iota
	reserved       // rights taken from the word, to be committed or put back
	booked         // reserved, and the burst is charged too
	charged        // an address: done, with a receipt
	done           // spent for good
	known          // took nothing; its Quota is complete
)

// Decide weighs all charges of one request at once: all are taken, or none and
// d.Admitted is false. It does not allocate, except for the first charge to a key.
// In a cluster it waits up to 5 ms for the authority of a key whose rights at this
// node have run out; otherwise it never waits for anything slow. It may be called from any goroutine; d
// and charges belong to the caller. More than MaxCharges charges panic.
//
// It looks at every key first, so that what is known to be exhausted refuses
// without a write; then it reserves rights under each rule in order; and only
// when all have been reserved are they spent. Rights reserved in vain go back,
// and until then another request may be refused for the lack of them.
func (l *Limiter) Decide(now Instant, charges []Charge, d *Decision) {
	if len(charges) > MaxCharges {
		panic("BUG: more charges than limiter.MaxCharges")
	}
	var began int64
	if drill {
		began = drillNow()
	}
	for {
		if h := l.handover.Load(); h != nil && len(charges) > 0 && h.decide(charges, d) {
			return
		}
		if l.decide(now, charges, d) {
			if drill {
				l.drillRecord(now, began, charges, d)
			}
			return
		}
	}
}

// decide is Decide in this process. It returns false, having taken nothing, when
// the buckets went to another one meanwhile.
func (l *Limiter) decide(now Instant, charges []Charge, d *Decision) bool {
	d.N, d.WouldRefuse, d.Zone, d.Admitted, d.moved = len(charges), 0, Green, true, false
	if len(charges) == 0 {
		d.Tightest, d.Limit, d.Remaining, d.ResetUnixSec, d.RetryAfter = -1, 0, 0, 0, 0
		return true
	}
	var steps [MaxCharges]step
	count := &l.keys.shard(charges[0].Key).count

	if !l.glance(now, charges, steps[:len(charges)], d, count) {
		d.Admitted, d.Zone = false, Red
	} else if !l.acquire(now, charges, steps[:len(charges)], d, count) {
		d.Admitted = false
	}
	if d.moved {
		l.undo(charges, steps[:len(charges)])
		return false
	}
	if d.Admitted {
		settle(now, charges, steps[:len(charges)], d)
	} else {
		l.undo(charges, steps[:len(charges)])
		l.explain(now, charges, steps[:len(charges)], d)
	}
	d.summarize(now, charges)

	admitted := 0
	if d.Admitted {
		admitted = 1
	}
	count.decisions[d.Zone][admitted].Add(1)
	if d.WouldRefuse != 0 {
		count.wouldRefuse.Add(uint64(bits.OnesCount8(d.WouldRefuse)))
	}
	return true
}

// glance finds the entries and reports whether none of the enforced charges is
// known not to fit. It writes nothing but entries that are new.
func (l *Limiter) glance(now Instant, charges []Charge, steps []step, d *Decision, count *counters) bool {
	pass := true
	for i := range charges {
		ch, s, q := &charges[i], &steps[i], &d.Quotas[i]
		s.cost = max(0, ch.Cost)
		if ch.Key.ofAddress() {
			continue
		}
		if s.entry = l.keys.find(ch.Key); s.entry == nil {
			if s.cost == 0 {
				continue
			}
			if d.moved = !l.attach(s, ch, now, count); d.moved {
				return false
			}
		}
		if s.cost == 0 {
			continue
		}
		tick, phase := ch.Rule.at(now)
		burst := ch.Rule.burstWait(s.entry.full.Load(), now, s.cost, q)
		quota := s.entry.red(ch.Rule, tick, phase, s.cost)
		if burst == 0 && quota == 0 {
			continue
		}
		s.state = known
		s.word = s.entry.hot.Load()
		s.entry.numbers(ch.Rule, s.word, tick, phase, q)
		q.BurstRefused = quota == 0
		q.Wait = max(burst, quota)
		if quota == 0 && q.Remaining < s.cost {
			s.look(ch, now, q) // the quota may have the longer wait
		}
		if ch.Shadow {
			d.WouldRefuse |= 1 << i
			continue
		}
		pass = false
	}
	return pass
}

// attach gives s the entry of ch, which is made if need be. It returns false when
// the table is closed.
func (l *Limiter) attach(s *step, ch *Charge, now Instant, count *counters) bool {
	var own bool
	if s.entry, own = l.keys.make(ch.Key, ch.Rule, now); !own && s.entry != nil {
		count.overflowed.Add(1)
	}
	return s.entry != nil
}

// acquire reserves the rights of every charge: quotas first, since those can be
// put back exactly, then addresses, then bursts. It reports whether every
// enforced charge was satisfied.
func (l *Limiter) acquire(now Instant, charges []Charge, steps []step, d *Decision, count *counters) bool {
	burst, address := false, false
	for i := range charges {
		ch, s := &charges[i], &steps[i]
		if ch.Key.ofAddress() {
			address = true
			continue
		}
		if s.cost == 0 || s.state == known {
			continue
		}
		// A lone quota needs no second step.
		alone := len(charges) == 1 && ch.Rule.intervalNS == 0
		if !l.reserve(s, ch, now, alone, d, count) {
			if d.moved || !fail(i, ch, s, d) {
				d.Zone = Amber
				return false
			}
			continue
		}
		burst = burst || ch.Rule.intervalNS > 0
	}
	if address {
		for i := range charges {
			ch, s, q := &charges[i], &steps[i], &d.Quotas[i]
			if !ch.Key.ofAddress() {
				continue
			}
			rc, ok, evicted := l.addresses.charge(ch.Rule, ch.Key, now, s.cost, s.cost > 0, q)
			if evicted {
				count.evicted.Add(1)
			}
			s.state = known
			if d.moved = !ok && q.Limit == 0; d.moved {
				return false
			}
			switch {
			case s.cost == 0:
			case ok:
				s.receipt, s.state = rc, charged
			case ch.Shadow:
				d.WouldRefuse |= 1 << i
			default:
				d.Zone = Red
				return false
			}
		}
	}
	if burst {
		for i := range charges {
			ch, s := &charges[i], &steps[i]
			if s.state != reserved || ch.Rule.intervalNS == 0 || s.book(ch.Rule, now) {
				continue
			}
			// Only a request that overtook this one since the glance gets it here.
			s.entry.putBack(s.cost)
			if !fail(i, ch, s, d) {
				d.Zone = Red
				return false
			}
		}
	}
	return true
}

// fail notes that charge i did not fit and reports whether that is borne.
func fail(i int, ch *Charge, s *step, d *Decision) bool {
	s.state = idle // explain or settle will look at it
	if ch.Shadow {
		d.WouldRefuse |= 1 << i
	}
	return ch.Shadow
}

// reserve takes the rights of s, for good when commit is true.
func (l *Limiter) reserve(s *step, ch *Charge, now Instant, commit bool, d *Decision, count *counters) bool {
	tick, _ := ch.Rule.at(now)
	for {
		w, ok := s.entry.spend(ch.Rule, tick, s.cost, commit)
		if !ok {
			granted, v := false, taken
			w, granted, v = s.entry.take(ch.Rule, now, s.cost, commit)
			if v == vanished {
				if d.moved = !l.attach(s, ch, now, count); d.moved {
					s.state = idle
					return false
				}
				continue
			}
			if granted {
				d.Zone = Amber
			}
			ok = v == taken
		}
		s.word = w
		if ok {
			s.state = reserved
			if commit {
				s.state = done
			}
		}
		return ok
	}
}

// book charges the burst of a reserved step.
func (s *step) book(r *Rule, now Instant) bool {
	for {
		full := s.entry.full.Load()
		next, wait := core.Burst(full, now.MonoNS, r.intervalNS, r.toleranceNS, s.cost)
		if wait > 0 {
			return false
		}
		if s.entry.full.CompareAndSwap(full, next) {
			s.fullBefore, s.fullBooked, s.state = full, next, booked
			return true
		}
	}
}

// settle spends what was reserved and fills in the numbers of an admitted request.
func settle(now Instant, charges []Charge, steps []step, d *Decision) {
	for i := range charges {
		ch, s, q := &charges[i], &steps[i], &d.Quotas[i]
		switch s.state {
		case reserved, booked:
			s.entry.commit(ch.Rule, now, s.cost)
		case done:
		case charged, known:
			continue // the numbers are there
		default:
			s.look(ch, now, q)
			continue
		}
		tick, phase := ch.Rule.at(now)
		s.entry.numbers(ch.Rule, s.word, tick, phase, q)
		q.Wait, q.BurstRefused = 0, false
		if s.state == booked {
			q.BurstLimit = ch.Rule.burst
			q.BurstRemaining = core.BurstLeft(s.fullBooked, now.MonoNS, ch.Rule.intervalNS, ch.Rule.toleranceNS)
		}
	}
}

// undo puts everything back.
func (l *Limiter) undo(charges []Charge, steps []step) {
	for i := range charges {
		s := &steps[i]
		switch s.state {
		case booked:
			// Others may have booked since, and a bucket that ran full in between has
			// forgotten us: taking our share out then could be too much. Left in, it
			// is gone after one interval per request.
			s.entry.full.CompareAndSwap(s.fullBooked, s.fullBefore)
			s.entry.putBack(s.cost)
			s.state = idle
		case reserved:
			s.entry.putBack(s.cost)
			s.state = idle
		case charged:
			l.addresses.refund(charges[i].Key, s.cost, s.receipt)
			s.state = idle
		}
	}
}

// explain fills in the numbers of a refused request, with the wait of each charge
// that would not fit now, so that the longest is the time to come back.
func (l *Limiter) explain(now Instant, charges []Charge, steps []step, d *Decision) {
	for i := range charges {
		ch, s, q := &charges[i], &steps[i], &d.Quotas[i]
		switch {
		case s.state == known:
		case ch.Key.ofAddress():
			l.addresses.charge(ch.Rule, ch.Key, now, s.cost, false, q)
		default:
			s.look(ch, now, q)
		}
	}
}

// numbers fills q from the word and what was last noted, without the mutex.
func (e *entry) numbers(r *Rule, w uint64, tick core.Stamp, phaseNS int64, q *Quota) {
	seen := e.seen.Load()
	oldest := core.Stamp(uint32(seen))
	q.Limit = r.limit.Rights
	q.Remaining = min(max(0, tokensIn(w)+int64(int32(seen>>32))), q.Limit)
	if oldest == 0 {
		oldest = tick + 1 // only what was spent during this tick
	}
	q.ResetAfter = r.until(oldest, tick, phaseNS)
}

// look fills q with the present state of a key and the wait of s.cost, with the
// mutex.
func (s *step) look(ch *Charge, now Instant, q *Quota) {
	r := ch.Rule
	if s.entry == nil {
		r.untouched(q)
		return
	}
	e := s.entry
	*q = Quota{Limit: r.limit.Rights}
	burst := r.burstWait(e.full.Load(), now, s.cost, q)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rule.Load() == nil {
		r.untouched(q)
		return
	}
	tick := e.refresh(r, now)
	defer e.note(r)
	if e.fleet != nil {
		e.lookFar(r, now, s.cost, burst, q)
		return
	}
	tokens := tokensIn(e.hot.Load())
	tokens += e.coming()
	free := tokens + e.account.Pool(r.limit)
	q.Remaining = max(0, free)
	present, phase := r.at(now)
	if oldest, ok := e.account.Log.Oldest(); ok {
		q.ResetAfter = r.until(oldest, present, phase)
	}
	q.Wait = burst
	q.BurstRefused = burst > 0
	if free < s.cost {
		q.Wait = max(burst, e.quotaWait(r, tokens, s.cost, present, phase))
		q.BurstRefused = false
		e.mark(r, tick, s.cost)
	}
}

// quotaWait is the time until c fits beside the rights in hand. mu is held.
func (e *entry) quotaWait(r *Rule, tokens, c int64, tick core.Stamp, phaseNS int64) time.Duration {
	if c > r.limit.Rights {
		return r.window // it never will
	}
	rest := e.account
	rest.Held -= tokens
	return r.quotaWait(&rest, c, tick, phaseNS)
}

// summarize picks the charge whose numbers are shown.
func (d *Decision) summarize(now Instant, charges []Charge) {
	best := 0
	d.RetryAfter = 0
	for i := range charges {
		q, b := &d.Quotas[i], &d.Quotas[best]
		if !d.Admitted && !charges[i].Shadow {
			d.RetryAfter = max(d.RetryAfter, q.Wait)
		}
		if i == 0 {
			continue
		}
		switch enforced, was := !charges[i].Shadow, !charges[best].Shadow; {
		case enforced != was:
			if enforced {
				best = i
			}
		case !d.Admitted && q.Wait != b.Wait:
			if q.Wait > b.Wait {
				best = i
			}
		case q.Remaining*b.Limit < b.Remaining*q.Limit:
			best = i
		}
	}
	if !d.Admitted && d.RetryAfter == 0 {
		d.RetryAfter = time.Millisecond // what was short has come back since
	}
	q := &d.Quotas[best]
	d.Tightest = best
	d.Limit, d.Remaining = q.Limit, q.Remaining
	reset := q.ResetAfter
	if !d.Admitted && q.BurstRefused {
		d.Limit, d.Remaining, reset = q.BurstLimit, q.BurstRemaining, q.Wait
	}
	d.ResetUnixSec = (now.UnixNS + int64(reset) + 1e9 - 1) / 1e9
}

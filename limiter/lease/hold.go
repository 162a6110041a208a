package lease

import (
	"time"

	"sluice/limiter/core"
)

// hold is one key at this node: the purse and its books.
type hold struct {
	key    Key
	purse  Purse
	limit  Limit
	holder core.Holder

	queued  bool
	urgent  bool // in the queue of those that requests wait for
	flying  bool // a question is under way
	whole   bool // the next one carries the whole log
	present bool // counted in Node.presenting
	will    bool // the holder is that of an earlier life, and only gives back
	lowered bool // the limit is lower now: what is held of the former one goes back with the next question

	// debt is rights of an earlier life that requests had reserved when it ended.
	// The authority counts them as used.
	debt int64

	// past are the holders of earlier lives whose uses are still inside the window,
	// oldest first; of the last pastDue the present authority may not know.
	past    []*core.Holder
	pastDue int

	wanted  int64
	pool    int64 // as last heard
	heardNS int64 // when the authority last answered
	index   int   // in Node.list

	asked   core.Take // the question under way to a home
	sentNS  int64     // when it was sent
	againNS int64     // when it is sent again, for those who wait for the answer; 0: not so soon
	recall  recall
	mirror  *mirror // what the shadow of the books may not know; nil: it knows all
}

// sync moves what was spent from the purse into the books.
func (h *hold) sync(now Instant) (tick core.Stamp, l core.Limit) {
	if limit := h.purse.Limit(); limit != h.limit {
		if was := h.limit; was.Window != 0 && was.Tick() != limit.Tick() {
			h.holder.Rescale(was.Stamp(now), limit.Stamp(now), int64(was.Tick()), int64(limit.Tick()))
			for _, p := range h.past {
				p.Rescale(was.Stamp(now), limit.Stamp(now), int64(was.Tick()), int64(limit.Tick()))
			}
		}
		if was := h.limit; was.Window != 0 && (limit.Rights < was.Rights || limit.Window > was.Window) {
			h.lowered = true
		}
		h.limit = limit
	}
	tick, l = h.limit.Stamp(now), h.limit.core(now)
	h.purse.Spent(now, func(at core.Stamp, n int64) {
		paid := min(h.debt, n)
		h.debt -= paid
		h.holder.Use(at, n-paid, core.MaxRuns)
	})
	if n := h.holder.Expire(tick, l); n > 0 {
		if h.will {
			h.holder.GiveBack(n)
		} else {
			h.purse.Deposit(n)
		}
	}
	for len(h.past) > h.pastDue {
		if p := h.past[0]; expirePast(p, tick, l) > 0 {
			break
		}
		h.past = h.past[1:]
	}
	return tick, l
}

// expirePast is Expire for a holder that has ended: what it need not report after all
// goes back. It returns the uses that are still in the window.
func expirePast(p *core.Holder, tick core.Stamp, l core.Limit) int64 {
	p.GiveBack(p.Expire(tick, l))
	return p.Used()
}

// compose makes the next question.
func (h *hold) compose(now Instant) core.Take {
	tick, _ := h.sync(now)
	want := int64(core.ReportOnly)
	if h.will {
		h.giveBack(1 << 62)
	} else {
		if h.lowered {
			h.lowered = false
			h.giveBack(1 << 62)
		}
		want = h.purse.Lack()
	}
	h.wanted = want
	if h.pastDue > 0 {
		p := h.past[len(h.past)-h.pastDue]
		expirePast(p, tick, h.limit.core(now))
		t := p.Present(tick)
		t.Want, h.wanted = core.ReportOnly, core.ReportOnly
		return t
	}
	if h.whole {
		t := h.holder.Present(tick)
		t.Want = want
		return t
	}
	return h.holder.Take(tick, want)
}

// giveBack returns up to n unspent rights to the authority, with the next question.
func (h *hold) giveBack(n int64) int64 {
	n = h.purse.Withdraw(n)
	paid := min(h.debt, n)
	h.debt -= paid
	h.holder.GiveBack(n - paid)
	return n - paid
}

// apply takes over a reply and passes on what it grants. recalling says that the
// question will be asked again by itself.
func (h *hold) apply(now Instant, r core.Reply, wanted int64, recalling bool) {
	before := h.holder.Row().Granted
	h.holder.Apply(r)
	granted := h.holder.Row().Granted - before
	h.pool, h.heardNS = r.Pool, now.MonoNS
	if h.will {
		return // compose gives it back
	}
	a := Answer{Granted: granted, Pool: r.Pool, Reset: h.limit.duration(r.Reset), Stray: len(r.Holders) > 0}
	switch {
	case r.Verdict == core.Closed:
		a.Outcome, a.Wait = Closed, h.limit.duration(r.Wait)
	case recalling:
		a.Outcome = Recalling
	case granted < wanted:
		a.Outcome, a.Wait, a.Recall = Exhausted, h.limit.duration(r.Wait), h.recall.rest(now)
	}
	h.purse.Answer(now, a)
}

// Intervals of housekeeping.
const (
	settleAfter = 30 * time.Minute // beyond the window, the longest that the authority is told nothing
	reportAfter = 30 * time.Second // the longest that a use goes unreported while the pool is low, when it is much of it
	idleLeast   = 10 * time.Second // unused rights go back while the pool is low: after a quarter
	idleMost    = 5 * time.Minute  // of the window, since whoever lacks them sooner asks for them
	forgetAfter = 3 * time.Minute  // beyond the window
)

// due says what the hold has to tell the authority by itself. Uses go unreported for as
// long as nobody asks for rights: their rights come back to the node itself, see
// core.Holder.Expire. Only where the unreported uses of a dead node count as unused
// are they told early.
func (h *hold) due(now Instant, lenient bool) (report bool) {
	heard := time.Duration(now.MonoNS - h.heardNS)
	low := h.pool < h.limit.Rights/4
	settleAfter := h.limit.Window + settleAfter
	if quiet := h.purse.Quiet(now); h.purse.Tokens() > 0 && (quiet > settleAfter || low && quiet > min(max(h.limit.Window/4, idleLeast), idleMost)) {
		return h.giveBack(1<<62) > 0
	}
	unreported := h.holder.Unreported()
	switch {
	case heard > settleAfter:
		return unreported > 0 || h.holder.Tokens() > 0 // or it forgets the row
	case unreported == 0:
		return false
	case low && lenient:
		return heard > reportAfter && unreported >= max(1, h.pool/16)
	}
	return false
}

// over reports whether the authority, too, has nothing left to know of the hold.
func (h *hold) over(now Instant) bool {
	window := h.limit.Window
	if h.limit.Fixed {
		window *= 2
	}
	return !h.will && len(h.past) == 0 && h.holder.Tokens() == 0 && h.holder.Unreported() == 0 && h.holder.Used() == 0 &&
		time.Duration(now.MonoNS-h.heardNS) > window+forgetAfter
}

package limiter

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// A limiter goes to a successor process in three steps, so that at any moment
// one process alone can admit:
//
//	predecessor                              successor
//	Hold      decisions wait
//	Export    every bucket is taken out ──▶  Import    into a limiter that is idle
//	Forward   decisions are the              Answer    takes them beside its own
//	          successor's, or
//	Resume    the successor failed:
//	          the buckets come back
//
// The predecessor keeps no rights. What its last connections ask is decided by the
// successor, on the buckets that the successor's own traffic uses, so no split of a
// quota between the two is needed and the bound is the same as without an upgrade.
//
// In a cluster the rights of keys do not travel: the predecessor gives back to the
// authority what it holds, and the successor, a replica of its own, takes anew. The
// books that it keeps for others do: see lease.Node.Inheritance. Addresses and bursts
// go as they do otherwise.
//
// Red marks are not sent: they are worked out anew by the first request that does
// not fit. Counters stay behind.

// Handover is a limiter that is being given away. Its methods are called by one
// goroutine, in the order of the picture.
type Handover struct {
	l      *Limiter
	chunks [][]byte      // what was taken out, until it is clear who has it
	over   chan struct{} // closed by Forward and Resume

	inheritance [][]byte // of the cluster's part

	// ask is set before over is closed; nil: the limiter decides again.
	ask func(question []byte) (answer []byte, err error)
}

// Errors of a handover.
var (
	errHeld     = errors.New("limiter: a handover is under way")
	errReserved = errors.New("limiter: a request holds rights and does not end")
	errForeign  = errors.New("limiter: the state of the other process cannot be read")
)

// Hold begins a handover: decisions that start from now on wait for its end.
func (l *Limiter) Hold() (*Handover, error) {
	h := &Handover{l: l, over: make(chan struct{})}
	if !l.handover.CompareAndSwap(nil, h) {
		return nil, errHeld
	}
	return h, nil
}

// surrenderWait bounds how long Export waits for requests that had reserved rights
// when it came by; they take microseconds.
const surrenderWait = time.Second

// Export takes every bucket out and calls send with parts of them, each of which
// Import takes by itself and in any order. After an error the caller must Resume.
func (h *Handover) Export(send func(chunk []byte) error) error {
	keys, addresses := h.l.keys, h.l.addresses
	// Whoever looks at these under the lock that guards what it changes, and finds
	// them unset, is done before Export takes that lock.
	keys.closed.Store(true)
	addresses.closed.Store(true)
	if h.l.fleet != nil {
		h.inheritance = h.l.fleet.settle()
	}
	x := exporter{h: h, now: h.l.clock()}
	x.clockNS = monotonicNS() // after now: see Import
	deadline := time.Now().Add(surrenderWait)
	for i := range keys.shards {
		x.begin()
		if h.l.fleet != nil {
			if err := x.end(send); err != nil {
				return err
			}
			break
		}
		err := keys.shards[i].surrender(keys, &x, deadline)
		if err = errors.Join(err, x.end(send)); err != nil {
			return err
		}
	}
	if h.l.keeper != nil {
		h.l.keeper.close()
	}
	for from := 0; from < len(addresses.sets); from += setsPerChunk {
		x.begin()
		for i := from; i < min(from+setsPerChunk, len(addresses.sets)); i++ {
			if s := addresses.sets[i].Load(); s != nil {
				addresses.held.Add(-int64(s.surrender(&x)))
			}
		}
		if err := x.end(send); err != nil {
			return err
		}
	}
	return nil
}

const setsPerChunk = 4096

// Inheritance is what the successor is to Inherit, in order, known after Export.
func (h *Handover) Inheritance() [][]byte { return h.inheritance }

// Inherit takes a part of what a predecessor left, before Run, and returns the
// replica that this limiter goes on as: Peers must name it from then on. An error
// that is no lease.ErrMessage means that the limiter cannot be used.
func (l *Limiter) Inherit(part []byte) (self uint64, err error) {
	if l.fleet == nil {
		return 0, nil
	}
	err = l.fleet.node.Inherit(part)
	return uint64(l.fleet.node.Member()), err
}

// Forward ends the handover: the successor has the buckets. ask takes it a
// question and brings its answer; it may be called from many goroutines and must
// not keep the question. When it fails, the request is refused: this process has
// no rights left.
func (h *Handover) Forward(ask func(question []byte) (answer []byte, err error)) {
	h.chunks, h.ask = nil, ask
	close(h.over)
	if h.l.fleet != nil {
		h.l.fleet.leave()
	}
}

// Resume ends the handover: the successor has failed, and the buckets come back.
// The waiting decisions are taken here.
func (h *Handover) Resume() error {
	var errs []error
	for _, chunk := range h.chunks {
		errs = append(errs, h.l.Import(chunk))
	}
	if h.l.fleet != nil {
		h.l.fleet.deaf.Store(false)
	}
	h.chunks = nil
	h.l.keys.closed.Store(false)
	h.l.addresses.closed.Store(false)
	h.l.handover.Store(nil)
	if h.l.keeper != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		defer cancel()
		errs = append(errs, h.l.Persist(ctx))
	}
	close(h.over)
	return errors.Join(errs...)
}

// decide takes a decision that came during or after the handover. It returns
// false when the limiter decides for itself again.
func (h *Handover) decide(charges []Charge, d *Decision) bool {
	<-h.over
	if h.ask == nil {
		return false
	}
	answer, err := h.ask(appendQuestion(nil, charges))
	if err == nil {
		err = parseAnswer(answer, len(charges), d)
	}
	if err != nil {
		d.unanswered(h.l.clock(), charges)
	}
	return true
}

// unanswered refuses because nobody can be asked.
func (d *Decision) unanswered(now Instant, charges []Charge) {
	*d = Decision{Zone: Amber, N: len(charges)}
	for i := range charges {
		charges[i].Rule.untouched(&d.Quotas[i])
		d.Quotas[i].Remaining, d.Quotas[i].Wait = 0, time.Second
	}
	d.summarize(now, charges)
}

// surrender takes e out of use and appends it. It returns false while a request
// has reserved rights.
func (e *entry) surrender(now Instant, to *exporter) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.rule.Load()
	if r == nil {
		return true // dropped before
	}
	for {
		e.refresh(r, now)
		e.kept.abandon(e)
		w := e.hot.Load()
		if pendingIn(w) != 0 {
			continue
		}
		if e.account.Held != tokensIn(w) {
			return false
		}
		if e.hot.CompareAndSwap(w, 0) {
			e.account.Return(tokensIn(w))
			break
		}
	}
	// From here on spenders find no tokens, and under the mutex no rule.
	e.rule.Store(nil)
	e.deny.Store(0)
	full := e.full.Load()
	if e.account.Log.Used() == 0 && full <= now.MonoNS {
		return true // as good as new
	}
	to.bucket(e.key, r, full, e.account.Log.Runs())
	return true
}

// surrender takes every entry of the shard out.
func (s *shard) surrender(t *table, to *exporter, deadline time.Time) error {
	s.mu.Lock()
	x := s.index.Load() // the last one while the table is closed
	s.mu.Unlock()
	for i := range x.buckets {
		b := &x.buckets[i]
		for j := range bucketSlots {
			e := b.slots[j].Load()
			if e == nil {
				continue
			}
			for !e.surrender(to.now, to) {
				if time.Now().After(deadline) {
					return errReserved
				}
				runtime.Gosched()
			}
			s.mu.Lock()
			b.drop(j)
			s.alive--
			t.live.Add(-1)
			s.mu.Unlock()
		}
	}
	s.mu.Lock()
	s.rebuild(x)
	s.mu.Unlock()
	return nil
}

// surrender takes every address of the set out and returns how many there were.
func (s *addressSet) surrender(to *exporter) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.ways[:s.used] {
		to.address(&s.ways[i])
	}
	n = int(s.used)
	s.used = 0
	return n
}

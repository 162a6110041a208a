package upstream

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// tick is how often exchanges under way are looked at. One look at a
// connection costs some tens of nanoseconds, so a thousand take a thousandth of a core.
const tick = 25 * time.Millisecond

// phase is what an exchange is waiting for.
type phase uint32

const (
	sending   phase = iota // the request is under way: Idle holds
	awaiting               // it is complete and no answer has come: Header holds
	receiving              // the response is under way, or a tunnel: Idle holds
)

// watch bounds one exchange in time and ends it with its context. The exchange
// reads no clock, sets no deadline and registers nothing: it leaves a beat
// whenever something moved, and the registry's ticker, which does read a clock,
// notices when the beat has stood still for too long. Beginning and ending
// cost an uncontended lock each (a timer and a context.AfterFunc cost a
// microsecond and five allocations).
type watch struct {
	abort func() // ends whatever the exchange is waiting for; must not block

	// beat changes with every progress; phase says what is waited for.
	beat  atomic.Uint32
	phase atomic.Uint32

	mu       sync.Mutex      // guards the following
	ctx      context.Context // nil: nothing is under way
	deadline time.Time
	header   time.Duration
	idle     time.Duration
	cause    Kind // why it was aborted; 0: it was not

	part uint8 // of a watches, chosen once; 0: not yet

	// The ticker's own: the beat it saw, and since when.
	seen  uint32
	since time.Time
}

// begin starts watching an exchange.
func (w *watch) begin(ctx context.Context, out *Request, p phase) {
	w.mu.Lock()
	w.ctx, w.deadline, w.cause = ctx, out.Deadline, 0
	w.header, w.idle = out.Timeouts.Header, out.Timeouts.Idle
	w.phase.Store(uint32(p))
	w.beat.Add(1)
	w.mu.Unlock()
}

// end stops watching, and returns why the exchange was aborted, or 0; why is the
// cause of the context's end. Nothing touches the context afterwards.
func (w *watch) end() (cause Kind, why error) {
	w.mu.Lock()
	cause = w.cause
	if cause == Canceled && w.ctx != nil {
		why = context.Cause(w.ctx)
	}
	w.ctx, w.cause = nil, 0
	w.mu.Unlock()
	return cause, why
}

// progress notes that something moved.
func (w *watch) progress() { w.beat.Add(1) }

// enter begins a phase.
func (w *watch) enter(p phase) {
	w.phase.Store(uint32(p))
	w.beat.Add(1)
}

// sent ends the sending phase, unless the response has begun already.
func (w *watch) sent() {
	w.phase.CompareAndSwap(uint32(sending), uint32(awaiting))
	w.beat.Add(1)
}

// lift takes the deadline off: a stream has begun.
func (w *watch) lift() {
	w.mu.Lock()
	w.deadline = time.Time{}
	w.mu.Unlock()
}

// fail aborts the exchange for a reason of its own, unless there was one before.
func (w *watch) fail(k Kind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx != nil && w.cause == 0 {
		w.cause = k
		w.abort()
	}
}

// check is the ticker's look. It passes over an exchange that is just beginning or ending.
func (w *watch) check(now time.Time) {
	if !w.mu.TryLock() {
		return
	}
	defer w.mu.Unlock()
	if w.ctx == nil || w.cause != 0 {
		return
	}
	if beat := w.beat.Load(); beat != w.seen || w.since.IsZero() {
		w.seen, w.since = beat, now
	}
	still := now.Sub(w.since)
	waiting := phase(w.phase.Load()) == awaiting
	switch {
	case w.ctx.Err() != nil:
		w.cause = Canceled
	case !w.deadline.IsZero() && !now.Before(w.deadline):
		w.cause = Timeout
	case waiting && w.header > 0 && still >= w.header:
		w.cause = HeaderTimeout
	case !waiting && w.idle > 0 && still >= w.idle:
		w.cause = IdleTimeout
	default:
		return
	}
	w.abort()
}

// watches is a set of watches that come and go with their exchanges. It is in
// parts, so that two cores seldom meet at a lock.
type watches [16]struct {
	mu  sync.Mutex
	set map[*watch]struct{}
	_   [48]byte // another part's lock is on another cache line
}

func (s *watches) add(w *watch) {
	if w.part == 0 {
		w.part = 1 + uint8(rand.UintN(uint(len(s))))
	}
	p := &s[w.part-1]
	p.mu.Lock()
	if p.set == nil {
		p.set = make(map[*watch]struct{})
	}
	p.set[w] = struct{}{}
	p.mu.Unlock()
}

func (s *watches) remove(w *watch) {
	if w.part == 0 {
		return
	}
	p := &s[w.part-1]
	p.mu.Lock()
	delete(p.set, w)
	p.mu.Unlock()
}

func (s *watches) each(f func(*watch)) {
	for i := range s {
		p := &s[i]
		p.mu.Lock()
		for w := range p.set {
			f(w)
		}
		p.mu.Unlock()
	}
}

func (s *watches) len() (n int) {
	s.each(func(*watch) { n++ })
	return n
}

package front

import (
	"context"
	"sync"
	"time"
)

// registry knows the connections of a server. It is touched when one comes and goes, never by a request.
type registry struct {
	server *Server
	last   chan struct{} // tells the sweeper that there is nothing left to sweep

	mu      sync.Mutex    // guards what follows
	conns   []*conn       // each knows its place
	sweeper bool          // one is running
	ended   bool          // no further connections
	empty   chan struct{} // closed when the last one goes; nil when nobody waits
}

// add takes c in and sees to it that a sweeper runs. It refuses once every connection has been closed.
func (r *registry) add(c *conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	c.place = len(r.conns)
	r.conns = append(r.conns, c)
	if !r.sweeper {
		r.sweeper = true
		r.server.setDate(time.Now())
		r.server.sweeping.Go(r.server.sweep)
	}
	return true
}

// remove lets c go. It may be called again.
func (r *registry) remove(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.place < 0 {
		return
	}
	last := len(r.conns) - 1
	moved := r.conns[last]
	r.conns[c.place] = moved
	moved.place = c.place
	r.conns[last] = nil
	r.conns = r.conns[:last]
	c.place = -1
	if last == 0 && r.server.closing.Load() {
		r.wakeSweeper()
		if r.empty != nil {
			close(r.empty)
			r.empty = nil
		}
	}
}

func (r *registry) wakeSweeper() {
	select {
	case r.last <- struct{}{}:
	default: // it has been told
	}
}

// retireSweeper lets the sweeper end when there is nothing to sweep.
func (r *registry) retireSweeper() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.conns) > 0 {
		return false
	}
	r.sweeper = false
	return true
}

// batch appends connections to into, from place from on. The lock is held for
// a thousand at a time: one that moves to another place meanwhile may be left out or
// come twice, which a sweep does not mind.
func (r *registry) batch(into []*conn, from int) []*conn {
	const most = 1024
	r.mu.Lock()
	defer r.mu.Unlock()
	if from >= len(r.conns) {
		return into
	}
	return append(into, r.conns[from:min(len(r.conns), from+most)]...)
}

// each calls f for every connection.
func (r *registry) each(f func(*conn)) {
	var buf []*conn
	for from := 0; ; from += len(buf) {
		buf = r.batch(buf[:0], from)
		if len(buf) == 0 {
			return
		}
		for _, c := range buf {
			f(c)
		}
	}
}

// drain closes the idle connections and waits for the others.
func (r *registry) drain(ctx context.Context) error {
	r.mu.Lock()
	var empty chan struct{}
	if len(r.conns) > 0 {
		if r.empty == nil {
			r.empty = make(chan struct{})
		}
		empty = r.empty
	}
	r.mu.Unlock()
	if empty == nil {
		r.wakeSweeper()
		return nil
	}
	r.each(func(c *conn) {
		if !c.dataWaits() {
			c.closeIf(phaseIdle)
		}
	})
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// closeAll closes every connection. Their goroutines remove them.
func (r *registry) closeAll() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.wakeSweeper()
	r.each(func(c *conn) {
		word := c.word.Load()
		_ = c.transport().Close() // whoever uses it learns of it
		if x := c.request.Load(); x != nil {
			x.cancelIf(c, word) // and whoever does not
		}
	})
}

func (r *registry) stats() Stats {
	var s Stats
	r.each(func(c *conn) {
		s.Connections++
		switch c.phase() {
		case phaseNew, phaseIdle:
			s.Idle++
		case phaseHead, phaseServing:
			s.Active++
		case phaseClosed:
		}
	})
	return s
}

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
	conns   []entry       // each connection knows its place
	sweeper bool          // one is running
	ended   bool          // no further connections
	empty   chan struct{} // closed when the last one goes; nil when nobody waits
}

// entry is a connection, and what the sweeper remembers of it. It is here and not
// in the connection so that looking at an idle one reads one line of memory that
// is not at hand, the one with its word: with ten thousand of them this is what a sweep costs.
type entry struct {
	conn  *conn
	word  uint64        // when it was last looked at
	since time.Duration // since the sweeper began: when it was first seen with this word
}

// add takes c in and sees to it that a sweeper runs. It refuses once every connection has been closed.
func (r *registry) add(c *conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	c.place = len(r.conns)
	r.conns = append(r.conns, entry{conn: c, word: unseen})
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
	moved.conn.place = c.place
	r.conns[last] = entry{}
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

// batchConns is for how many connections the lock is held at a time. One that
// moves to another place meanwhile may be left out or come twice, which a sweep does not mind.
const batchConns = 1024

// unseen is a word that no connection has.
const unseen = uint64(phaseMask)

// due appends to into what needs a closer look among batchConns connections, from place
// from on; more is false when these were the last ones.
func (r *registry) due(into []sighting, from int, now time.Duration) (found []sighting, more bool) {
	closing := r.server.closing.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	to := min(len(r.conns), from+batchConns)
	for i := min(from, to); i < to; i++ {
		e := &r.conns[i]
		word := e.conn.word.Load()
		if word != e.word {
			e.word, e.since = word, now
		}
		if stay := now - e.since; stay > r.server.patience(phase(word)&phaseMask, closing) {
			into = append(into, sighting{e.conn, word, stay})
		}
	}
	return into, to < len(r.conns)
}

// each calls f for every connection.
func (r *registry) each(f func(*conn)) {
	var buf []*conn
	for from := 0; ; from += batchConns {
		r.mu.Lock()
		for _, e := range r.conns[min(from, len(r.conns)):min(from+batchConns, len(r.conns))] {
			buf = append(buf, e.conn)
		}
		more := from+batchConns < len(r.conns)
		r.mu.Unlock()
		for _, c := range buf {
			f(c)
		}
		if !more {
			return
		}
		clear(buf)
		buf = buf[:0]
	}
}

// drain has the idle connections closed and waits for the others.
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
	r.wakeSweeper() // which closes those that have been idle for a while
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

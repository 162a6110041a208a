package front

import (
	"math"
	"time"
)

// sweepEvery is how exact every time-out of the server is, and how soon a
// client that has gone is noticed at the latest, twice over.
const sweepEvery = 200 * time.Millisecond

// lastGrace is how long Shutdown waits for a request on a connection that was not
// told to go: a new one, or one whose last answer had begun before.
const lastGrace = time.Second

// sighting is a connection that has been in one phase for longer than is nothing to
// look at.
type sighting struct {
	conn *conn
	word uint64
	stay time.Duration
}

// notes are what the sweeper remembers of a request that takes its time: it alone uses them.
type notes struct {
	word             uint64 // of the request
	reading, writing uint32
	readingSince     time.Duration // first seen in this read
	writingSince     time.Duration
	waited           time.Duration // for the body
}

// sweep looks at every connection, again and again, until there is none. One
// goroutine and no timers: a request pays for all its time-outs with a few
// stores to its own connection.
func (s *Server) sweep() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	var found []sighting
	var w watched
	var last time.Duration
	for began := time.Now(); ; {
		select {
		case <-ticker.C:
		case <-s.registry.last:
		}
		t := time.Now()
		s.setDate(t)
		now := t.Sub(began)
		for from, more := 0, true; more; from += batchConns {
			found, more = s.registry.due(found[:0], from, now)
			for _, seen := range found {
				if seen.conn.look(seen, now, now-last) {
					w.add(seen.conn, seen.word)
				}
			}
			w.check()
			clear(found)
		}
		last = now
		if s.registry.retireSweeper() {
			return
		}
	}
}

// patience is how long a connection may stay in a phase before the sweeper looks closer.
func (s *Server) patience(p phase, closing bool) time.Duration {
	switch p {
	case phaseNew:
		if closing {
			return lastGrace
		}
		return s.HeaderTimeout
	case phaseIdle:
		if closing {
			return min(lastGrace, s.IdleTimeout)
		}
		return s.IdleTimeout
	case phaseHead:
		return s.HeaderTimeout
	case phaseServing:
		return sweepEvery / 2 // not those that have begun since the last sweep
	case phaseClosed:
	}
	return math.MaxInt64
}

// look does what is due. It reports whether the client is to be watched,
// because a handler is running that neither reads nor writes.
func (c *conn) look(seen sighting, now, passed time.Duration) (watch bool) {
	switch p := phase(seen.word) & phaseMask; p {
	case phaseNew, phaseIdle:
		if !c.dataWaits() || seen.stay > c.server.patience(p, false) {
			c.closeIf(p)
		}
	case phaseHead:
		if c.word.Load() == seen.word {
			c.stopReading()
		}
	case phaseServing:
		if c.notes.word != seen.word {
			c.notes = notes{word: seen.word}
		}
		reading, writing := c.lookAtBody(now, passed), c.lookAtWrite(now)
		return !reading && !writing
	case phaseClosed:
	}
	return false
}

// stopReading makes the read under way, and those that follow, fail.
func (c *conn) stopReading() {
	c.late.Store(true)
	_ = c.sock.SetReadDeadline(time.Unix(1, 0)) // if it cannot be set, the connection is closed already
}

// lookAtBody keeps the rate of the body. It reports whether somebody waits for it.
func (c *conn) lookAtBody(now, passed time.Duration) bool {
	s, seen := c.server, &c.notes
	count := c.reading.Load()
	if count%2 == 0 {
		seen.readingSince = 0
		return false
	}
	if seen.readingSince == 0 || count != seen.reading {
		seen.reading, seen.readingSince = count, now
	}
	if c.ownRead.Load() {
		return true
	}
	// Only what is spent in reads counts: a client is not to blame for a handler
	// that takes its time.
	seen.waited += passed
	silent := now-seen.readingSince > s.IdleTimeout
	slow := false
	if over := seen.waited - s.BodyGrace; over > 0 && s.BodyRate > 0 && !c.relaxed.Load() {
		slow = float64(c.received.Load()) < over.Seconds()*float64(s.BodyRate)
	}
	if silent || slow {
		c.stopReading()
	}
	return true
}

// lookAtWrite keeps the time-out of writes. It reports whether one is under way.
func (c *conn) lookAtWrite(now time.Duration) bool {
	seen := &c.notes
	count := c.writing.Load()
	if count%2 == 0 {
		seen.writingSince = 0
		return false
	}
	if seen.writingSince == 0 || count != seen.writing {
		seen.writing, seen.writingSince = count, now
	}
	if now-seen.writingSince > c.server.WriteTimeout && !c.ownWrite.Load() {
		_ = c.sock.SetWriteDeadline(time.Unix(1, 0)) // if it cannot be set, the connection is closed already
	}
	return true
}

// restoreDeadlines takes back what the handler has set.
func (c *conn) restoreDeadlines() {
	c.relaxed.Store(false)
	c.ownRead.Store(false)
	c.ownWrite.Store(false)
	_ = c.sock.SetDeadline(time.Time{}) // if it cannot be set, the connection is closed already
}

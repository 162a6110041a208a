package front

import (
	"time"
)

// sweepEvery is how exact every time-out of the server is, and how soon a
// client that has gone is noticed at the latest, twice over.
const sweepEvery = 200 * time.Millisecond

// newConnGrace is how long Shutdown waits for the first byte of a connection.
const newConnGrace = time.Second

// sighting is what the sweeper remembers of a connection: it alone uses it.
type sighting struct {
	word             uint64
	since            time.Time // first seen with this word
	reading, writing uint32
	readingSince     time.Time // first seen in this read
	writingSince     time.Time
	waited           time.Duration // for the body, in this request
}

// sweep looks at every connection, again and again, until there is none. One
// goroutine and no timers: a request pays for all its time-outs with a few
// stores to its own connection.
func (s *Server) sweep() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	var batch []*conn
	var w watched
	last := time.Now()
	for {
		select {
		case <-ticker.C:
		case <-s.registry.last:
		}
		now := time.Now()
		s.setDate(now)
		for from := 0; ; from += len(batch) {
			batch = s.registry.batch(batch[:0], from)
			if len(batch) == 0 {
				break
			}
			for _, c := range batch {
				if word, watch := c.look(now, now.Sub(last)); watch {
					w.add(c, word)
				}
			}
			w.check()
		}
		clear(batch)
		last = now
		if s.registry.retireSweeper() {
			return
		}
	}
}

// look keeps the time-outs of a connection. It reports whether its client is
// to be watched, because a handler is running that neither reads nor writes, and
// the word by which the request is known.
func (c *conn) look(now time.Time, passed time.Duration) (word uint64, watch bool) {
	s, seen := c.server, &c.seen
	word = c.word.Load()
	if word != seen.word || seen.since.IsZero() {
		*seen = sighting{word: word, since: now}
	}
	stay := now.Sub(seen.since)
	switch phase(word) & phaseMask {
	case phaseNew:
		if stay > s.HeaderTimeout || s.closing.Load() && stay > newConnGrace && !c.dataWaits() {
			c.closeIf(phaseNew)
		}
	case phaseIdle:
		if stay > s.IdleTimeout || s.closing.Load() && !c.dataWaits() {
			c.closeIf(phaseIdle)
		}
	case phaseHead:
		if stay > s.HeaderTimeout && c.word.Load() == word {
			c.stopReading()
		}
	case phaseServing:
		reading, writing := c.lookAtBody(now, passed), c.lookAtWrite(now)
		return word, !reading && !writing && stay >= sweepEvery
	case phaseClosed:
	}
	return word, false
}

// stopReading makes the read under way, and those that follow, fail.
func (c *conn) stopReading() {
	c.late.Store(true)
	_ = c.sock.SetReadDeadline(time.Unix(1, 0)) // if it cannot be set, the connection is closed already
}

// lookAtBody keeps the rate of the body. It reports whether somebody waits for it.
func (c *conn) lookAtBody(now time.Time, passed time.Duration) bool {
	s, seen := c.server, &c.seen
	count := c.reading.Load()
	if count%2 == 0 {
		seen.readingSince = time.Time{}
		return false
	}
	if seen.readingSince.IsZero() || count != seen.reading {
		seen.reading, seen.readingSince = count, now
	}
	if c.ownRead.Load() {
		return true
	}
	// Only what is spent in reads counts: a client is not to blame for a handler
	// that takes its time.
	seen.waited += passed
	silent := now.Sub(seen.readingSince) > s.IdleTimeout
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
func (c *conn) lookAtWrite(now time.Time) bool {
	seen := &c.seen
	count := c.writing.Load()
	if count%2 == 0 {
		seen.writingSince = time.Time{}
		return false
	}
	if seen.writingSince.IsZero() || count != seen.writing {
		seen.writing, seen.writingSince = count, now
	}
	if now.Sub(seen.writingSince) > c.server.WriteTimeout && !c.ownWrite.Load() {
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

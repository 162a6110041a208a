package crs

import (
	"time"
)

// Gate bounds how many inspections that cost much run at once, so that requests
// which need the engine cannot take the machine from those that do not. It is
// safe for concurrent use, and shared by engines.
type Gate struct {
	places chan struct{}
	time   time.Duration
}

// NewGate returns a gate with places for that many inspections. An inspection
// takes at most as long as within says, waiting for its place included: after
// that it is given up. Zero of either bounds nothing.
func NewGate(places int, within time.Duration) *Gate {
	g := &Gate{time: within}
	if places > 0 {
		g.places = make(chan struct{}, places)
	}
	return g
}

// Busy is how many places are taken.
func (g *Gate) Busy() int { return len(g.places) }

// heavyBody is the size in bytes from which a body needs a place before it is
// looked at: the proof of a smaller one takes a millisecond or two.
const heavyBody = 16 << 10

// deadline is when an inspection that begins now has to be at an end; zero: never.
func (g *Gate) deadline() time.Time {
	if g == nil || g.time == 0 {
		return time.Time{}
	}
	return time.Now().Add(g.time)
}

// enter takes a place, and waits for one until the deadline, or until the client
// is gone. false: there was none.
func (g *Gate) enter(deadline time.Time, gone <-chan struct{}) bool {
	if g == nil || g.places == nil {
		return true
	}
	select {
	case g.places <- struct{}{}:
		return true
	default:
	}
	var late <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		late = t.C
	}
	select {
	case g.places <- struct{}{}:
		return true
	case <-late:
		return false
	case <-gone:
		return false
	}
}

func (g *Gate) leave() {
	if g != nil && g.places != nil {
		<-g.places
	}
}

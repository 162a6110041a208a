package upstream

import (
	"sync"
	"sync/atomic"
	"time"

	"sluice/conf"
)

// state is what is known about an endpoint's fitness. It changes seldom, so a
// lock guards it; Pick does not look here but into the table that was made from it.
type state struct {
	ejected atomic.Bool // ejectedUntil is to be looked at; written under mu

	mu           sync.Mutex
	healthy      bool // as the health checks say; true before the first
	answered     bool // the last check had an HTTP answer, or there was none
	good, bad    int  // checks in a row
	ejectedUntil time.Time
	ejectedFor   time.Duration // the last time
	ejections    uint64
	lastError    string
	owner        *Service // whose table is to be made anew; nil: not in use
}

func (s *state) available() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.healthy && !s.ejected.Load()
}

func (s *state) reachable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.healthy || s.answered
}

// own makes service the one whose table follows the state; nil for none.
func (s *state) own(service *Service) {
	s.mu.Lock()
	s.owner = service
	s.mu.Unlock()
}

// Ejection ends at the latest after this many times conf.Eject.For.
const mostEjectFactor = 10

// fail notes a failed exchange, and ejects the endpoint when there were as many in a row as
// the service allows.
func (e *Endpoint) fail(reason string) {
	e.failures.Add(1)
	streak := e.streak.Add(1)
	e.state.mu.Lock()
	e.state.lastError = reason
	owner := e.state.owner
	e.state.mu.Unlock()
	if owner == nil || owner.eject == nil || int(streak) < orDefault(owner.eject.Errors, 5) {
		return
	}
	if owner.ejectMember(e, time.Now()) {
		owner.rebuild()
	}
}

// ejectMember takes e out, unless too many are out already.
func (s *Service) ejectMember(e *Endpoint, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	share := float64(s.eject.Max)
	if share <= 0 {
		share = 0.5
	}
	out := 1
	for _, m := range s.members {
		if m.Endpoint != e && m.state.ejected.Load() {
			out++
		}
	}
	if out > int(share*float64(len(s.members))) {
		return false
	}
	return e.state.eject(s.eject, now, e)
}

func (s *state) eject(c *conf.Eject, now time.Time, e *Endpoint) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ejected.Load() {
		return false
	}
	base := c.For.Std()
	if base <= 0 {
		base = 30 * time.Second
	}
	// It doubles when the endpoint has not even lasted as long as it was out.
	again := s.ejectedFor > 0 && now.Sub(s.ejectedUntil) < s.ejectedFor
	if again {
		s.ejectedFor = min(2*s.ejectedFor, mostEjectFactor*base)
	} else {
		s.ejectedFor = base
	}
	s.ejectedUntil = now.Add(s.ejectedFor)
	s.ejections++
	s.ejected.Store(true)
	e.reg.log.Warn("upstream ejected", "service", e.id.service, "upstream", e.url,
		"for", s.ejectedFor, "error", s.lastError)
	return true
}

// readmit ends an ejection whose time is over.
func (e *Endpoint) readmit(now time.Time) {
	s := &e.state
	if !s.ejected.Load() {
		return
	}
	s.mu.Lock()
	over := !now.Before(s.ejectedUntil)
	if over {
		s.ejected.Store(false)
		e.streak.Store(0)
	}
	owner := s.owner
	s.mu.Unlock()
	if over {
		e.reg.log.Info("upstream readmitted", "service", e.id.service, "upstream", e.url)
		if owner != nil {
			owner.rebuild()
		}
	}
}

func orDefault(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

package admin

import (
	"net/netip"
	"sync"
	"time"
)

// Bounds of failed logins.
const (
	guessesAtOnce = 10              // from one address
	guessEvery    = 6 * time.Second // one more after that
	maxGuessers   = 4096            // addresses remembered
)

// guesses counts failed logins by address, an IPv6 one by its /64. The zero
// value is not ready: see newGuesses.
type guesses struct {
	now func() time.Time

	mu   sync.Mutex
	full map[netip.Prefix]time.Time // when all guesses are there again; guarded by mu
}

func newGuesses(now func() time.Time) *guesses {
	return &guesses{now: now, full: map[netip.Prefix]time.Time{}}
}

func guesser(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the zero Addr has the zero Prefix: one bucket for what has no address
	return p
}

// wait is how long the address has to wait before it may try again; 0: not.
func (g *guesses) wait(a netip.Addr) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	full, known := g.full[guesser(a)]
	if !known {
		return 0
	}
	return max(0, full.Sub(g.now())-(guessesAtOnce-1)*guessEvery)
}

// failed counts one failure.
func (g *guesses) failed(a netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	who, now := guesser(a), g.now()
	full, known := g.full[who]
	if !known && len(g.full) >= maxGuessers {
		g.forget(now)
	}
	if full.Before(now) {
		full = now
	}
	g.full[who] = full.Add(guessEvery)
}

// forget makes room: it drops who need not be remembered, or else those who
// wait the least.
func (g *guesses) forget(now time.Time) {
	var soonest netip.Prefix
	var when time.Time
	for who, full := range g.full {
		if !full.After(now) {
			delete(g.full, who)
		} else if when.IsZero() || full.Before(when) {
			soonest, when = who, full
		}
	}
	if len(g.full) >= maxGuessers {
		delete(g.full, soonest)
	}
}

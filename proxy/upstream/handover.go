package upstream

import (
	"encoding/json"
	"fmt"
	"time"
)

// handoverVersion is of the format; a successor ignores one that it does not know.
const handoverVersion = 1

// fitness is what a successor process need not learn anew about an endpoint.
type fitness struct {
	Service      string        `json:"service"`
	URL          string        `json:"url"`
	Healthy      bool          `json:"healthy"`
	Answered     bool          `json:"answered"`
	Streak       uint32        `json:"streak,omitempty"`
	EjectedUntil time.Time     `json:"ejected_until,omitzero"`
	EjectedFor   time.Duration `json:"ejected_for,omitempty"` // nanoseconds
	LastError    string        `json:"last_error,omitempty"`
}

type handover struct {
	Version   int       `json:"version"`
	Endpoints []fitness `json:"endpoints"`
}

// Export returns health and ejections of the endpoints in use for a successor
// process, which then sends its first request where this one would have.
func (r *Registry) Export() []byte {
	r.mu.Lock()
	h := handover{Version: handoverVersion}
	for _, e := range r.used {
		h.Endpoints = append(h.Endpoints, e.fitness())
	}
	r.mu.Unlock()
	text, err := json.Marshal(h)
	if err != nil {
		panic("BUG: a handover does not marshal: " + err.Error())
	}
	return text
}

func (e *Endpoint) fitness() fitness {
	s := &e.state
	s.mu.Lock()
	defer s.mu.Unlock()
	f := fitness{
		Service: e.id.service, URL: e.url, Healthy: s.healthy, Answered: s.answered,
		Streak: e.streak.Load(), EjectedFor: s.ejectedFor, LastError: s.lastError,
	}
	if s.ejected.Load() {
		f.EjectedUntil = s.ejectedUntil
	}
	return f
}

// Import takes in what a predecessor exported. Call it before the first Service,
// whose endpoints begin with it. An error means that nothing was taken in, and does
// no harm: the state is then learnt anew.
func (r *Registry) Import(data []byte) error {
	var h handover
	if err := json.Unmarshal(data, &h); err != nil {
		return fmt.Errorf("upstream: import health: %w", err)
	}
	if h.Version != handoverVersion {
		return fmt.Errorf("upstream: import health: version %d is not known", h.Version)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inherited = make(map[[2]string]fitness, len(h.Endpoints))
	for _, f := range h.Endpoints {
		r.inherited[[2]string{f.Service, f.URL}] = f
	}
	return nil
}

// inherit gives a new endpoint the state that its like had in the predecessor.
// r.mu is held.
func (r *Registry) inherit(e *Endpoint) {
	f, known := r.inherited[[2]string{e.id.service, e.url}]
	if !known {
		return
	}
	s := &e.state
	s.mu.Lock()
	defer s.mu.Unlock()
	s.healthy, s.answered, s.lastError = f.Healthy, f.Answered, f.LastError
	e.streak.Store(f.Streak)
	if !f.EjectedUntil.IsZero() {
		s.ejectedUntil, s.ejectedFor = f.EjectedUntil, f.EjectedFor
		s.ejected.Store(true)
	}
}

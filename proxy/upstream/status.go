package upstream

import (
	"slices"
	"strings"
	"time"
)

// ServiceStatus is the state of a service at one moment.
type ServiceStatus struct {
	Name      string           `json:"name"`
	Balance   string           `json:"balance"`
	Panic     bool             `json:"panic"` // none is available, so that unhealthy ones are tried
	Endpoints []EndpointStatus `json:"endpoints"`
}

// The values of EndpointStatus.State.
const (
	Healthy   = "healthy" // or not checked
	Unhealthy = "unhealthy"
	Ejected   = "ejected"
)

// EndpointStatus is the state of an endpoint at one moment.
type EndpointStatus struct {
	URL          string    `json:"url"`
	State        string    `json:"state"`
	Weight       int       `json:"weight"`
	Inflight     int       `json:"inflight"` // exchanges under way, tunnels included
	Connections  int       `json:"connections"`
	Idle         int       `json:"idle"`
	Waiting      int       `json:"waiting"` // for a connection
	Exchanges    uint64    `json:"exchanges"`
	Failures     uint64    `json:"failures"` // by the upstream's fault; 502, 503 and 504 included
	Ejections    uint64    `json:"ejections"`
	EjectedUntil time.Time `json:"ejected_until,omitzero"`
	LastError    string    `json:"last_error,omitempty"` // of the last failed check or exchange
}

// Snapshot describes the services in use, by name. Connections of HTTP/2 are not counted.
func (r *Registry) Snapshot() []ServiceStatus {
	r.mu.Lock()
	services := r.services
	r.mu.Unlock()
	list := make([]ServiceStatus, 0, len(services))
	for _, s := range services {
		status := ServiceStatus{Name: s.name, Balance: s.balance.String(), Panic: s.table.Load().panic}
		for _, m := range s.members {
			status.Endpoints = append(status.Endpoints, m.status(m.weight))
		}
		list = append(list, status)
	}
	slices.SortFunc(list, func(a, b ServiceStatus) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (e *Endpoint) status(weight int) EndpointStatus {
	load := e.load.Load()
	s := EndpointStatus{
		URL: e.url, State: Healthy, Weight: weight,
		Inflight: int(load & (1<<loadBits - 1)), Exchanges: load >> loadBits,
		Connections: int(e.pool.open.Load()), Idle: e.pool.idle(), Waiting: int(e.pool.waiting.Load()),
		Failures: e.failures.Load(),
	}
	e.state.mu.Lock()
	defer e.state.mu.Unlock()
	s.Ejections, s.LastError = e.state.ejections, e.state.lastError
	switch {
	case e.state.ejected.Load():
		s.State, s.EjectedUntil = Ejected, e.state.ejectedUntil
	case !e.state.healthy:
		s.State = Unhealthy
	}
	return s
}

package upstream

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"sluice/conf"
)

// Service is a compiled group of endpoints. What was configured is immutable;
// endpoints, and what lives in group, are shared with the services that were
// compiled under the same name before and after.
type Service struct {
	name    string
	balance balance
	members []member
	group   *group
	health  *conf.Health
	eject   *conf.Eject
	conns   int
	idle    int
	retries conf.Percent

	mu    sync.Mutex // held while a table is made
	table atomic.Pointer[table]
}

// member is an endpoint with its weight in one service.
type member struct {
	*Endpoint
	weight int
}

// group is what outlives the services of one name.
type group struct {
	budget Budget
	next   atomic.Uint32 // turn of round_robin
}

// table is what Pick chooses from; a new one is made when an endpoint comes or goes.
type table struct {
	members []member
	turns   []uint16 // indexes into members: the smooth weighted order
	panic   bool     // none was available
}

func newService(name string, c conf.Service, g *group, endpoint func(identity) (*Endpoint, error)) (*Service, error) {
	if len(c.Upstreams) == 0 {
		return nil, fmt.Errorf("service %s has no upstreams", name)
	}
	b, err := parseBalance(c.Balance)
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", name, err)
	}
	s := &Service{name: name, balance: b, group: g, health: c.Health, eject: c.Eject, conns: c.MaxConns, idle: c.MaxIdle}
	for _, u := range c.Upstreams {
		id := identity{service: name, url: u.URL, protocol: c.Protocol}
		if c.TLS != nil {
			id.tls = *c.TLS
		}
		weight := max(1, u.Weight)
		if i := slices.IndexFunc(s.members, func(m member) bool { return m.id == id }); i >= 0 {
			s.members[i].weight += weight // listed twice: twice the share
			continue
		}
		e, err := endpoint(id)
		if err != nil {
			return nil, fmt.Errorf("service %s: upstream %s: %w", name, u.URL, err)
		}
		s.members = append(s.members, member{e, weight})
	}
	s.rebuild()
	return s, nil
}

// Name returns the service's name.
func (s *Service) Name() string { return s.name }

// Budget returns the service's retry budget, which lives on over reloads.
func (s *Service) Budget() *Budget { return &s.group.budget }

// rebuild makes the table anew from the state of the endpoints.
//
// Endpoints that are healthy and not ejected are available. When there is none,
// every endpoint that at least answered its last health check is: an ejected one
// may well work again, and an HTTP status that is not the expected one is more
// often a wrong path than the end of a service. (Envoy's panic threshold, nginx
// and most cloud load balancers fail open alike.) When all refuse even a connection there
// is nothing to be tried, as with HAProxy.
func (s *Service) rebuild() {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := new(table)
	for _, m := range s.members {
		if m.state.available() {
			t.members = append(t.members, m)
		}
	}
	if len(t.members) == 0 {
		t.panic = true
		for _, m := range s.members {
			if m.state.reachable() {
				t.members = append(t.members, m)
			}
		}
	}
	t.turns = turns(t.members)
	s.table.Store(t)
}

// Pick chooses the endpoint for a try. hash decides under balance: hash (any
// well-mixed 64-bit hash of what shall stay together). tried, which may be nil,
// are those that failed this request before: they are chosen again only when no
// other is left.
//
// When no endpoint is available, those are chosen from that at least answered
// their last health check, or were only ejected: a wrong health path must not be
// an outage. When not even one is reachable, the error is [ErrNoUpstream].
func (s *Service) Pick(hash uint64, tried *Tried) (*Endpoint, error) {
	t := s.table.Load()
	switch len(t.members) {
	case 0:
		return nil, ErrNoUpstream
	case 1:
		return t.members[0].Endpoint, nil
	}
	if tried != nil && tried.n >= len(t.members) && tried.all(t.members) {
		tried = nil
	}
	return t.pick(s.balance, s.group, hash, tried), nil
}

// Tried remembers the endpoints that one request has been sent to. The zero
// value is empty; of more than eight it forgets the first.
type Tried struct {
	list [8]*Endpoint
	n    int
}

// Add notes e.
func (t *Tried) Add(e *Endpoint) {
	t.list[t.n%len(t.list)] = e
	t.n++
}

// Reset empties it.
func (t *Tried) Reset() { *t = Tried{} }

func (t *Tried) has(e *Endpoint) bool {
	if t == nil {
		return false
	}
	for _, x := range t.list[:min(t.n, len(t.list))] {
		if x == e {
			return true
		}
	}
	return false
}

func (t *Tried) all(members []member) bool {
	for _, m := range members {
		if !t.has(m.Endpoint) {
			return false
		}
	}
	return true
}

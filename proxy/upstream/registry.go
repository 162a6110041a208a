package upstream

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sluice/conf"
)

// Options configure a Registry. The zero value is usable.
type Options struct {
	// TLS makes the configuration for a host of an https upstream; NextProtos is
	// set by the registry. nil: the system's authorities, TLS 1.2 and up.
	TLS func(c conf.UpstreamTLS, host string) (*tls.Config, error)
	// Dial makes the connections. nil: a net.Dialer, which tries every address of
	// a name (RFC 8305).
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Log takes changes of health and ejections. nil: discarded.
	Log *slog.Logger
	// HeadBytes bounds a response head. Default: 64 KiB
	HeadBytes int
	// IdleTimeout closes connections that have been idle for longer. Default: 60s
	IdleTimeout time.Duration
	// MaxAge is how long a connection is used again after it was made, so that
	// upstreams behind a name or a balancer that changes get their share. Default: 1h
	MaxAge time.Duration
}

// Registry owns what outlives a configuration: endpoints with their connections,
// health and ejections, and the goroutines that watch over them. Its methods
// are safe for concurrent use.
type Registry struct {
	opts  Options
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	log   *slog.Logger
	clock atomic.Int64 // nanoseconds since Run, at the last tick

	mu       sync.Mutex      // guards the following
	running  context.Context // nil unless Run is running
	services []*Service
	groups   map[string]*group
	used     map[identity]*Endpoint
	checks   map[*Endpoint]*checker
	watched  map[*Endpoint]struct{} // the ticker looks at these
	workers  sync.WaitGroup

	inherited map[[2]string]fitness // by service and URL; nil after the first Use
}

// checker is the running health check of an endpoint.
type checker struct {
	conf conf.Health
	stop context.CancelFunc
}

// NewRegistry returns an empty registry. It starts nothing.
func NewRegistry(o Options) *Registry {
	r := &Registry{
		opts: o, dial: o.Dial, log: o.Log,
		groups: make(map[string]*group), used: make(map[identity]*Endpoint),
		checks: make(map[*Endpoint]*checker), watched: make(map[*Endpoint]struct{}),
	}
	if r.dial == nil {
		r.dial = new(net.Dialer).DialContext
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.opts.IdleTimeout <= 0 {
		r.opts.IdleTimeout = time.Minute
	}
	if r.opts.MaxAge <= 0 {
		r.opts.MaxAge = time.Hour
	}
	return r
}

// Service compiles c. It borrows the endpoints that live under the same name with
// the same URL, protocol and TLS settings, and makes the others. It starts and
// dials nothing and leaves no trace if its result is never used.
func (r *Registry) Service(name string, c conf.Service) (*Service, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.groups[name]
	if g == nil {
		g = new(group)
	}
	s, err := newService(name, c, g, func(id identity) (*Endpoint, error) {
		if e := r.used[id]; e != nil {
			return e, nil
		}
		e, err := newEndpoint(r, id)
		if err == nil {
			r.inherit(e)
		}
		return e, err
	})
	if err != nil {
		return nil, err
	}
	s.retries = c.Retry.Budget
	if r.groups[name] == nil {
		g.budget.set(c.Retry.Budget)
	}
	return s, nil
}

// Use makes services the ones in use: health checks of new endpoints start, and
// endpoints that are in none of them are retired: their idle connections are
// closed now, the others when their exchange ends.
func (r *Registry) Use(services []*Service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.used
	r.services, r.inherited = services, nil
	r.used = make(map[identity]*Endpoint)
	r.groups = make(map[string]*group)
	for _, s := range services {
		r.groups[s.name] = s.group
		s.group.budget.set(s.retries)
		for _, m := range s.members {
			e := m.Endpoint
			r.used[e.id] = e
			r.watch(e)
			e.pool.limit(s.conns, s.idle)
			e.state.own(s)
			r.check(e, s.health)
		}
		s.rebuild()
	}
	for id, e := range old {
		if r.used[id] != e {
			e.state.own(nil)
			r.check(e, nil)
			e.retire()
		}
	}
}

// check makes the health check of e be the one that c describes; nil: none. r.mu is held.
func (r *Registry) check(e *Endpoint, c *conf.Health) {
	old := r.checks[e]
	if old != nil && (c == nil || old.conf != *c) {
		if old.stop != nil {
			old.stop()
		}
		delete(r.checks, e)
		old = nil
	}
	if c == nil {
		e.state.trusted()
		return
	}
	if old == nil {
		old = &checker{conf: *c}
		r.checks[e] = old
	}
	r.startCheck(e, old)
}

// startCheck starts a checker, if Run is running and it is not. r.mu is held.
func (r *Registry) startCheck(e *Endpoint, c *checker) {
	if c.stop != nil || r.running == nil {
		return
	}
	var ctx context.Context
	ctx, c.stop = context.WithCancel(r.running)
	r.workers.Go(func() { e.checkHealth(ctx, c.conf) })
}

// watch makes the ticker look at e. r.mu is held.
func (r *Registry) watch(e *Endpoint) {
	r.watched[e] = struct{}{}
	e.adopted.Store(true)
}

// adopt makes the ticker look at e: it has connections.
func (r *Registry) adopt(e *Endpoint) {
	r.mu.Lock()
	r.watch(e)
	r.mu.Unlock()
}

// Run watches over exchanges (time-outs, contexts, idle connections) and checks
// health until ctx ends; every connection is then closed, so exchanges that are
// still under way fail. Without Run, exchanges work but for time-outs, for
// noticing that their context ended, and for the end of ejections. It is called once.
func (r *Registry) Run(ctx context.Context) error {
	r.mu.Lock()
	r.running = ctx
	for e, c := range r.checks {
		r.startCheck(e, c)
	}
	r.mu.Unlock()

	t := time.NewTicker(tick)
	defer t.Stop()
	begun := time.Now()
	evict := begun
	var endpoints []*Endpoint
	for {
		select {
		case <-ctx.Done():
			r.shutdown()
			return nil
		case <-t.C:
		}
		now := time.Now()
		r.clock.Store(int64(now.Sub(begun)))
		endpoints = r.watchedNow(endpoints[:0])
		for _, e := range endpoints {
			e.check(now)
		}
		if now.Sub(evict) >= time.Second {
			evict = now
			before := int64(now.Sub(begun) - r.opts.IdleTimeout)
			for _, e := range endpoints {
				e.pool.evict(before)
			}
		}
	}
}

// watchedNow appends the endpoints to look at, and forgets those of which nothing is left.
func (r *Registry) watchedNow(list []*Endpoint) []*Endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	for e := range r.watched {
		if e.gone() {
			e.adopted.Store(false)
			delete(r.watched, e)
			continue
		}
		list = append(list, e)
	}
	return list
}

// shutdown closes everything, and waits for the checkers.
func (r *Registry) shutdown() {
	r.mu.Lock()
	r.running = nil
	for _, c := range r.checks {
		if c.stop != nil {
			c.stop()
		}
	}
	for e := range r.watched {
		e.pool.abort()
		e.watches.each(func(w *watch) { w.fail(Canceled) })
		e.h2.retire()
	}
	r.mu.Unlock()
	r.workers.Wait()
}

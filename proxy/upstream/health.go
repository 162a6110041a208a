package upstream

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"sluice/conf"
)

// probeBodyMost is how much of a health answer is read before the connection is given up.
const probeBodyMost = 64 << 10

// checkHealth asks the endpoint again and again until ctx ends.
func (e *Endpoint) checkHealth(ctx context.Context, c conf.Health) {
	interval := c.Interval.Std()
	if interval <= 0 {
		interval = 5 * time.Second
	}
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		status, err := e.probeHealth(ctx, c)
		if ctx.Err() != nil {
			return
		}
		e.noteCheck(c, status, err)
		// A tenth either way, so that many nodes do not ask at the same moment.
		t.Reset(time.Duration(float64(interval) * (0.9 + 0.2*rand.Float64())))
	}
}

// probeHealth asks once, on a connection of its own where that is HTTP/1.1: a
// health check says whether the upstream accepts connections, too, and does
// not fail because the pool is exhausted.
func (e *Endpoint) probeHealth(ctx context.Context, c conf.Health) (status int, err error) {
	most := c.Timeout.Std()
	if most <= 0 {
		most = 2 * time.Second
	}
	path := c.Path
	if path == "" {
		path = "/health"
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	out := Request{Method: http.MethodGet, Target: path, Set: []Field{{"User-Agent", "sluice-health"}}, Timeouts: Timeouts{Connect: most}}
	if out.Target[0] != '/' {
		out.Target = "/" + out.Target
	}
	var in Response
	in.e, in.probe = e, true
	if f := in.doProbe(ctx, &out); f != nil {
		return 0, f
	}
	defer in.Close()
	io.Copy(io.Discard, io.LimitReader(&in, probeBodyMost))
	return in.Status, nil
}

// doProbe is do outside the pool's limits.
func (in *Response) doProbe(ctx context.Context, out *Request) *Error {
	e := in.e
	if e.speaksHTTP2() {
		return in.doHTTP2(ctx, out)
	}
	message, err := e.compose(nil, out)
	if err != nil {
		return &Error{Kind: Invalid, Cause: err}
	}
	c, err := e.dial(ctx, out.Timeouts.Connect, true)
	if err == errIsHTTP2 {
		return in.doHTTP2(ctx, out)
	}
	if err != nil {
		return connectFailure(ctx, err)
	}
	c.once = true
	e.pool.open.Add(1)
	e.pool.add(c)
	stop := context.AfterFunc(ctx, func() { c.sock.Close() })
	defer stop()
	f, _ := in.try(ctx, c, out, message)
	return f
}

// noteCheck counts a check, and turns the state over when enough agree.
func (e *Endpoint) noteCheck(c conf.Health, status int, err error) {
	s := &e.state
	s.mu.Lock()
	was, wasReachable := s.healthy, s.answered
	s.answered = err == nil
	if err == nil && status >= 200 && status < 400 {
		s.good, s.bad = s.good+1, 0
		if s.good >= orDefault(c.Healthy, 1) {
			s.healthy = true
		}
	} else {
		s.good, s.bad = 0, s.bad+1
		if err == nil {
			err = fmt.Errorf("status %d", status)
		}
		s.lastError = "health check: " + err.Error()
		if s.bad >= orDefault(c.Unhealthy, 2) {
			s.healthy = false
		}
	}
	is, changed, owner := s.healthy, s.healthy != was || s.answered != wasReachable, s.owner
	reason := s.lastError
	s.mu.Unlock()
	if is != was {
		if is {
			e.reg.log.Info("upstream healthy", "service", e.id.service, "upstream", e.url)
		} else {
			e.reg.log.Warn("upstream unhealthy", "service", e.id.service, "upstream", e.url, "error", reason)
		}
	}
	if changed && owner != nil {
		owner.rebuild()
	}
}

// trusted forgets what health checks said: the service has none any more.
func (s *state) trusted() {
	s.mu.Lock()
	s.healthy, s.answered, s.good, s.bad = true, true, 0, 0
	s.mu.Unlock()
}

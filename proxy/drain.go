package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/telemetry"
)

// A drain ends what a process, or one listener, still has, so that no client
// notices more than it must:
//
//	at once   the socket is closed; every answer says Connection: close, and to
//	          HTTP/2 GOAWAY
//	idle      connections that wait for their next request may have sent it
//	          already: they get until then, and are closed after
//	limit     WebSockets are closed with 1001, event streams end, as after their
//	          last event
//	the end   what is left is cut off
//
// The first and second step are the listeners'; app calls EndStreams at the limit.

// drainPoll is how often a drain looks whether there is anything left.
const drainPoll = 20 * time.Millisecond

// closing is what an answer says on a listener that drains.
var closing = []string{"close"}

// stopAccepting closes the socket and waits until its server has taken in what it
// had accepted.
func (o *listening) stopAccepting() {
	o.at.closing.Store(true)
	o.stopping.Store(true)
	o.socket.Close()
	<-o.ended
}

// drain ends o. Connections have idle to send a last request. When ctx ends first
// the rest is cut off, and that is an error.
func (l *Listeners) drain(ctx context.Context, o *listening, idle time.Duration) error {
	o.stopAccepting()
	await(ctx, idle, func() bool { return o.engine.connections() == 0 })
	if err := o.engine.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("listener %s: %w", o.conf.Address, err), o.engine.Close())
	}
	return nil
}

// await returns when done says so, after at most for, or with ctx. It reports
// whether done said so.
func await(ctx context.Context, most time.Duration, done func() bool) bool {
	timeout := time.NewTimer(most)
	defer timeout.Stop()
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for {
		if done() {
			return true
		}
		select {
		case <-tick.C:
		case <-timeout.C:
			return done()
		case <-ctx.Done():
			return done()
		}
	}
}

// retireIdle is how long the idle connections of a listener that a reload took
// away or renewed may still send a request.
const retireIdle = 5 * time.Second

// retire stops accepting on o and lets its requests finish, however long that
// takes: a reload cuts off nothing. l.mu is held.
func (l *Listeners) retire(o *listening) {
	l.retired[o] = struct{}{}
	o.stopAccepting()
	go func() {
		if err := l.drain(context.Background(), o, retireIdle); err != nil {
			l.log.Warn("listener did not stop cleanly", telemetry.KeyListener, o.conf.Address, telemetry.KeyError, err)
		}
		l.mu.Lock()
		delete(l.retired, o)
		l.mu.Unlock()
	}()
}

// Drain stops accepting, tells connections to close and waits for requests under
// way; connections that are idle have the time idle to send a last one. When ctx
// ends first, what is left is cut off, and that is an error.
func (l *Listeners) Drain(ctx context.Context, idle time.Duration) error {
	l.mu.Lock()
	errs := make(chan error)
	n := len(l.open) + len(l.retired)
	for _, o := range l.open {
		go func() { errs <- l.drain(ctx, o, idle) }()
	}
	for o := range l.retired {
		go func() { errs <- l.drain(ctx, o, 0) }()
	}
	l.mu.Unlock()
	var all error
	for range n {
		all = errors.Join(all, <-errs)
	}
	return all
}

// Kinds of streams, as metrics show them.
const (
	StreamWebSocket = "websocket"
	StreamEvents    = "events" // Server-Sent Events
	StreamTunnel    = "tunnel" // any other protocol after 101
)

// stream is an exchange that lasts until one side wants to end it.
type stream interface {
	kind() string
	// end ends it in the way of its protocol. It does not block and may be called
	// again.
	end()
}

// streams are those under way, so that a drain can end them.
type streams struct {
	mu     sync.Mutex // guards open and closed
	open   map[stream]struct{}
	closed bool
}

// add takes s in. It returns false when streams have been ended: s must end too.
func (s *streams) add(one stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.open == nil {
		s.open = make(map[stream]struct{})
	}
	s.open[one] = struct{}{}
	return true
}

func (s *streams) remove(one stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, one)
}

// count returns the number of open streams of each kind, zeros included.
func (s *streams) count() map[string]int {
	n := map[string]int{StreamWebSocket: 0, StreamEvents: 0, StreamTunnel: 0}
	s.mu.Lock()
	defer s.mu.Unlock()
	for one := range s.open {
		n[one.kind()]++
	}
	return n
}

// endAll ends every stream and admits no more.
func (s *streams) endAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for one := range s.open {
		one.end()
	}
}

// Streams returns how many exchanges without a foreseeable end are open, by kind.
func (g *Gateway) Streams() map[string]int { return g.streams.count() }

// EndStreams ends the streams that are open, each in the way of its protocol, and
// those that begin from now on.
func (g *Gateway) EndStreams() { g.streams.endAll() }

// AwaitStreams returns when no stream is open, or with ctx.
func (g *Gateway) AwaitStreams(ctx context.Context) {
	await(ctx, 1<<62, func() bool {
		g.streams.mu.Lock()
		defer g.streams.mu.Unlock()
		return len(g.streams.open) == 0
	})
}

// events is a stream of Server-Sent Events.
type events struct {
	ctx    context.Context // of the exchange with the upstream
	cancel context.CancelFunc
	over   atomic.Bool // end was called
}

func newEvents(ctx context.Context) *events {
	s := new(events)
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s
}

func (*events) kind() string { return StreamEvents }

func (s *events) end() {
	s.over.Store(true)
	s.cancel()
}

// isEvents reports whether h is that of an event stream.
func isEvents(h http.Header) bool {
	v := h["Content-Type"]
	return len(v) > 0 && strings.HasPrefix(v[0], "text/event-stream")
}

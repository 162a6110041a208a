package proxy

import (
	"io"
	"net"
	"net/http"
	"sync"
)

// tunnel joins client and upstream after 101 Switching Protocols: bytes go
// both ways, untouched, until one side ends or falls silent for the idle time.
func (g *Gateway) tunnel(e *exchange) {
	h := e.in.Header
	e.setResponseHeaders(h)
	back, err := e.in.Hijack()
	if err != nil {
		clear(h)
		g.answer(e, refuseCause(codeUpstreamMalformed, err))
		return
	}
	defer back.Close()
	// The 101 goes out through the server, which knows how to write a head; the
	// connection is ours afterwards.
	e.respond(http.StatusSwitchingProtocols, "upstream")
	control := http.NewResponseController(e.w)
	front, buffered, err := control.Hijack()
	if err != nil {
		e.record.Error, e.abort = err.Error(), true
		return
	}
	defer front.Close()
	t := &tunnelled{front: front, back: back}
	if !g.tunnels.add(t) {
		return // draining: no new tunnels
	}
	defer g.tunnels.remove(t)

	var early io.Reader
	if n := buffered.Reader.Buffered(); n > 0 {
		early = io.LimitReader(buffered.Reader, int64(n))
	}
	e.tunnelled = true
	up, down := t.join(early)
	e.body.read += up
	e.wrote += down
}

// tunnelled is one joined pair of connections.
type tunnelled struct{ front, back net.Conn }

// join copies both ways until both directions have ended, and returns how much
// went each way. When one side ends its half, the other is told so; when a copy
// fails, both are closed.
func (t *tunnelled) join(early io.Reader) (up, down int64) {
	var wg sync.WaitGroup
	wg.Go(func() {
		var n int64
		var err error
		if early != nil {
			n, err = io.Copy(t.back, early)
		}
		if err == nil {
			var m int64
			m, err = io.Copy(t.back, t.front)
			n += m
		}
		up = n
		t.finish(t.back, err)
	})
	n, err := io.Copy(t.front, t.back)
	down = n
	t.finish(t.front, err)
	wg.Wait()
	return up, down
}

// finish ends the direction towards dst.
func (t *tunnelled) finish(dst net.Conn, err error) {
	if half, ok := dst.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
		return
	}
	t.close()
}

func (t *tunnelled) close() {
	t.front.Close()
	t.back.Close()
}

// tunnels are those under way, so that a drain can end them.
type tunnels struct {
	mu     sync.Mutex // guards open and closed
	open   map[*tunnelled]struct{}
	closed bool
}

func (s *tunnels) add(t *tunnelled) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.open == nil {
		s.open = make(map[*tunnelled]struct{})
	}
	s.open[t] = struct{}{}
	return true
}

func (s *tunnels) remove(t *tunnelled) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, t)
}

func (s *tunnels) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// closeAll ends every tunnel and admits no more.
func (s *tunnels) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for t := range s.open {
		t.close()
	}
}

package front

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"sluice/proxy/h1"
)

// prefaceHead is how an HTTP/2 connection begins: it looks like a head, so that an
// HTTP/1.1 server refuses it (RFC 9113 §3.4).
const prefaceHead = "PRI * HTTP/2.0\r\n\r\n"

// handover gives connections to net/http's server, which speaks HTTP/2. The
// server is started by the first of them.
type handover struct {
	front *Server
	http  *http.Server
	conns chan net.Conn
	done  chan struct{}
	start sync.Once
	stop  sync.Once
	open  atomic.Int64 // connections
}

func newHandover(s *Server) *handover {
	h := &handover{front: s, http: s.HTTP2, conns: make(chan net.Conn), done: make(chan struct{})}
	if h.http == nil {
		protocols := new(http.Protocols)
		protocols.SetHTTP2(true)
		protocols.SetUnencryptedHTTP2(s.H2C)
		h.http = &http.Server{
			Handler:           s.Handler,
			ReadHeaderTimeout: s.HeaderTimeout,
			IdleTimeout:       s.IdleTimeout,
			MaxHeaderBytes:    orDefault(s.Limits.HeadBytes, h1.DefaultHeadBytes),
			ErrorLog:          s.ErrorLog,
			Protocols:         protocols,
		}
	}
	others := h.http.ConnState
	h.http.ConnState = func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			h.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			h.open.Add(-1)
		case http.StateActive, http.StateIdle:
		}
		if others != nil {
			others(c, state)
		}
	}
	return h
}

// take hands c over. What it has received already is played back, after seen.
func (h *handover) take(c *conn, seen string) {
	h.start.Do(func() {
		h.front.sweeping.Go(func() { _ = h.http.Serve(h) }) // ends with Accept, which fails at the end only
	})
	c.given = true
	c.enter(phaseClosed)
	c.server.registry.remove(c)
	sock := c.sock
	if seen = seen + string(c.in.Buffered()); seen != "" {
		sock = &replayed{Conn: sock, seen: seen}
	}
	c.in.Discard(len(c.in.Buffered()))
	c.in.Reset(nil)
	select {
	case h.conns <- sock:
	case <-h.done:
		_ = sock.Close() // the server has ended
	}
}

// Accept implements [net.Listener].
func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (h *handover) Close() error {
	h.stop.Do(func() { close(h.done) })
	return nil
}

// Addr implements [net.Listener].
func (h *handover) Addr() net.Addr { return &net.TCPAddr{} }

func (h *handover) shutdown(ctx context.Context) error {
	_ = h.Close() // never fails
	return h.http.Shutdown(ctx)
}

func (h *handover) close() error {
	_ = h.Close() // never fails
	return h.http.Close()
}

// replayed is a connection whose first bytes have been read already.
type replayed struct {
	net.Conn
	seen string
}

// Read implements [net.Conn].
func (r *replayed) Read(p []byte) (int, error) {
	if r.seen != "" {
		n := copy(p, r.seen)
		r.seen = r.seen[n:]
		return n, nil
	}
	return r.Conn.Read(p)
}

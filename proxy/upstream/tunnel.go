package upstream

import (
	"bytes"
	"net"
	"net/http"
	"sync"
)

// Hijack takes the connection over after status 101. What the upstream has sent
// already comes out of its Read first. The watch stays: Timeouts.Idle bounds the
// silence on it, and the end of the context closes it. Close of the connection
// ends the exchange; Close of the response is then not needed, and does nothing.
func (in *Response) Hijack() (net.Conn, error) {
	if in.Status != http.StatusSwitchingProtocols || in.c == nil {
		return nil, net.ErrClosed
	}
	t := &tunnel{Conn: in.c.nc, c: in.c, e: in.e, early: bytes.Clone(in.r.Buffered())}
	in.c, in.e, in.counted = nil, nil, false
	in.releaseReader()
	return t, nil
}

// tunnel is a connection that speaks another protocol now. It still counts as
// one of its pool, and as an exchange under way.
type tunnel struct {
	net.Conn
	c     *conn
	e     *Endpoint
	early []byte // read before the take-over
	once  sync.Once
	err   error
}

// Read reads from the upstream.
func (t *tunnel) Read(p []byte) (int, error) {
	if len(t.early) > 0 {
		n := copy(p, t.early)
		t.early = t.early[n:]
		return n, nil
	}
	n, err := t.Conn.Read(p)
	t.c.watch.progress()
	return n, err
}

// Write writes to the upstream.
func (t *tunnel) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	t.c.watch.progress()
	return n, err
}

// CloseWrite says goodbye in one direction.
func (t *tunnel) CloseWrite() error {
	if c, ok := t.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return t.Close()
}

// Close ends the tunnel.
func (t *tunnel) Close() error {
	t.once.Do(func() {
		t.c.watch.end()
		t.err = t.Conn.Close()
		t.c.pool.drop(t.c)
		t.e.load.Add(loadEnd)
	})
	return t.err
}

package front

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// requestContext is the context of a request: it ends when the handler returns,
// or when the client goes away. It serves one request after another as long as nobody
// has asked for its Done channel; once somebody has, it ends with that request for good and the
// exchange takes a new one, so that what was derived from it never sees another request.
type requestContext struct {
	ended atomic.Bool // Err without a lock

	mu    sync.Mutex    // guards what follows
	conn  *conn         // whose request it is; nil between requests
	done  chan struct{} // made when it is asked for
	after map[*afterFunc]struct{}
}

type afterFunc struct{ f func() }

var _ context.Context = (*requestContext)(nil)

// Deadline implements [context.Context]: there is none.
func (*requestContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Err implements [context.Context].
func (x *requestContext) Err() error {
	if x.ended.Load() {
		return context.Canceled
	}
	return nil
}

// Done implements [context.Context].
func (x *requestContext) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done == nil {
		x.done = make(chan struct{})
		if x.ended.Load() {
			close(x.done)
		}
	}
	return x.done
}

// Value implements [context.Context], with the keys of net/http. The server is
// the one that serves HTTP/2.
func (x *requestContext) Value(key any) any {
	switch key {
	case http.LocalAddrContextKey, http.ServerContextKey:
	default:
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.conn == nil {
		return nil
	}
	if key == http.ServerContextKey {
		return x.conn.server.h2.http
	}
	return net.Addr(x.conn.sock.LocalAddr())
}

// AfterFunc has f called in a goroutine of its own once the context has ended. The
// contexts derived from this one use it, instead of a goroutine each that waits for Done.
func (x *requestContext) AfterFunc(f func()) (stop func() bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended.Load() {
		go f()
		return func() bool { return false }
	}
	a := &afterFunc{f}
	if x.after == nil {
		x.after = make(map[*afterFunc]struct{})
	}
	x.after[a] = struct{}{}
	return func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		_, pending := x.after[a]
		delete(x.after, a)
		return pending
	}
}

// begin makes it the context of a request on c.
func (x *requestContext) begin(c *conn) {
	x.mu.Lock()
	x.conn = c
	x.mu.Unlock()
	c.request.Store(x)
}

// end ends the request. It reports whether x can serve another.
func (x *requestContext) end() (reusable bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.conn = nil
	if x.done == nil && len(x.after) == 0 {
		x.ended.Store(false)
		return true
	}
	x.cancelLocked()
	return false
}

// cancel ends the context early, because the client of c has gone.
func (x *requestContext) cancel() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cancelLocked()
}

// cancelIf is cancel, if x is still the context of the request that c served
// when its word was word.
func (x *requestContext) cancelIf(c *conn, word uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	// The request cannot end while the lock is held: see end.
	if x.conn == c && c.word.Load() == word {
		x.cancelLocked()
	}
}

func (x *requestContext) cancelLocked() {
	if x.ended.Swap(true) {
		return
	}
	if x.done != nil {
		close(x.done)
	}
	for a := range x.after {
		go a.f()
	}
	x.after = nil
}

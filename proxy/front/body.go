package front

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// requestBody is the body of a request as its handler has it. It is never used
// again, because http.Transport and others read a body after the handler that
// gave it to them has returned: they find it closed.
type requestBody struct {
	mu     sync.Mutex
	x      *exchange // nil once the handler has returned
	closed bool
}

// Read implements [io.Reader].
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.x == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	if b.x.w.expects {
		b.x.w.sendContinue()
	}
	n, err := b.x.read(p)
	if err == io.EOF {
		b.x.takeTrailer()
	}
	return n, err
}

// Close implements [io.Closer]. What is left is read, or the connection closed,
// once the handler has returned.
func (b *requestBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// detach ends the handler's reading. When a goroutine is in Read at this
// moment, it is interrupted, and the connection is of no further use.
func (b *requestBody) detach() {
	if !b.mu.TryLock() {
		// Nobody but Read holds it for longer than an instant.
		x := b.x
		_ = x.conn.sock.SetReadDeadline(time.Unix(1, 0)) // if it cannot be set, the connection is closed already
		x.w.closeAfter = true
		b.mu.Lock()
	}
	b.x = nil
	b.mu.Unlock()
}

// read reads the body under the eyes of the sweeper.
func (x *exchange) read(p []byte) (int, error) {
	c := x.conn
	c.reading.Add(1)
	n, err := x.body.Read(p)
	c.received.Add(int64(n))
	if err == io.EOF {
		c.bodyRead.Store(true)
	}
	c.reading.Add(1)
	return n, err
}

// takeTrailer gives the request the trailer that came behind its body.
func (x *exchange) takeTrailer() {
	trailer := x.body.Trailer()
	if len(trailer) == 0 {
		return
	}
	if x.request.Trailer == nil {
		x.request.Trailer = make(http.Header, len(trailer))
	}
	for name, values := range trailer {
		x.request.Trailer[name] = append([]string(nil), values...) // the body's storage is used again
	}
}

// drained reads what the handler has left of the body, within bounds. It
// reports whether the connection stands at the next request.
func (x *exchange) drained() bool {
	b := x.handle
	if b == nil || x.body.Done() {
		return true
	}
	if !b.mu.TryLock() {
		return false // somebody is reading it still
	}
	defer b.mu.Unlock()
	return x.drainLocked()
}

// drainLocked is drained for those who hold the handle's lock.
func (x *exchange) drainLocked() bool {
	most := x.conn.server.DrainBytes
	if x.body.Done() {
		return true
	}
	if x.w.expects || x.body.Err() != nil || x.body.Remaining() > most {
		return false
	}
	scrap := scraps.Get().(*[scrapBytes]byte)
	defer scraps.Put(scrap)
	for most > 0 {
		n, err := x.read(scrap[:min(scrapBytes, most)])
		most -= int64(n)
		if err == io.EOF {
			return true
		}
		if err != nil {
			return false
		}
	}
	return false
}

const scrapBytes = 8 << 10

// scraps are what is read to be thrown away.
var scraps = sync.Pool{New: func() any { return new([scrapBytes]byte) }}

package simnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// conn is one end of a stream.
type conn struct {
	t, peer *Transport
	in      *half // what the peer wrote
	out     *half
	rest    []byte // of a chunk that was read in part
	coming  *chunk // taken, but not arrived when a deadline came
	readMu  sync.Mutex
	rd, wd  deadline
	closed  chan struct{}
	once    sync.Once
}

// half is one direction. Chunks keep their order; each says when it arrives.
type half struct {
	chunks chan chunk
	done   chan struct{} // the writer has closed
	gone   chan struct{} // the reader has closed
}

type chunk struct {
	at   time.Time
	data []byte
}

// inFlight is how many chunks fit between writer and reader.
const inFlight = 256

func pipe(a, b *Transport) (here, there *conn) {
	ab, ba := newHalf(), newHalf()
	here = &conn{t: a, peer: b, in: ba, out: ab, closed: make(chan struct{})}
	there = &conn{t: b, peer: a, in: ab, out: ba, closed: make(chan struct{})}
	return here, there
}

func newHalf() *half {
	return &half{chunks: make(chan chunk, inFlight), done: make(chan struct{}), gone: make(chan struct{})}
}

func (c *conn) Read(b []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if len(c.rest) == 0 {
		ch, err := c.next()
		if err != nil {
			return 0, err
		}
		c.rest = ch.data
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	c.t.streamBytesIn.Add(uint64(n))
	return n, nil
}

// next waits for a chunk and for its arrival.
func (c *conn) next() (chunk, error) {
	expired := c.rd.wait()
	if c.coming == nil {
		ch, err := c.take(expired)
		if err != nil {
			return chunk{}, err
		}
		c.coming = &ch
	}
	for {
		wait := time.Until(c.coming.at)
		if wait <= 0 {
			if !c.t.net.isCut(c.peer.name, c.t.name) {
				ch := *c.coming
				c.coming = nil
				return ch, nil
			}
			wait = 50 * time.Millisecond // until it is sent again
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-c.closed:
			timer.Stop()
			return chunk{}, net.ErrClosed
		case <-expired:
			timer.Stop()
			return chunk{}, os.ErrDeadlineExceeded
		}
	}
}

// take takes the next chunk, those that were written before the writer closed
// among them.
func (c *conn) take(expired <-chan struct{}) (ch chunk, err error) {
	select {
	case ch = <-c.in.chunks:
		return ch, nil
	default:
	}
	select {
	case ch = <-c.in.chunks:
		return ch, nil
	case <-c.in.done:
		select {
		case ch = <-c.in.chunks:
			return ch, nil
		default:
			return ch, io.EOF
		}
	case <-c.closed:
		return ch, net.ErrClosed
	case <-expired:
		return ch, os.ErrDeadlineExceeded
	}
}

func (c *conn) Write(b []byte) (int, error) {
	ch := chunk{time.Now().Add(c.t.net.latency(c.t.name, c.peer.name)), append([]byte(nil), b...)}
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	case <-c.out.gone:
		return 0, syscall.EPIPE
	default:
	}
	select {
	case c.out.chunks <- ch:
		c.t.streamBytesOut.Add(uint64(len(b)))
		return len(b), nil
	case <-c.closed:
		return 0, net.ErrClosed
	case <-c.out.gone:
		return 0, syscall.EPIPE
	case <-c.wd.wait():
		return 0, os.ErrDeadlineExceeded
	}
}

func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		close(c.out.done)
		close(c.in.gone)
		c.rd.set(time.Time{})
		c.wd.set(time.Time{})
		c.t.mu.Lock()
		delete(c.t.conns, c)
		c.t.mu.Unlock()
	})
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.t.tcp() }
func (c *conn) RemoteAddr() net.Addr { return c.peer.tcp() }

func (c *conn) SetDeadline(t time.Time) error {
	c.rd.set(t)
	c.wd.set(t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error  { c.rd.set(t); return nil }
func (c *conn) SetWriteDeadline(t time.Time) error { c.wd.set(t); return nil }

// deadline is a time that can be moved, and a channel that closes when it comes.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	ch    chan struct{}
}

func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ch == nil {
		d.ch = make(chan struct{})
	}
	return d.ch
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.ch == nil {
		d.ch = make(chan struct{})
	}
	select {
	case <-d.ch:
		d.ch = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	ch := d.ch
	wait := time.Until(t)
	if wait <= 0 {
		close(ch)
		return
	}
	d.timer = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		select {
		case <-ch:
		default:
			close(ch)
		}
	})
}

package upstream

import (
	"errors"
	"io"
	"net"
	"syscall"

	"sluice/internal/rawsock"
)

// errIdleClosed says that a connection had ended, or spoken, while it was idle.
var errIdleClosed = errors.New("the connection was closed while it was idle")

// conn is one HTTP/1.1 connection. It belongs to one exchange at a time, and
// between two of them to the pool. It holds no buffer.
type conn struct {
	pool  *pool
	nc    net.Conn        // a socket, or TLS on one
	sock  net.Conn        // the socket itself
	raw   syscall.RawConn // of sock; nil when it is none (in tests)
	plain bool            // nc is sock, and raw is there
	step  func(fd uintptr) bool
	watch watch

	idleSince int64 // the registry's coarse clock
	born      int64 // likewise
	reused    bool  // an exchange has succeeded on it
	once      bool  // not to be used again
	total     uint64

	// The exchange under way. Written by its goroutine alone.
	out      []byte // goes out with the next Read
	wrote    int    // of the request, by that Read
	before   uint64 // total when the exchange began
	received bool   // any byte of the answer has come
	stage    stage
	in       []byte // where step reads to
	n        int
	err      error
}

// stage is what step does next.
type stage uint8

const (
	stageProbe stage = iota // read, and hope to find nothing
	stageWrite
	stageRead
	stageTry // read what is there, and do not wait
)

func newConn(p *pool, nc, sock net.Conn) *conn {
	c := &conn{pool: p, nc: nc, sock: sock, born: p.clock.Load()}
	if s, ok := sock.(syscall.Conn); ok {
		c.raw, _ = s.SyscallConn()
	}
	c.plain = c.raw != nil && nc == sock && rawSupported
	c.step = c.doStep
	c.watch.abort = func() { c.sock.Close() }
	return c
}

// begin makes c ready for an exchange that begins by sending out when the response is first read.
func (c *conn) begin(out []byte) {
	c.out, c.wrote, c.before, c.received = out, 0, c.total, false
}

// Read reads from the upstream. The first Read of an exchange sends the request.
func (c *conn) Read(p []byte) (n int, err error) {
	if c.out != nil {
		n, err = c.sendAndRead(p)
	} else {
		n, err = c.nc.Read(p)
	}
	if n > 0 {
		c.received = true
	}
	return n, err
}

// sendAndRead checks an idle connection, writes the request, waits for the
// answer and reads it. On a plain socket that is one visit to the poller, and
// three system calls: a read that finds nothing (the check, which also arms the
// poller as the read before the wait would have), a write and a read.
func (c *conn) sendAndRead(p []byte) (int, error) {
	out := c.out
	c.out = nil
	if !c.plain {
		if err := c.probe(); err != nil {
			return 0, err
		}
		if err := c.write(out); err != nil {
			return 0, err
		}
		return c.nc.Read(p)
	}
	c.out, c.in, c.n, c.err = out, p, 0, nil
	c.stage = stageWrite
	if c.reused {
		c.stage = stageProbe
	}
	err := c.raw.Read(c.step)
	n := c.n
	if c.err != nil {
		err = c.err
	}
	c.out, c.in, c.err = nil, nil, nil
	return n, err
}

// doStep is called by the poller with the read side locked: at once, and then
// whenever something has come. Whatever comes after the first call wakes it.
func (c *conn) doStep(fd uintptr) (done bool) {
	switch c.stage {
	case stageProbe:
		if _, err := rawsock.Recv(fd, c.in); err != syscall.EAGAIN {
			c.err = errIdleClosed // the end, an error, or bytes that nobody asked for
			return true
		}
		fallthrough
	case stageWrite:
		n, err := rawsock.Send(fd, c.out)
		c.wrote += n
		if err == syscall.EAGAIN || err == nil && n < len(c.out) {
			err = c.writeRest(c.out[n:])
		}
		c.total += uint64(c.wrote)
		if err != nil {
			c.err = err
			return true
		}
		c.stage = stageRead
		return false
	case stageRead, stageTry:
		n, err := rawsock.Recv(fd, c.in)
		switch {
		case err == syscall.EAGAIN:
			return c.stage == stageTry
		case err != nil:
			c.err = err
		case n == 0 && len(c.in) > 0:
			c.err = io.EOF
		}
		c.n = n
	}
	return true
}

// writeRest waits for room and writes what did not fit.
func (c *conn) writeRest(rest []byte) error {
	n, err := c.nc.Write(rest)
	c.wrote += n
	return err
}

// write writes a part of the request in the ordinary way.
func (c *conn) write(b []byte) error {
	n, err := c.nc.Write(b)
	c.wrote += n
	c.total += uint64(n)
	return err
}

// probe returns an error when an idle connection has ended, or has something
// to say, which no upstream should: after TLS it is a goodbye, without it the
// rest of a response that was longer than it said. Nothing is consumed.
func (c *conn) probe() error {
	if !c.reused || c.raw == nil || !rawSupported {
		return nil
	}
	alive := false
	err := c.raw.Read(func(fd uintptr) bool {
		alive = peekFD(fd) == syscall.EAGAIN
		return true
	})
	if err != nil || !alive {
		return errIdleClosed
	}
	return nil
}

// tryRead reads what has arrived and does not wait: 0 and no error when that is nothing.
func (c *conn) tryRead(p []byte) (int, error) {
	if !c.plain {
		return 0, nil
	}
	c.in, c.n, c.err, c.stage = p, 0, nil, stageTry
	err := c.raw.Read(c.step)
	n := c.n
	if c.err != nil {
		err = c.err
	}
	c.in, c.err = nil, nil
	if n > 0 {
		c.watch.progress()
	}
	return n, err
}

// unseen reports whether it is certain that the upstream did not see the
// request, after reading gave err and no byte of an answer.
//
// The usual case: the upstream closed the idle connection while the request was
// on its way. Its end of stream had been sent before, so the request was
// answered with a reset and never acknowledged. An end of stream, unlike a
// reset, carries an acknowledgement that the kernel takes note of, so that a
// request that had been received before would count as acknowledged.
func (c *conn) unseen(err error) bool {
	if c.wrote == 0 {
		return true
	}
	if err != io.EOF || !c.plain {
		return false
	}
	acked, ok := bytesAcked(c.raw)
	return ok && acked <= c.before+1 // the SYN counts as one
}

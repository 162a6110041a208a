package front

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/internal/rawsock"
	"sluice/proxy/h1"
)

// phase is what a connection is doing.
type phase uint64

const (
	phaseNew     phase = iota // nothing has come yet; a TLS handshake perhaps
	phaseIdle                 // between two requests
	phaseHead                 // a head is being received
	phaseServing              // a request is being answered
	phaseClosed               // somebody has decided to close it
	phaseMask    phase = 7
)

// step is what a change of phase adds, so that the same word is the same
// stay in a phase.
const step = uint64(phaseMask) + 1

// conn is one connection. Its goroutine owns it; what the sweeper and Shutdown
// look at is atomic. While it is idle it holds no buffer and no exchange.
type conn struct {
	server *Server
	sock   net.Conn        // the TCP connection, or TLS over it
	raw    syscall.RawConn // of a plain connection; nil for TLS and what is no socket
	in     h1.Reader
	place  int // in the registry, which guards it; -1 outside

	tls    *tls.ConnectionState // nil for plain connections
	remote string

	// word is the phase, and a count of the changes above it. Only the
	// connection's goroutine changes it, but for the step to phaseClosed.
	word atomic.Uint64
	// reading and writing are odd while somebody waits for the body or the client
	// to take bytes. Each is changed by one goroutine at a time.
	reading, writing atomic.Uint32
	received         atomic.Int64 // bytes of the body under way
	bodyRead         atomic.Bool  // to its end; true without one
	// request is the context of the request under way, or of an earlier one.
	request atomic.Pointer[requestContext]
	// late says that the sweeper has made reading fail.
	late atomic.Bool
	// ownRead and ownWrite say that the handler has set a deadline; relaxed, that BodyRate does not hold.
	ownRead, ownWrite, relaxed atomic.Bool

	notes notes // the sweeper's

	given   bool // hijacked, or handed to HTTP/2: not ours to close
	lingers bool // the client may still be sending: see linger

	fd      atomic.Int64          // file descriptor plus one; 0: unknown
	try     func(fd uintptr) bool // tryRead, made once
	send    func(fd uintptr)      // trySend, made once
	sending []byte                // what trySend is to write, and then what is left of it
	sendErr error                 // result of trySend
	waitErr error                 // result of tryRead
	first   [1]byte               // where TLS puts the byte that was waited for
}

func newConn(s *Server, sock net.Conn) *conn {
	c := &conn{server: s, sock: sock, place: -1}
	if s.tls != nil {
		c.sock = tls.Server(sock, s.tls)
	}
	c.bodyRead.Store(true)
	if sc, ok := c.transport().(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { c.fd.Store(int64(fd) + 1) }) // fails when it is closed already
			if _, secured := c.sock.(*tls.Conn); !secured && rawsock.Supported {
				c.raw, c.try, c.send = raw, c.tryRead, c.trySend
			}
		}
	}
	c.in.Reset(c.sock)
	return c
}

// transport is what is below TLS, if there is TLS. Closing it never waits; closing
// TLS tells the client first.
func (c *conn) transport() net.Conn {
	if secured, ok := c.sock.(*tls.Conn); ok {
		return secured.NetConn()
	}
	return c.sock
}

func (c *conn) phase() phase { return phase(c.word.Load()) & phaseMask }

// enter goes from one phase to the next. It fails when somebody has closed the connection.
func (c *conn) enter(p phase) bool {
	for {
		old := c.word.Load()
		if phase(old)&phaseMask == phaseClosed {
			return false
		}
		if c.word.CompareAndSwap(old, old&^uint64(phaseMask)+step|uint64(p)) {
			return true
		}
	}
}

// closeIf has the connection's goroutine close it, if it is in phase p at this moment:
// a request that begins at the same time either wins, and is served, or is not read at all.
func (c *conn) closeIf(p phase) bool {
	old := c.word.Load()
	if phase(old)&phaseMask != p || !c.word.CompareAndSwap(old, old&^uint64(phaseMask)+step|uint64(phaseClosed)) {
		return false
	}
	_ = c.sock.SetDeadline(time.Unix(1, 0)) // if it cannot be set, the connection is closed already
	return true
}

// serve is the life of a connection. Its frame and those below it down to
// the wait are small: that is the stack of an idle connection.
func (c *conn) serve() {
	if c.open() {
		for c.await() && c.exchange() {
		}
	}
	if c.given {
		return
	}
	if c.lingers {
		c.linger()
	}
	c.close()
}

// open does what comes before the first request. It reports whether there can be one.
func (c *conn) open() bool {
	if addr := c.sock.RemoteAddr(); addr != nil {
		c.remote = addr.String()
	}
	if secured, ok := c.sock.(*tls.Conn); ok {
		return c.handshake(secured)
	}
	return true
}

// close ends the connection. Nothing of it is in use any more.
func (c *conn) close() {
	c.enter(phaseClosed)
	c.server.registry.remove(c) // before its file descriptor can become another's
	_ = c.sock.Close()          // there is nobody left to tell
	c.in.Reset(nil)
}

// await waits for the first byte of a request, without a buffer. It reports
// whether one has come.
func (c *conn) await() bool {
	if len(c.in.Buffered()) > 0 {
		return c.enter(phaseHead)
	}
	c.in.Release()
	if c.phase() != phaseNew {
		// Who comes to rest during Shutdown was not told to go, or would not be here:
		// its client may be sending the next request. The sweeper gives it lastGrace.
		c.enter(phaseIdle)
	}
	return c.wait() == nil && c.enter(phaseHead)
}

// wait returns when the reader has something, or the connection has ended.
func (c *conn) wait() error {
	if c.raw != nil {
		if err := c.raw.Read(c.try); err != nil {
			return err
		}
		return c.waitErr
	}
	// TLS keeps its own buffers. One byte goes to a field of the connection; the
	// rest of the record is read once there is a buffer for it.
	n, err := c.sock.Read(c.first[:])
	if n > 0 {
		c.in.Room()[0] = c.first[0]
		c.in.Filled(1)
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// tryRead reads what is there into a buffer; when there is nothing it gives the buffer
// back and has the runtime wait.
func (c *conn) tryRead(fd uintptr) (done bool) {
	n, err := rawsock.Recv(fd, c.in.Room())
	switch {
	case n > 0:
		c.in.Filled(n)
	case err == syscall.EAGAIN:
		c.in.Release()
		return false
	case err == nil:
		err = io.EOF
	}
	c.waitErr = err
	return true
}

// write writes all of p. What the socket takes at once, which is nearly always
// everything, goes the shortest way; the rest, and everything once the handler has
// set a deadline, goes by net.Conn, which waits.
func (c *conn) write(p []byte) error {
	if c.raw != nil && !c.ownWrite.Load() {
		c.sending = p
		err := c.raw.Control(c.send)
		p, c.sending = c.sending, nil
		if err == nil {
			err = c.sendErr
		}
		if err != nil || len(p) == 0 {
			return err
		}
	}
	_, err := c.sock.Write(p)
	return err
}

// trySend writes what the socket takes.
func (c *conn) trySend(fd uintptr) {
	n, err := rawsock.Send(fd, c.sending)
	if err == syscall.EAGAIN {
		err = nil
	}
	c.sending, c.sendErr = c.sending[n:], err
}

// exchange serves one request, the first byte of which is there. It reports
// whether another may follow.
func (c *conn) exchange() bool {
	x := getExchange()
	keep := c.receive(x)
	// After a panic or a hijack somebody may still hold parts of it.
	if x.reusable {
		putExchange(x, c.server.Poison)
	}
	return keep
}

// receive reads a head and has it answered.
func (c *conn) receive(x *exchange) (keep bool) {
	head, err := c.in.ReadRequestHead(c.server.Limits)
	if err == nil && c.server.H2C && c.tls == nil && string(head) == prefaceHead {
		x.reusable = true
		c.server.h2.take(c, prefaceHead)
		return false
	}
	if err == nil {
		err = h1.ParseRequest(head, &x.head, c.server.Limits)
	}
	if !c.enter(phaseServing) {
		x.reusable = true
		return false // closed meanwhile
	}
	if err != nil {
		c.refuse(x, err)
		return false
	}
	return x.serve(c)
}

// refuse answers a head that cannot be served, if anybody is there to read it.
func (c *conn) refuse(x *exchange, err error) {
	status, reason := 0, ""
	var wrong *h1.Error
	switch {
	case errors.As(err, &wrong):
		status, reason = wrong.Status, wrong.Reason
	case errors.Is(err, os.ErrDeadlineExceeded) && c.late.Load():
		status, reason = http.StatusRequestTimeout, "the request header did not arrive in time"
	default:
		x.reusable = true
		return
	}
	c.lingers = x.refuse(c, status, reason)
	if x.reusable {
		x.end()
	}
}

// lingerTime is how long a client whose input is not read to its end is given
// to read its answer, and lingerBytes how much of that input is thrown away.
const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 16 << 20
)

// linger ends our half of the connection and reads the other for a while: the
// kernel answers input that nobody reads with a reset, which can overtake the
// response (RFC 9112 §9.6).
func (c *conn) linger() {
	half, ok := c.sock.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	if c.sock.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.sock, lingerBytes) // how it ends does not matter
}

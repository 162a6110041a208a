// Package responder is the upstream of the comparison: it answers every GET
// with one of a few prepared responses and does nothing else, so that what is
// measured is the proxy.
//
// One goroutine serves all connections from one epoll loop: a request costs one
// read and one write. It understands keep-alive requests without a body, in any
// number of pieces and pipelined; it is no HTTP server.
package responder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"sluice/loadtest/compare/poll"
)

// maxHead is the largest request head; a longer one closes the connection.
const maxHead = 16 << 10

// Server answers on one listener.
type Server struct {
	responses map[string][]byte // by path
	listener  *net.TCPListener
	stop      [2]int // pipe: closing the second end wakes the loop
}

// Listen returns a Server on address (host:port) that answers GET path with
// bodies[path] as application/json and anything else with 404. Run serves.
func Listen(address string, bodies map[string][]byte) (*Server, error) {
	l, err := net.Listen("tcp4", address)
	if err != nil {
		return nil, err
	}
	s := &Server{responses: make(map[string][]byte, len(bodies)), listener: l.(*net.TCPListener)}
	for path, body := range bodies {
		s.responses[path] = response("200 OK", body)
	}
	if err := unix.Pipe2(s.stop[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, errors.Join(fmt.Errorf("pipe: %w", err), l.Close())
	}
	return s, nil
}

// response renders one whole response. The date is fixed: an origin must send
// one, and a proxy that has to add it would be charged for it.
func response(status string, body []byte) []byte {
	head := "HTTP/1.1 " + status + "\r\n" +
		"Date: Mon, 02 Jan 2006 15:04:05 GMT\r\n" +
		"Content-Type: application/json\r\n" +
		"Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	return slices.Clip(append([]byte(head), body...))
}

// Addr is the address listened on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// conn is one client connection.
type conn struct {
	head    []byte // bytes of a request not yet complete
	out     []byte // what is still to be written; may be a view of a shared response
	waiting bool   // watched for writing instead of reading
}

// loop is the state of one Run.
type loop struct {
	server   *Server
	poller   *poll.Poller
	listenFD int
	conns    map[int]*conn
	buf      [maxHead]byte
	notFound []byte
}

// Run serves until ctx ends, then closes every connection and the listener.
func (s *Server) Run(ctx context.Context) error {
	runtime.LockOSThread() // epoll, read and write stay on one warm thread
	defer runtime.UnlockOSThread()
	file, err := s.listener.File()
	if err != nil {
		return err
	}
	defer file.Close()
	defer s.listener.Close()
	p, err := poll.New()
	if err != nil {
		return err
	}
	defer p.Close()
	defer unix.Close(s.stop[0])
	wake := func() { unix.Close(s.stop[1]) }
	release := context.AfterFunc(ctx, wake)
	defer func() {
		if release() {
			wake() // Run failed before ctx ended
		}
	}()

	l := &loop{server: s, poller: p, listenFD: int(file.Fd()), conns: map[int]*conn{}, notFound: response("404 Not Found", nil)}
	defer l.closeAll()
	if err := unix.SetNonblock(l.listenFD, true); err != nil {
		return fmt.Errorf("set listener non-blocking: %w", err)
	}
	for _, fd := range []int{l.listenFD, s.stop[0]} {
		if err := p.Add(fd, poll.Read); err != nil {
			return err
		}
	}
	for {
		events, err := p.Wait()
		if err != nil {
			return err
		}
		for _, e := range events {
			switch fd := int(e.Fd); fd {
			case s.stop[0]:
				return nil
			case l.listenFD:
				if err := l.accept(); err != nil {
					return err
				}
			default:
				if !l.serve(fd) {
					l.drop(fd)
				}
			}
		}
	}
}

func (l *loop) accept() error {
	for {
		fd, _, err := unix.Accept4(l.listenFD, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
		case unix.EAGAIN:
			return nil
		case unix.EINTR, unix.ECONNABORTED:
			continue
		default:
			return fmt.Errorf("accept: %w", err)
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return fmt.Errorf("set TCP_NODELAY: %w", err)
		}
		if err := l.poller.Add(fd, poll.Read); err != nil {
			return err
		}
		l.conns[fd] = &conn{}
	}
}

// serve answers what has come on fd; false when the connection is over.
func (l *loop) serve(fd int) bool {
	c := l.conns[fd]
	if c == nil {
		return true // dropped earlier in this batch of events
	}
	if c.waiting {
		return l.flush(fd, c) // nothing is read until the client has taken its answer
	}
	n, err := unix.Read(fd, l.buf[:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return true
	}
	if err != nil || n == 0 {
		return false
	}
	in := l.buf[:n]
	if len(c.head) > 0 {
		c.head = append(c.head, in...)
		in = c.head
	}
	for {
		end := bytes.Index(in, []byte("\r\n\r\n"))
		if end < 0 {
			break
		}
		// Responses have no spare capacity, so the append of a pipelined
		// request's response copies and the shared bytes stay as they are.
		if r := l.answer(in[:end]); len(c.out) == 0 {
			c.out = r
		} else {
			c.out = append(c.out, r...)
		}
		in = in[end+4:]
	}
	if len(in) > maxHead {
		return false
	}
	c.head = append(c.head[:0], in...)
	return l.flush(fd, c)
}

// answer chooses the response for a request head by its path.
func (l *loop) answer(head []byte) []byte {
	rest, ok := bytes.CutPrefix(head, []byte("GET "))
	if !ok {
		return l.notFound
	}
	path, _, _ := bytes.Cut(rest, []byte(" "))
	if r := l.server.responses[string(path)]; r != nil {
		return r
	}
	return l.notFound
}

// flush writes what c owes; false when the connection is over.
func (l *loop) flush(fd int, c *conn) bool {
	for len(c.out) > 0 {
		n, err := unix.Write(fd, c.out)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return l.watch(fd, c, true)
		case err != nil:
			return false
		default:
			c.out = c.out[n:]
		}
	}
	c.out = nil
	return l.watch(fd, c, false)
}

// watch has the poller report that fd can be written, or that it can be read.
func (l *loop) watch(fd int, c *conn, write bool) bool {
	if c.waiting == write {
		return true
	}
	c.waiting = write
	interest := uint32(poll.Read)
	if write {
		interest = poll.Write
	}
	return l.poller.Change(fd, interest) == nil
}

func (l *loop) drop(fd int) {
	delete(l.conns, fd)
	unix.Close(fd)
}

func (l *loop) closeAll() {
	for fd := range l.conns {
		l.drop(fd)
	}
}

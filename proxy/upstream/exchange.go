package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"sluice/proxy/h1"
)

var (
	errClosed    = errors.New("the response is closed")
	errInterim   = errors.New("there are too many interim responses")
	errSwitching = errors.New("the upstream switched protocols without being asked to, or to another one")
)

// mostSent is how often a request is written within one try. The second
// connection is a fresh one, unless no more may be dialled.
const mostSent = 3

// mostInterim bounds the interim responses to one request.
const mostInterim = 32

// doHTTP1 makes one try over HTTP/1.1. A connection that turns out to have been
// closed while it was idle is replaced: by another idle one when nothing has been
// sent yet, else by a fresh one, because the others may be as dead.
func (in *Response) doHTTP1(ctx context.Context, out *Request) *Error {
	if err := out.hold(ctx, in); err != nil {
		return err
	}
	buf := newBuffer(size4K/2 + out.heldSize)
	defer buf.release()
	message, err := in.e.compose(buf.b[:0], out)
	if err != nil {
		return &Error{Kind: Invalid, Cause: err}
	}
	for sent := 0; ; {
		c, err := in.e.acquire(ctx, out, sent > 0)
		if err == errIsHTTP2 {
			return in.doHTTP2(ctx, out)
		}
		if err != nil {
			return connectFailure(ctx, err)
		}
		f, again := in.try(ctx, c, out, message)
		if f == nil {
			return nil
		}
		if f.Cause != errIdleClosed {
			sent++
		}
		if !again || out.bodyRead || sent == mostSent {
			return f
		}
	}
}

// try sends the message on c and reads the head of the answer. again says that
// it may be tried once more on another connection, provided the body can be sent again.
func (in *Response) try(ctx context.Context, c *conn, out *Request, message []byte) (f *Error, again bool) {
	in.c = c
	in.r.Reset(c)
	err := in.send(ctx, c, out, message)
	if err == nil {
		err = in.readHead(c, out)
	}
	if err == nil {
		in.accept(c, out)
		return nil, false
	}

	slow := in.up != nil && in.up.reading.Load()
	reused, received, wrote := c.reused, c.received, c.wrote
	closed := errors.Is(err, io.EOF) || connectionLost(err)
	unseen := reused && !received && closed && c.unseen(err)
	up := in.up
	cause, why := in.settle(false)
	in.releaseReader()

	f = failure(err, cause, why, slow)
	f.Sent = wrote > 0
	switch {
	case cause == ClientBody:
		f.Cause = up.err
	case cause != 0 || f.Kind == Malformed || !reused || received:
	case err == errIdleClosed:
		f.Kind, again = Stale, true
	case unseen:
		f.Kind, f.Sent, again = Stale, false, true
	case closed:
		// The upstream may have seen the request. This happens to every client that
		// keeps connections, so that what may be repeated is, as RFC 9112 §9.3.1 allows.
		again = idempotent(out.Method)
	}
	return f, again
}

// connectionLost reports whether the other end has closed or reset the connection.
func connectionLost(err error) bool {
	return err == errIdleClosed || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// send starts the watch and sends the request, or leaves it to the first read.
func (in *Response) send(ctx context.Context, c *conn, out *Request, message []byte) error {
	if !out.streams() {
		c.begin(message)
		c.watch.begin(ctx, out, awaiting)
		return nil
	}
	c.begin(nil)
	c.watch.begin(ctx, out, sending)
	if err := c.probe(); err != nil {
		return err
	}
	if err := c.write(message); err != nil {
		return err
	}
	in.up = startUpload(c, out)
	return nil
}

// readHead reads up to the head of the final response, which is then in m.
func (in *Response) readHead(c *conn, out *Request) error {
	for range mostInterim {
		head, err := in.r.ReadResponseHead(in.e.limits)
		if err != nil {
			return err
		}
		clear(in.Header)
		in.m.Header = in.Header // emptied, hence kept by Reset
		in.m.Reset()
		in.Header = in.m.Header
		if err := h1.ParseResponse(head, out.Method, &in.m, in.e.limits); err != nil {
			return err
		}
		switch status := in.m.Status; {
		case status >= 200:
			return nil
		case status == http.StatusSwitchingProtocols:
			if out.Upgrade == "" || !strings.EqualFold(in.m.Header.Get("Upgrade"), out.Upgrade) {
				return malformed{errSwitching}
			}
			return nil
		case status == http.StatusContinue:
			if in.up != nil {
				in.up.proceed()
			}
		case in.On1xx != nil:
			in.m.RemoveHopByHop()
			in.On1xx(status, in.Header)
		}
	}
	return malformed{errInterim}
}

// malformed is a fault of a response that is not one of syntax.
type malformed struct{ error }

// accept fills in the response from the head that was read. A body that has
// arrived whole needs no connection any more.
func (in *Response) accept(c *conn, out *Request) {
	m := &in.m
	in.Status = m.Status
	in.BodyLength = m.Framing.Length
	if m.Status == http.StatusSwitchingProtocols {
		in.BodyLength = 0
		protocol := m.Header["Upgrade"]
		m.RemoveHopByHop()
		m.Header["Connection"], m.Header["Upgrade"] = []string{"Upgrade"}, protocol
		in.body.Reset(&in.r, m.Framing, in.e.limits)
		in.err = io.EOF
		c.watch.enter(receiving)
		c.watch.lift()
		return
	}
	if m.Has(h1.HopByHop) {
		announced := m.Header["Trailer"]
		m.RemoveHopByHop()
		if announced != nil {
			m.Header["Trailer"] = announced
		}
	}
	if !in.probe {
		in.e.answered(m.Status)
	}
	in.body.Reset(&in.r, m.Framing, in.e.limits)
	switch arrived := int64(len(in.r.Buffered())); {
	case m.Framing.Kind == h1.NoBody:
		in.settle(in.clean())
		in.leave()
		in.releaseReader()
		in.err = io.EOF
	case m.Framing.Kind == h1.Sized && m.Framing.Length <= arrived:
		in.settle(!m.Close && m.Framing.Length == arrived)
		in.leave()
	default:
		c.watch.enter(receiving)
		if in.BodyLength < 0 && isStream(in.Header) {
			c.watch.lift()
		}
	}
}

// connectFailure classifies an error of getting a connection.
func connectFailure(ctx context.Context, err error) *Error {
	var timeout net.Error
	switch {
	case err == errNoFreeConn:
		return &Error{Kind: Exhausted, Cause: err}
	case ctx.Err() != nil:
		return &Error{Kind: Canceled, Cause: context.Cause(ctx)}
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return &Error{Kind: ConnectTimeout, Cause: err}
	}
	return &Error{Kind: Connect, Cause: err}
}

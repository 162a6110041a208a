package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"sluice/proxy/h1"
)

// http2Client is the way over HTTP/2: net/http's transport, made when it is
// first needed. Its connections are not in the pool: one carries many exchanges.
type http2Client struct {
	mu        sync.Mutex // guards the following
	transport *http.Transport
	retired   bool

	// spare is the connection on which the upstream chose HTTP/2.
	spare atomic.Pointer[tls.Conn]
}

// keep offers a connection for the transport's next dial.
func (h *http2Client) keep(c *tls.Conn) {
	if old := h.spare.Swap(c); old != nil {
		old.Close()
	}
}

// of returns the transport of e.
func (h *http2Client) of(e *Endpoint) *http.Transport {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.transport != nil {
		return h.transport
	}
	protocols := new(http.Protocols)
	h.transport = &http.Transport{
		Protocols:              protocols,
		DisableCompression:     true,
		MaxResponseHeaderBytes: int64(orDefault(e.limits.HeadBytes, h1.DefaultHeadBytes)),
		IdleConnTimeout:        e.reg.opts.IdleTimeout,
		MaxIdleConns:           0,
		ExpectContinueTimeout:  expectWait,
		HTTP2: &http.HTTP2Config{
			// A dead connection is found although nothing is being sent on it.
			SendPingTimeout: 15 * time.Second,
			PingTimeout:     5 * time.Second,
		},
	}
	if !e.secure {
		protocols.SetUnencryptedHTTP2(true)
		h.transport.DialContext = h.dialer(e, func(ctx context.Context) (net.Conn, error) {
			return e.reg.dial(ctx, "tcp", e.addr)
		})
		return h.transport
	}
	protocols.SetHTTP2(true)
	protocols.SetHTTP1(true) // should the upstream change its mind
	h.transport.DialTLSContext = h.dialer(e, func(ctx context.Context) (net.Conn, error) {
		if c := h.spare.Swap(nil); c != nil {
			return c, nil
		}
		sock, err := e.reg.dial(ctx, "tcp", e.addr)
		if err != nil {
			return nil, err
		}
		c := tls.Client(sock, e.tlsBoth)
		if err := c.HandshakeContext(ctx); err != nil {
			sock.Close()
			return nil, err
		}
		if c.ConnectionState().NegotiatedProtocol != "h2" {
			e.alpn.Store(alpnUnknown)
		}
		return c, nil
	})
	return h.transport
}

// connectTimeout is the key of the one context value here: the transport's dialers
// know a context alone.
type connectTimeout struct{}

// errDial marks an error of dialling, within those of the transport.
type errDial struct{ error }

func (e errDial) Unwrap() error { return e.error }

// dialer bounds dial by the time-out of the exchange that causes it.
func (h *http2Client) dialer(e *Endpoint, dial func(context.Context) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		if most, _ := ctx.Value(connectTimeout{}).(time.Duration); most > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, most)
			defer cancel()
		}
		c, err := dial(ctx)
		if err != nil {
			return nil, errDial{err}
		}
		return c, nil
	}
}

// retire closes what is idle; what is busy closes when it is idle.
func (h *http2Client) retire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retired = true
	if h.transport != nil {
		h.transport.CloseIdleConnections()
	}
	if c := h.spare.Swap(nil); c != nil {
		c.Close()
	}
}

// settled is called at the end of an exchange.
func (h *http2Client) settled() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.retired && h.transport != nil {
		h.transport.CloseIdleConnections()
	}
}

// stream is an exchange over HTTP/2.
type stream struct {
	cancel context.CancelCauseFunc
	body   *streamBody // nil: the request has none
	answer *http.Response
}

// errAborted is why the context of a stream ended, when its watch ended it.
var errAborted = errors.New("the exchange was aborted")

// doHTTP2 makes one try over HTTP/2.
func (in *Response) doHTTP2(ctx context.Context, out *Request) *Error {
	e := in.e
	if err := out.hold(ctx, in); err != nil {
		return err
	}
	if out.bodyRead { // a try over HTTP/1.1 has had it
		return &Error{Kind: ClientBody, Cause: errBodyGone}
	}
	if _, err := e.compose(nil, out); err != nil { // nothing that HTTP/1.1 could not say
		return &Error{Kind: Invalid, Cause: err}
	}
	s := new(stream)
	ctx, s.cancel = context.WithCancelCause(context.WithValue(ctx, connectTimeout{}, out.Timeouts.Connect))
	in.h2 = s
	in.watch.abort = func() { s.cancel(errAborted) }
	if in.On1xx != nil {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			Got1xxResponse: func(status int, header textproto.MIMEHeader) error {
				if status != http.StatusContinue && status != http.StatusSwitchingProtocols {
					in.On1xx(status, http.Header(header))
				}
				return nil
			},
		})
	}
	r := e.http2Request(ctx, out, in)
	e.adopt()
	phase := sending
	if s.body == nil {
		phase = awaiting
	}
	in.watch.begin(ctx, out, phase)
	e.watches.add(&in.watch)
	answer, err := e.h2.of(e).RoundTrip(r)
	if err != nil {
		return in.http2Failed(err)
	}
	s.answer = answer
	in.watch.enter(receiving)
	in.Status = answer.StatusCode
	if in.Header == nil {
		in.Header = make(http.Header, len(answer.Header))
	}
	clear(in.Header)
	for name, values := range answer.Header {
		in.Header[name] = values
	}
	for name := range answer.Trailer {
		in.Header["Trailer"] = append(in.Header["Trailer"], name)
	}
	announced := in.Header["Trailer"]
	h1.RemoveHopByHop(in.Header)
	if announced != nil {
		in.Header["Trailer"] = announced
	}
	in.BodyLength = answer.ContentLength
	if out.Method == http.MethodHead || !h1.StatusAllowsBody(in.Status) {
		in.BodyLength = 0
	}
	if in.BodyLength < 0 && isStream(in.Header) {
		in.watch.lift()
	}
	if !in.probe {
		e.answered(in.Status)
	}
	return nil
}

// http2Request makes the request that net/http's transport wants.
func (e *Endpoint) http2Request(ctx context.Context, out *Request, in *Response) *http.Request {
	target := out.Target
	if target != "*" {
		target = e.prefix + target
	}
	u := &url.URL{Scheme: "http", Host: e.host, Opaque: target}
	if e.secure {
		u.Scheme = "https"
	}
	header := make(http.Header, len(out.Header)+len(out.Set))
	pass := newPassing(out)
	for name, values := range out.Header {
		if pass.on(name) {
			header[name] = values
		}
	}
	for _, f := range out.Set {
		if f.Value != "" {
			header[f.Name] = append(header[f.Name], f.Value)
		}
	}
	if te := out.Header["Te"]; len(te) > 0 && h1.HasToken(te, "trailers") {
		header["Te"] = []string{"trailers"} // gRPC insists
	}
	if _, ok := header["User-Agent"]; !ok {
		header["User-Agent"] = nil // none of ours either
	}
	if out.Expect && out.BodyLength != 0 {
		header["Expect"] = []string{"100-continue"}
	}
	r := (&http.Request{
		Method: out.Method, URL: u, Host: e.hostOf(out), Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	switch {
	case out.BodyLength == 0:
	case out.held != nil:
		held := out.held.b[:out.heldSize]
		r.ContentLength = out.BodyLength
		r.GetBody = func() (io.ReadCloser, error) {
			in.h2.body = newStreamBody(in, out, bytes.NewReader(held), false)
			return in.h2.body, nil
		}
		r.Body, _ = r.GetBody()
	default:
		r.ContentLength = out.BodyLength
		in.h2.body = newStreamBody(in, out, out.Body, true)
		r.Body = in.h2.body
		if out.Trailer != nil {
			r.Trailer = *out.Trailer
		}
	}
	return r
}

// streamBody is a request body as the transport reads it, in goroutines of its
// own, perhaps until after the response has been read. After close nothing
// touches what is beneath.
type streamBody struct {
	watch     *watch
	interrupt func()
	bodyRead  *bool
	reading   atomic.Bool // waiting for the client
	closed    atomic.Bool

	mu   sync.Mutex // held while reading
	src  io.Reader
	left int64 // -1: not known
	err  error // of the client
}

func newStreamBody(in *Response, out *Request, src io.Reader, client bool) *streamBody {
	b := &streamBody{watch: &in.watch, src: src, left: out.BodyLength}
	if client {
		b.interrupt, b.bodyRead = out.Interrupt, &out.bodyRead
	}
	return b
}

func (b *streamBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return 0, errStopped
	}
	if b.left >= 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	if b.left == 0 {
		b.watch.sent()
		return 0, io.EOF
	}
	if b.bodyRead != nil {
		*b.bodyRead = true
	}
	b.reading.Store(true)
	n, err := b.src.Read(p)
	b.reading.Store(false)
	b.watch.progress()
	if b.left > 0 {
		b.left -= int64(n)
	}
	switch {
	case err == io.EOF && b.left > 0:
		err = io.ErrUnexpectedEOF
	case err == nil && b.left == 0, err == io.EOF:
		err = io.EOF
		b.watch.sent()
	}
	if err != nil && err != io.EOF {
		b.err = err
		b.watch.fail(ClientBody)
	}
	return n, err
}

// Close is the transport's way to say that it wants no more.
func (b *streamBody) Close() error {
	b.closed.Store(true)
	return nil
}

// stop waits until nobody reads any more, and sees to it that this is soon. It
// returns the client's error.
func (b *streamBody) stop() error {
	b.closed.Store(true)
	if b.reading.Load() && b.interrupt != nil {
		b.interrupt()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// http2Failed ends an exchange that has no response.
func (in *Response) http2Failed(err error) *Error {
	s := in.h2
	slow := s.body != nil && s.body.reading.Load()
	cause, why := in.http2End()
	s.cancel(errAborted)
	var clientErr error
	if s.body != nil {
		clientErr = s.body.stop()
	}
	in.h2 = nil
	var dial errDial
	if cause == 0 && errors.As(err, &dial) {
		return connectFailure(context.Background(), dial.error)
	}
	f := failure(err, cause, why, slow)
	f.Sent = true
	if clientErr != nil && f.Kind != Canceled {
		f.Kind, f.Cause = ClientBody, clientErr
	}
	return f
}

// http2End takes the watch off.
func (in *Response) http2End() (Kind, error) {
	in.e.watches.remove(&in.watch)
	return in.watch.end()
}

// read reads the body.
func (s *stream) read(in *Response, p []byte) (int, error) {
	n, err := s.answer.Body.Read(p)
	in.watch.progress()
	switch err {
	case nil:
	case io.EOF:
		if len(s.answer.Trailer) > 0 {
			in.Trailer = s.answer.Trailer
		}
		in.err = io.EOF
	default:
		slow := s.body != nil && s.body.reading.Load()
		cause, why := in.http2End()
		f := failure(err, cause, why, slow)
		f.Sent, f.BodyRead = true, true
		if f.Kind == Reset {
			in.e.failed(f)
		}
		in.err = f
		err = f
	}
	return n, err
}

// close ends the exchange. A request body that is still being sent is cut off,
// as the response is complete, or nobody wants it.
func (s *stream) close(in *Response) {
	in.http2End()
	s.cancel(errAborted)
	if s.answer != nil {
		s.answer.Body.Close()
	}
	if s.body != nil {
		s.body.stop()
	}
	in.h2 = nil
	in.e.h2.settled()
}

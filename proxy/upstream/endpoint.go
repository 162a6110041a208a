package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"sluice/conf"
	"sluice/proxy/h1"
)

// Endpoint is one upstream of a service, with its connections, its health and
// its counters. It outlives the snapshots that use it.
type Endpoint struct {
	reg    *Registry
	id     identity
	url    string
	secure bool
	host   string // of the URL, as a Host field has it
	addr   string // host:port to dial
	prefix string // path prefix, without a closing slash
	seed   uint64 // hash of the URL, for rendezvous hashing
	limits h1.Limits

	pool    *pool
	adopted atomic.Bool // in Registry.watched; written under its mu
	watches watches     // exchanges that are bound to no conn: HTTP/2, and bodies being held
	h2      http2Client

	// alpn is what the upstream chose in TLS.
	alpn      atomic.Uint32
	tlsBoth   *tls.Config // offers h2 and http/1.1
	tlsSingle *tls.Config // offers http/1.1

	// load counts exchanges in one word, because both change together: those that
	// ever began in the upper 40 bits, those under way in the lower 24.
	load     atomic.Uint64
	failures atomic.Uint64
	streak   atomic.Uint32 // failures in a row
	state    state
}

const (
	loadBits         = 24
	loadBegin uint64 = 1<<loadBits | 1
	loadEnd          = ^uint64(0) // -1
)

// identity is what makes an endpoint the same over reloads.
type identity struct {
	service, url, protocol string
	tls                    conf.UpstreamTLS
}

// The values of Endpoint.alpn.
const (
	alpnUnknown uint32 = iota
	alpnHTTP1
	alpnHTTP2
)

var errIsHTTP2 = errors.New("the upstream speaks HTTP/2")

// newEndpoint makes an endpoint, which dials when it is first used.
func newEndpoint(r *Registry, id identity) (*Endpoint, error) {
	u, err := url.Parse(id.url)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, errors.New("an upstream is http:// or https:// with a host")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("an upstream has no user, query or fragment")
	}
	e := &Endpoint{reg: r, id: id, url: id.url, secure: u.Scheme == "https", host: u.Host}
	port := u.Port()
	if port == "" {
		port = "80"
		if e.secure {
			port = "443"
		}
	}
	e.addr = net.JoinHostPort(u.Hostname(), port)
	e.prefix = strings.TrimRight(u.EscapedPath(), "/")
	if e.prefix != "" && !h1.ValidTarget(e.prefix) {
		return nil, errors.New("the path prefix of an upstream has a character that must be escaped")
	}
	e.seed = hashString(id.url)
	e.limits = h1.Limits{HeadBytes: r.opts.HeadBytes}
	e.pool = newPool(&r.clock, r.opts.MaxAge)
	e.state.healthy, e.state.answered = true, true
	if e.secure {
		config := &tls.Config{ServerName: id.tls.ServerName, MinVersion: tls.VersionTLS12}
		if r.opts.TLS != nil {
			if config, err = r.opts.TLS(id.tls, u.Hostname()); err != nil {
				return nil, err
			}
		}
		config = config.Clone()
		if config.ServerName == "" {
			config.ServerName = u.Hostname()
		}
		if config.ClientSessionCache == nil {
			config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		}
		config.NextProtos = []string{"h2", "http/1.1"}
		e.tlsBoth = config
		e.tlsSingle = config.Clone()
		e.tlsSingle.NextProtos = []string{"http/1.1"}
	}
	return e, nil
}

// URL returns the URL from the configuration, for logs and labels.
func (e *Endpoint) URL() string { return e.url }

// inflight counts the exchanges under way.
func (e *Endpoint) inflight() int { return int(e.load.Load() & (1<<loadBits - 1)) }

// hostOf returns the Host field of a request.
func (e *Endpoint) hostOf(out *Request) string {
	if out.Host != "" {
		return out.Host
	}
	return e.host
}

// Do makes one try: it sends out, and returns when the head of the final
// response is in in, or with an *[Error]. It dials when no connection is idle,
// and waits when none may be dialled. A connection that turns out to have been
// closed while idle is replaced without the caller noticing, as long as that is safe.
//
// A body of up to 32 KiB whose length is known is read first, so that it can be
// sent again by a further Do with the same Request.
func (e *Endpoint) Do(ctx context.Context, out *Request, in *Response) error {
	in.open(e)
	if f := in.do(ctx, out); f != nil {
		f.BodyRead = out.bodyRead
		e.failed(f)
		in.leave()
		clear(in.Header)
		in.e, in.err = nil, f
		return f
	}
	return nil
}

func (in *Response) do(ctx context.Context, out *Request) *Error {
	if ctx.Err() != nil {
		return &Error{Kind: Canceled, Cause: context.Cause(ctx)}
	}
	if out.bodyRead {
		return &Error{Kind: ClientBody, Cause: errBodyGone}
	}
	if in.e.speaksHTTP2() && out.Upgrade == "" {
		return in.doHTTP2(ctx, out)
	}
	return in.doHTTP1(ctx, out)
}

var errBodyGone = errors.New("the body was read by an earlier try")

// speaksHTTP2 reports whether requests go over HTTP/2. Upgrades never do: they
// exist in HTTP/1.1 alone.
func (e *Endpoint) speaksHTTP2() bool {
	return e.id.protocol == "h2c" || e.secure && e.alpn.Load() == alpnHTTP2
}

// acquire returns a connection: an idle one unless fresh is asked for, else a new one.
func (e *Endpoint) acquire(ctx context.Context, out *Request, fresh bool) (*conn, error) {
	if !fresh {
		if c := e.pool.take(); c != nil {
			return c, nil
		}
	}
	if !e.pool.permit() {
		c, err := e.pool.wait(ctx, out.Timeouts.Connect)
		if c != nil || err != nil {
			return c, err
		}
	}
	c, err := e.dial(ctx, out.Timeouts.Connect, out.Upgrade == "")
	if err != nil {
		e.pool.free()
		return nil, err
	}
	e.pool.add(c)
	return c, nil
}

// dial makes a connection for HTTP/1.1. When the upstream prefers HTTP/2 and
// that is acceptable, it is remembered, and the error is errIsHTTP2.
func (e *Endpoint) dial(ctx context.Context, most time.Duration, http2 bool) (*conn, error) {
	e.adopt()
	if most > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, most)
		defer cancel()
	}
	sock, err := e.reg.dial(ctx, "tcp", e.addr)
	if err != nil {
		return nil, err
	}
	if !e.secure {
		return newConn(e.pool, sock, sock), nil
	}
	config := e.tlsSingle
	if http2 && e.alpn.Load() != alpnHTTP1 {
		config = e.tlsBoth
	}
	secured := tls.Client(sock, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		sock.Close()
		e.alpn.CompareAndSwap(alpnHTTP1, alpnUnknown) // it may have learnt another language
		return nil, err
	}
	if secured.ConnectionState().NegotiatedProtocol == "h2" {
		e.alpn.Store(alpnHTTP2)
		e.h2.keep(secured)
		return nil, errIsHTTP2
	}
	if http2 {
		e.alpn.Store(alpnHTTP1)
	}
	return newConn(e.pool, secured, sock), nil
}

// adopt makes sure that the registry's ticker looks at this endpoint, as long as
// there is something to look at.
func (e *Endpoint) adopt() {
	if !e.adopted.Load() {
		e.reg.adopt(e)
	}
}

// answered notes the status of a response. 502, 503 and 504 are what a proxy or
// a server says when it cannot do its work: failures, as far as ejection is concerned.
func (e *Endpoint) answered(status int) {
	switch status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		e.fail("status " + http.StatusText(status))
	default:
		if e.streak.Load() != 0 {
			e.streak.Store(0)
		}
	}
}

// failed notes an exchange that failed, if the upstream is to blame.
func (e *Endpoint) failed(f *Error) {
	if f.Kind.upstreamFault() {
		e.fail(f.Error())
	}
}

// retire closes what is idle, and what is under way when its exchange ends.
func (e *Endpoint) retire() {
	e.pool.retire()
	e.h2.retire()
}

// gone reports whether nothing is left of a retired endpoint.
func (e *Endpoint) gone() bool {
	return e.pool.retired.Load() && e.pool.open.Load() == 0 && e.inflight() == 0
}

// check is the ticker's look at everything under way.
func (e *Endpoint) check(now time.Time) {
	e.pool.check(now)
	e.watches.each(func(w *watch) { w.check(now) })
	e.readmit(now)
}

package proxy

import (
	"io"
	"net/http"
	"time"

	"sluice/auth"
	"sluice/limiter"
	"sluice/proxy/router"
	"sluice/proxy/upstream"
	"sluice/telemetry"
	"sluice/telemetry/payload"
)

// exchange is what one request has learnt so far. It is passed by pointer to
// every stage, belongs to the goroutine that serves the request, and is reused
// after that goroutine has left ServeHTTP: nothing may keep it. Fields are
// grouped by who writes them; reset makes it as new.
type exchange struct {
	// Set by open, constant afterwards.
	w     http.ResponseWriter
	r     *http.Request
	at    *endpoint
	world *snapshot // loaded once: one request, one configuration
	rules *listenerRules
	start time.Time
	now   limiter.Instant

	// client
	origin    origin
	path      string // normalised, still escaped
	trace     telemetry.TraceContext
	traceKept bool // the client's trace goes on

	// ban
	guard guard

	// route, then auth
	match    router.Match
	route    *route
	identity *auth.Identity // nil: anonymous
	tenant   string         // "": none
	tier     *tier          // nil: no tenant
	ruling   *ruling        // nil: nobody has decided anything of the tenant
	key      *auth.Key      // nil: the credential is none
	method   string         // of the credential, a right one or a wrong one: AuthJWT or AuthKey
	service  *service

	// capture
	capture      *payload.Capture // nil: the payload is not logged
	captureAsked bool

	// shield, then limit
	charges  [limiter.MaxCharges]limiter.Charge
	policies [limiter.MaxCharges]*policy // the name of each charge
	charged  int
	decision limiter.Decision

	// waf
	replay replay // the body as far as it was read

	// rewrite, then forward
	body   countedBody
	out    upstream.Request
	in     upstream.Response
	tried  upstream.Tried
	waited time.Duration // for the upstream, all tries

	// what has been sent to the client
	wroteHead    bool
	wroteInterim bool
	tunnelled    bool
	abort        bool  // the answer cannot be finished: break the connection
	wrote        int64 // response body bytes

	record telemetry.Record

	// Storage, kept from one request to the next.
	set       [maxSetFields]upstream.Field
	values    headerValues
	scratch   [512]byte
	interrupt func()
	interim   func(int, http.Header)
}

// newExchange makes an exchange with what it keeps for ever.
func newExchange() *exchange {
	e := new(exchange)
	e.interrupt = e.interruptBody
	e.interim = e.passInterim
	return e
}

// reset makes e as new, but for its storage, so that a pooled exchange keeps
// nothing of a request or of a retired snapshot alive.
func (e *exchange) reset() {
	e.out.Release()
	e.match.Reset()
	e.tried.Reset()
	e.values.reset()
	clear(e.set[:])
	clear(e.charges[:])
	clear(e.policies[:])
	e.w, e.r, e.at, e.world, e.rules = nil, nil, nil, nil, nil
	e.start, e.now = time.Time{}, limiter.Instant{}
	e.origin, e.path, e.trace, e.traceKept = origin{}, "", telemetry.TraceContext{}, false
	e.guard = guard{}
	e.route, e.identity, e.tenant, e.tier, e.service = nil, nil, "", nil, nil
	e.ruling, e.key, e.method = nil, nil, ""
	e.capture, e.captureAsked = nil, false
	e.charged, e.decision = 0, limiter.Decision{}
	e.body = countedBody{}
	e.replay.release()
	e.in.Header, e.in.Trailer, e.in.Status, e.in.BodyLength = nil, nil, 0, 0
	e.waited, e.wrote = 0, 0
	e.wroteHead, e.wroteInterim, e.tunnelled, e.abort = false, false, false, false
	e.record = telemetry.Record{}
}

// tierName is the name of the tenant's tier, "" without a tenant.
func (e *exchange) tierName() string {
	if e.tier == nil {
		return ""
	}
	return e.tier.name
}

// interruptBody makes a read of the request's body that waits for the client
// return, because the exchange with the upstream is over.
func (e *exchange) interruptBody() {
	// A server that cannot do this waits for the client instead, bounded by its
	// own time-outs.
	_ = http.NewResponseController(e.w).SetReadDeadline(time.Unix(1, 0))
}

// countedBody is the client's request body: it counts bytes and ends with
// errBodyTooLarge beyond limit. It lives in the exchange, so that wrapping a
// body allocates nothing.
//
// At its end it takes what clients may not say out of the trailer, where a
// service that merges trailers into the header would believe it.
type countedBody struct {
	src   io.Reader
	limit int64 // -1: none
	read  int64
	over  bool

	trailer *http.Header
	drop    *upstream.NameSet
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.src.Read(p)
	b.read += int64(n)
	if b.limit >= 0 && b.read > b.limit {
		b.over = true
		return max(0, n-int(b.read-b.limit)), errBodyTooLarge
	}
	if err == io.EOF && b.trailer != nil {
		for name := range *b.trailer {
			if b.drop.Has(name) {
				delete(*b.trailer, name)
			}
		}
	}
	return n, err
}

package proxy

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/auth"
	"sluice/conf"
	"sluice/limiter"
	"sluice/proxy/upstream"
	"sluice/telemetry"
	"sluice/telemetry/payload"
	"sluice/waf/bans"
	"sluice/waf/detector"
	"sluice/waf/event"
	"sluice/waf/geo"
)

// Deps are the engines that the gateway drives. They outlive configurations.
// All are needed, except those that may be nil.
type Deps struct {
	Limiter   *limiter.Limiter
	Keys      *auth.KeyStore
	Upstreams *upstream.Registry
	Metrics   *telemetry.Metrics
	AccessLog *telemetry.AccessLog
	Payloads  *payload.Recorder
	Health    *telemetry.Health
	Bans      *bans.Book         // nil: those of the configuration alone
	Places    *geo.Files         // nil: waf.geo is refused
	Detector  *detector.Detector // nil: nobody watches
	Events    *event.Log         // nil: nobody reads of attacks
	Log       *slog.Logger
	// LimitsRevision numbers the limits of a document, for nodes that have different
	// ones for a while: later ones have the higher number. nil: all have the same.
	LimitsRevision func(*conf.Document) uint64
}

// Gateway serves requests by the configuration in force. It is safe for
// concurrent use.
type Gateway struct {
	deps      Deps
	live      atomic.Pointer[snapshot]
	deciding  sync.Mutex // taken to store live
	decided   decided    // guarded by deciding
	exchanges sync.Pool  // of *exchange
	streams   streams
	tarpits   atomic.Int64 // requests that wait in one
}

// New returns a gateway without a configuration: until the first Apply it
// serves nothing.
func New(deps Deps) *Gateway {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	return &Gateway{deps: deps, exchanges: sync.Pool{New: func() any { return newExchange() }}}
}

// Apply puts a revision in force for the requests that come from now on. Those
// under way, tunnels among them, finish by the revision that they began with.
func (g *Gateway) Apply(r *Revision) {
	groups := make([]*upstream.Service, 0, len(r.world.services))
	for _, s := range r.world.services {
		groups = append(groups, s.Service)
	}
	g.deps.Keys.Use(r.world.verifier.KeySets()...)
	g.deciding.Lock()
	g.compileRulings(r.world, g.live.Load())
	old := g.live.Swap(r.world)
	g.deciding.Unlock()
	old.retireEngines(r.world)
	g.useGuard(r.world)
	g.deps.Upstreams.Use(groups)
}

// endpoint is the handler of one listener.
type endpoint struct {
	gateway *Gateway
	address string
	closing atomic.Bool // answers say Connection: close
}

// Handler returns the handler of the listener with this address in the
// configuration.
func (g *Gateway) Handler(address string) http.Handler { return g.endpoint(address) }

func (g *Gateway) endpoint(address string) *endpoint { return &endpoint{gateway: g, address: address} }

// open begins the account of a request.
func (g *Gateway) open(l *endpoint, w http.ResponseWriter, r *http.Request) *exchange {
	e := g.exchanges.Get().(*exchange)
	e.w, e.r, e.at = w, r, l
	e.world = g.live.Load()
	e.rules = e.world.listeners[l.address]
	e.start = time.Now()
	e.now = limiter.At(e.start)
	rec := &e.record
	rec.Time = e.start
	rec.Method = r.Method
	rec.Protocol = r.Proto
	if r.TLS != nil {
		rec.TLS = tlsName(r.TLS.Version)
	}
	rec.UserAgent = single(r.Header["User-Agent"])
	if id := single(r.Header["X-Request-Id"]); telemetry.ValidRequestID(id) {
		rec.RequestID = id
	} else {
		rec.RequestID = telemetry.NewRequestID(e.start)
	}
	return e
}

func tlsName(version uint16) string {
	switch version {
	case 0x0303:
		return "TLS 1.2"
	case 0x0304:
		return "TLS 1.3"
	}
	return "unknown"
}

// close ends the account: one access line, the metrics, and the exchange goes
// back to the pool. A panic in a stage ends this request alone.
func (g *Gateway) close(e *exchange) {
	if cause := recover(); cause != nil {
		g.survive(e, cause)
	}
	rec := &e.record
	rec.Duration = time.Since(e.start)
	rec.Wait = e.waited
	rec.Overhead = max(0, rec.Duration-e.waited)
	rec.BytesIn, rec.BytesOut = e.body.read, e.wrote
	g.deps.AccessLog.Write(rec)
	g.watch(e)
	g.endCapture(e)

	o := telemetry.Observation{
		Listener: e.rules.metrics,
		Method:   rec.Method, Status: rec.Status,
		Duration: rec.Duration, Upstream: rec.Wait, Overhead: rec.Overhead,
		BytesIn: rec.BytesIn, BytesOut: rec.BytesOut,
	}
	if e.service != nil {
		o.Route = e.route.metrics[e.service]
		if rec.Attempts > 0 {
			o.Service = e.service.metrics
		}
	}
	if e.tenant != "" {
		o.Tenant = g.deps.Metrics.Tenant(e.tenant)
	}
	g.deps.Metrics.Observe(&o)
	abort := e.abort
	e.reset()
	g.exchanges.Put(e)
	if abort {
		// The server breaks the connection off, which is the only way left to say
		// that the answer is not whole.
		panic(http.ErrAbortHandler)
	}
}

// survive turns a panic into a 500 where that is still possible.
func (g *Gateway) survive(e *exchange, cause any) {
	if cause != http.ErrAbortHandler { //nolint:errorlint // the value itself is what is thrown
		g.deps.Log.Error("panic while serving a request", telemetry.KeyRequestID, e.record.RequestID,
			telemetry.KeyError, fmt.Sprint(cause), "stack", string(debug.Stack()))
	}
	e.in.Close()
	e.abort = e.wroteHead || cause == http.ErrAbortHandler
	if !e.abort {
		clear(e.w.Header())
		g.answer(e, refuseCause(codeInternal, fmt.Errorf("panic: %v", cause)))
		return
	}
	e.record.Error = fmt.Sprintf("panic: %v", cause)
}

// answerStatus answers a health endpoint.
func (g *Gateway) answerStatus(e *exchange, ok bool) {
	status, text := http.StatusOK, "ok"
	if !ok {
		status, text = http.StatusServiceUnavailable, "not ready"
	}
	body, err := json.Marshal(map[string]string{"status": text})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	h := e.w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Cache-Control"] = []string{"no-store"}
	e.setResponseHeaders(h)
	e.respond(status, "endpoint")
	if e.r.Method != http.MethodHead {
		n, _ := e.w.Write(append(body, '\n')) // a client that has gone is seen by the server
		e.wrote += int64(n)
	}
}

// redirectToHTTPS sends the client to the same URL over TLS (308 keeps method
// and body, RFC 9110 §15.4.9).
func (g *Gateway) redirectToHTTPS(e *exchange) *refusal {
	if !e.rules.redirect {
		return nil
	}
	host := e.origin.host
	if !validHost(host) {
		return &refusal{code: codeBadRequest, detail: "The Host field is malformed."}
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
		if strings.Contains(name, ":") {
			host = "[" + name + "]"
		}
	}
	target := "https://" + host + e.path
	if q := e.r.URL.RawQuery; q != "" {
		target += "?" + q
	}
	h := e.w.Header()
	h["Location"] = []string{target}
	e.setResponseHeaders(h)
	e.respond(http.StatusPermanentRedirect, "redirect")
	return answered
}

// AuthStats returns the state of the verifier in force.
func (g *Gateway) AuthStats() auth.Stats { return g.live.Load().verifier.Stats() }

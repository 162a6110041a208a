package proxy

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"sluice/auth"
	"sluice/proxy/router"
	"sluice/telemetry"
)

// stage is one step on the road of a request. It returns nil to let the request
// pass, or a refusal; a stage that has answered the request itself returns
// answered. Stages do not call each other and write only to the exchange.
type stage struct {
	name string // the word for it in the access log's origin and in metrics
	run  func(*Gateway, *exchange) *refusal
}

// answered ends the road of a request that a stage has answered in full.
var answered = new(refusal)

// road is the life of a request up to the upstream. The order is the order of
// trust, and it is security: moving a line moves what an attacker can reach.
var road = [...]stage{
	{"client", (*Gateway).resolveClient},     // who is at the other end, behind proxies that we trust
	{"ban", (*Gateway).checkBans},            // who is shut out costs the least and learns the least
	{"endpoint", (*Gateway).answerHealth},    // our own endpoints: no tenant, no limit
	{"redirect", (*Gateway).redirectToHTTPS}, // a listener that only sends clients to TLS
	{"route", (*Gateway).matchRoute},         // from here the policies that could hold are known
	{"cors", (*Gateway).answerPreflight},     // a browser's question carries no credentials
	{"shield", (*Gateway).limitAddress},      // before credentials are looked at, so that guessing is bounded
	{"auth", (*Gateway).admit},               // from here tenant, tier and the one route are known, and not banned
	{"capture", (*Gateway).beginCapture},     // refuses nothing: whether its payload is logged
	{"size", (*Gateway).checkSize},           // a body that is refused anyway should not cost quota
	{"waf", (*Gateway).inspect},              // the dearest look, before the quota, because a refused request takes nothing of it
	{"limit", (*Gateway).spend},              // the last thing that can refuse: a refused request costs nothing
	{"rewrite", (*Gateway).prepareRequest},   // what goes to the upstream is built, not passed on
}

// ServeHTTP takes one request down the road, forwards it, and closes its account.
func (l *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g := l.gateway
	e := g.open(l, w, r)
	defer g.close(e)
	for i := range road {
		if ref := road[i].run(g, e); ref != nil {
			if ref != answered {
				g.answer(e, ref)
			}
			return
		}
	}
	g.forward(e)
}

// resolveClient finds the client's address and the request's identity in logs
// and traces.
func (g *Gateway) resolveClient(e *exchange) *refusal {
	r := e.r
	peer := parsePeer(r.RemoteAddr)
	e.origin = resolveOrigin(r, peer, e.rules.trusted)
	rec := &e.record
	rec.Client = e.origin.client
	if e.origin.client != peer {
		rec.Peer = peer
	}
	rec.Host = r.Host

	trace, kept := telemetry.ParseTraceparent(single(r.Header["Traceparent"]))
	if kept {
		trace = trace.Child()
	} else {
		trace = telemetry.NewTrace(telemetry.FlagRandom)
	}
	e.trace, e.traceKept = trace, kept
	rec.TraceID, rec.SpanID = trace.TraceID, trace.SpanID

	// The path is normalised once, so that matching, forwarding and logging
	// mean the same bytes.
	raw := r.RequestURI
	if !strings.HasPrefix(raw, "/") { // absolute-form, or OPTIONS *
		raw = r.URL.EscapedPath()
		if r.URL.Path == "*" {
			raw = "*"
		}
	}
	raw, _, _ = strings.Cut(raw, "?")
	rec.Path = raw
	var err error
	e.path, err = router.Normalize(raw)
	switch {
	case err == nil:
	case errors.Is(err, router.ErrEncodedSlash) && e.rules.keepEncodedSlash:
	case errors.Is(err, router.ErrEncodedSlash):
		return &refusal{code: codeBadRequest, cause: err, detail: "The path contains an encoded slash or backslash, whose meaning is ambiguous."}
	default:
		return &refusal{code: codeBadRequest, cause: err, detail: "The path of the request is malformed."}
	}
	rec.Path = e.path
	return nil
}

// parsePeer returns the address of the other end of a connection.
func parsePeer(remoteAddr string) netip.Addr {
	ap, err := netip.ParseAddrPort(remoteAddr)
	if err != nil {
		return netip.Addr{} // a Unix socket: no address, and so in no network
	}
	return ap.Addr().Unmap().WithZone("")
}

func single(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	return ""
}

// answerHealth answers /healthz and /readyz on every listener, for load
// balancers that can reach no other. Reasons stay on the admin listener.
func (g *Gateway) answerHealth(e *exchange) *refusal {
	var ok bool
	switch e.path {
	case "/healthz":
		ok = true
	case "/readyz":
		ok, _ = g.deps.Health.Ready()
	default:
		return nil
	}
	e.record.Route = e.path
	g.answerStatus(e, ok)
	return answered
}

func (g *Gateway) matchRoute(e *exchange) *refusal {
	switch e.world.router.Match(e.origin.host, e.path, e.r.Method, e.r.Header, &e.match) {
	case router.Found:
		return nil
	case router.MethodNotAllowed:
		if e.world.cors != nil && preflight(e.r) {
			return nil // the browser asks about a method that the route does have
		}
		e.w.Header().Set("Allow", e.match.Allow())
		return refusedMethod
	default:
		return refusedNoRoute
	}
}

func (g *Gateway) answerPreflight(e *exchange) *refusal {
	if e.world.cors == nil || !preflight(e.r) {
		return nil
	}
	h := e.w.Header()
	e.world.cors.answerPreflight(h, e.r.Header)
	e.setResponseHeaders(h)
	e.respond(http.StatusNoContent, "cors")
	return answered
}

// identify finds out who is calling, and with it the one route. Which of
// several candidates answers may depend on the tenant, so a credential is looked
// at when any of them wants one; what the chosen route demands is decided after.
func (g *Gateway) identify(e *exchange) *refusal {
	var wrong error
	if g.anyWantsIdentity(e) {
		e.identity, wrong = g.authenticate(e)
	}
	e.adoptTenant()
	i, ok := e.match.Select(e.tenant, e.tierName())
	if !ok && wrong == nil {
		return refusedNoRoute
	}
	if ok {
		e.route = e.world.routes[i]
		e.record.Route = e.route.name // of a refusal, too
	}
	switch {
	case ok && e.route.auth == authNone: // credentials are not looked at
		e.identity, e.tenant, e.tier, e.ruling, e.key = nil, "", nil, nil, nil
		e.record.KeyID = ""
	case wrong != nil:
		g.deps.Metrics.AuthFailed(e.method, auth.Reason(wrong))
		return refuseAuth(wrong)
	case e.route.auth == authRequired && !e.identity.Authenticated(): // a tenant header is no credential
		return refuseAuth(nil)
	}
	e.service = e.route.serviceFor(e.tenant, e.tierName())
	g.recordIdentity(e)
	if !e.identity.HasAll(e.route.require) {
		if e.identity == nil {
			return refuseAuth(nil)
		}
		return refuseAuth(e.route.insufficient)
	}
	if e.key != nil && !e.key.AllowsRoute(e.route.name, e.route.path) {
		g.deps.Metrics.AuthFailed(telemetry.AuthKey, auth.ReasonRoute)
		return refuseAuth(keyElsewhere)
	}
	if e.ruling != nil && e.ruling.suspended != nil {
		return e.ruling.suspended
	}
	return nil
}

// keyElsewhere is the refusal of a key that is for other routes.
var keyElsewhere = &auth.Error{Code: auth.CodeInsufficientScope, Description: "The API key may not be used for this route", Reason: auth.ReasonRoute}

func (g *Gateway) anyWantsIdentity(e *exchange) bool {
	for _, i := range e.match.Candidates() {
		if e.world.routes[i].auth != authNone {
			return true
		}
	}
	return false
}

// authenticate verifies the credential. An absent one differs from a wrong
// one: the first is nobody and no error.
func (g *Gateway) authenticate(e *exchange) (*auth.Identity, error) {
	var id *auth.Identity
	w := e.world
	c, err := auth.FindCredential(e.r.Header, w.keyHeader, w.keyPrefix)
	e.method = telemetry.AuthJWT
	switch {
	case err != nil:
	case c.Key:
		e.method = telemetry.AuthKey
		if e.key, err = w.rulings.keys.Verify(w.keyPrefix, c.Text, e.origin.client, e.start); err == nil {
			id, e.record.KeyID = &e.key.Identity, e.key.ID
		}
	case c.Text != "":
		id, err = w.verifier.Verify(c.Text, e.start)
	}
	if err != nil {
		return nil, err
	}
	return e.world.verifier.ResolveTenant(id, e.r.Header, e.origin.trusted)
}

// adoptTenant takes tenant and tier from the identity.
func (e *exchange) adoptTenant() {
	if id := e.identity; id != nil && id.Tenant != "" {
		e.tenant, e.tier = id.Tenant, e.world.tierOf(id.Tier)
		if e.ruling, _ = e.world.rulings.tenants.Get(e.tenant); e.ruling != nil && e.ruling.tier != nil {
			e.tier = e.ruling.tier
		}
	}
}

// recordIdentity notes who is calling whom.
func (g *Gateway) recordIdentity(e *exchange) {
	rec := &e.record
	rec.Route, rec.Service = e.route.name, e.service.Name()
	rec.Auth = telemetry.AuthAnonymous
	if id := e.identity; id != nil {
		rec.Auth, rec.Subject = id.Method, id.Subject
		if e.tenant != "" {
			rec.Tenant, rec.TenantSource, rec.Tier = e.tenant, id.TenantSource, e.tier.name
		}
	}
	g.deps.Metrics.Authenticated(rec.Auth)
}

// refuseAuth is the refusal of a credential, or of none when err is nil.
func refuseAuth(err error) *refusal {
	ref := &refusal{code: codeUnauthenticated, challenge: auth.Challenge(err), cause: err}
	var failed *auth.Error
	if errors.As(err, &failed) {
		ref.detail = failed.Description + "."
		switch failed.Status() {
		case http.StatusBadRequest:
			ref.code = codeBadRequest
		case http.StatusForbidden:
			ref.code = codeForbidden
			if failed.Reason == auth.ReasonTenantMismatch {
				ref.code = codeTenantMismatch
			}
		case http.StatusServiceUnavailable:
			ref.code, ref.retry = codeAuthUnavailable, 5*time.Second
		}
	}
	return ref
}

func (g *Gateway) checkSize(e *exchange) *refusal {
	if limit := e.route.maxBody; limit >= 0 && e.r.ContentLength > limit {
		return refusedSize
	}
	return nil
}

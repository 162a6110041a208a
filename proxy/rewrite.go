package proxy

import (
	"hash/maphash"
	"net/http"
	"strings"

	"sluice/proxy/router"
	"sluice/proxy/upstream"
)

// stripped are the client's fields that never reach an upstream: they are
// written anew from what the gateway knows, or not at all, so that nobody can
// forge a tenant, an identity, an address or a request id.
var stripped = []string{
	"X-Tenant-Tier", "X-Auth-Subject", "X-Auth-Permissions", "X-Request-Id",
	"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix",
	"Forwarded", "X-Real-Ip", "Traceparent",
}

// maxSetFields bounds what the gateway itself sets on a request; a route's own
// set_headers come on top.
const maxSetFields = 12

// hashSeed spreads tenants over upstreams; a process keeps it for its life.
var hashSeed = maphash.MakeSeed()

// prepareRequest builds what is sent to the upstream: a second request, not
// the client's with marks on it.
func (g *Gateway) prepareRequest(e *exchange) *refusal {
	r, rt := e.r, e.route
	out := &e.out
	out.Method = r.Method
	out.Target = e.target()
	out.Host = e.service.host
	if out.Host == "" {
		out.Host = r.Host
	}
	out.Header = r.Header
	out.Drop = e.world.drop
	out.Set = append(e.set[:0], rt.setHeaders...)
	e.setForwarded()
	e.setIdentity()

	out.BodyLength = r.ContentLength
	if r.Body == nil || r.Body == http.NoBody {
		out.BodyLength = 0
	}
	if out.BodyLength != 0 {
		e.body = countedBody{src: e.requestBody(), limit: rt.maxBody, trailer: &r.Trailer, drop: e.world.drop}
		if e.capture != nil {
			e.body.src = capturedBody{e.requestBody(), e}
		}
		out.Body = &e.body
		out.Trailer = &r.Trailer
		out.Interrupt = e.interrupt
	}
	out.Expect = out.BodyLength != 0 && strings.EqualFold(single(r.Header["Expect"]), "100-continue")
	out.Upgrade = upgradeOf(r)
	out.Timeouts = e.service.timeouts
	out.Deadline = e.start.Add(e.service.request)
	if rt.timeout > 0 {
		out.Deadline = e.start.Add(rt.timeout)
	}
	return nil
}

// target is the request-target for the upstream: the normalised path without
// the route's prefix, and the query as it came.
func (e *exchange) target() string {
	path := e.path
	if prefix := e.route.strip; prefix != "" {
		path = router.Strip(path, prefix)
	}
	if q := e.r.URL.RawQuery; q != "" || e.r.URL.ForceQuery {
		// Sharing the request line's own bytes spares a string, when the path is
		// as it came.
		if uri := e.r.RequestURI; len(uri) == len(e.path)+1+len(q) && uri[:len(e.path)] == e.path && strings.HasSuffix(e.path, path) {
			return uri[len(e.path)-len(path):]
		}
		return path + "?" + q
	}
	return path
}

// setForwarded writes the forwarding fields (RFC 7239 and its X- forerunners):
// a trusted proxy's lists are continued, anybody else's are replaced.
func (e *exchange) setForwarded() {
	o := &e.origin
	b := e.scratch[:0]
	if o.trusted {
		b = appendList(b, e.r.Header["X-Forwarded-For"])
	}
	if o.peer.IsValid() {
		b = o.peer.AppendTo(b)
	}
	forEnd := len(b)
	if o.trusted {
		b = appendList(b, e.r.Header["Forwarded"])
	}
	b = appendForwarded(b, o.peer, e.r.Host, o.scheme)
	forwardedEnd := len(b)
	b = e.trace.Append(b)
	text := string(b) // one allocation for the three

	e.add("X-Forwarded-For", text[:forEnd])
	e.add("X-Forwarded-Proto", o.scheme)
	e.add("X-Forwarded-Host", o.host)
	e.add("Forwarded", text[forEnd:forwardedEnd])
	if e.route.strip != "" {
		e.add("X-Forwarded-Prefix", e.route.strip)
	}
	e.add("Traceparent", text[forwardedEnd:])
	if !e.traceKept {
		e.add("Tracestate", "") // without a valid traceparent it belongs to no trace
	}
}

// setIdentity tells the service whose request it is. A field that does not
// apply is removed, so that its absence can be trusted too.
func (e *exchange) setIdentity() {
	e.add("X-Request-Id", e.record.RequestID)
	e.add(e.world.tenantHeader, e.tenant)
	if e.tenant != "" {
		e.add("X-Tenant-Tier", e.tier.name)
	}
	if e.identity != nil && e.identity.Subject != "" {
		e.add("X-Auth-Subject", e.identity.Subject)
	}
	if e.key != nil { // it is between the client and us
		e.add("Authorization", "")
	}
}

func (e *exchange) add(name, value string) {
	e.out.Set = append(e.out.Set, upstream.Field{Name: name, Value: value})
}

// appendList appends the elements of a list header, with a comma behind them.
func appendList(b []byte, lines []string) []byte {
	for _, l := range lines {
		if l = strings.Trim(l, " \t,"); l != "" {
			b = append(append(b, l...), ", "...)
		}
	}
	return b
}

// upgradeOf returns the protocol that r asks to switch to, "" for none: the
// Upgrade field counts only when Connection names it (RFC 9110 §7.8), and not
// in HTTP/2, which has none.
func upgradeOf(r *http.Request) string {
	proto := single(r.Header["Upgrade"])
	if proto == "" || r.ProtoMajor != 1 {
		return ""
	}
	for _, line := range r.Header["Connection"] {
		for option := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(option), "upgrade") {
				return proto
			}
		}
	}
	return ""
}

// affinity is what balance: hash keeps on one upstream: a tenant, or an
// anonymous client's address.
func (e *exchange) affinity() uint64 {
	if e.tenant != "" {
		return maphash.String(hashSeed, e.tenant)
	}
	return maphash.Comparable(hashSeed, e.origin.client)
}

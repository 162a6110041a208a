package telemetry

import (
	"net/netip"
	"time"
)

// Record is what the access log keeps of one request. It belongs to the
// request: [AccessLog.Write] copies what it needs before it returns, so a
// record may be pooled and its strings may live in the request's buffers.
//
// The zero value of a field marked optional leaves it out of the line. Strings
// longer than their share of [MaxLine] are cut and end in "…".
type Record struct {
	Time      time.Time // when the request's first byte was read
	RequestID string    // ≤ 128 bytes, see [ValidRequestID]
	TraceID   TraceID   // optional
	SpanID    SpanID    // optional: the span of this hop, as the upstream saw it

	Client   netip.Addr // client_ip: the true client, behind trusted proxies
	Peer     netip.Addr // peer_ip: the other end of the socket; optional, left out when it is the client
	Protocol string     // HTTP/1.1, HTTP/2 or HTTP/3
	TLS      string     // optional: TLS 1.2 or TLS 1.3
	Method   string
	Host     string
	Path     string // as received, without the query
	Route    string // optional: nothing matched
	Service  string // optional: not forwarded
	Upstream string // optional: not forwarded
	Attempts int    // optional: tries at upstreams

	Status   int           // what the client was sent; 499 when it left first
	Origin   string        // "upstream", or the step that answered
	Duration time.Duration // duration_ms: first byte read to last byte written
	Wait     time.Duration // upstream_ms: waiting for the upstream's header and body; optional
	Overhead time.Duration // overhead_ms: Duration less waiting for client and upstream
	BytesIn  int64         // request body
	BytesOut int64         // response body

	Tenant       string // optional
	TenantSource string // optional: claim, key or header
	Tier         string // optional
	Subject      string // optional
	Auth         string // optional: AuthJWT, AuthKey or AuthAnonymous
	KeyID        string // optional: the public part of an API key

	Limit       string // optional: id of the policy that decided; empty leaves the next three out
	LimitResult string // LimitAdmit and its siblings
	Zone        string // ZoneGreen and its siblings
	Remaining   int64  // what is left of that policy

	WAF *WAFRecord // optional: the firewall found nothing

	UserAgent string // optional
	Error     string // optional: the private cause of a refusal or of a failed try
}

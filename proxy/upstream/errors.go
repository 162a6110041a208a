package upstream

import "errors"

// ErrNoUpstream says that no endpoint of the service can be tried: see [Service.Pick].
var ErrNoUpstream = errors.New("no upstream is available")

// Kind classifies why an exchange failed.
type Kind uint8

// The kinds. The comments say what a caller usually makes of each.
const (
	// Connect: no connection could be made: refused, unreachable, unknown host, TLS
	// refused. Nothing was sent. 502.
	Connect Kind = iota + 1
	// ConnectTimeout: no connection within Timeouts.Connect. Nothing was sent. 504.
	ConnectTimeout
	// Exhausted: every connection that the service allows to the endpoint was busy
	// for Timeouts.Connect. Nothing was sent. 503.
	Exhausted
	// Stale: the connection had been closed while it was idle, and it is certain
	// that the upstream did not see the request. Do tries again by itself; the kind
	// comes out only when the request's body cannot be sent twice. 502.
	Stale
	// HeaderTimeout: the request was sent, but no response head came within
	// Timeouts.Header. 504.
	HeaderTimeout
	// Timeout: Request.Deadline passed. 504.
	Timeout
	// IdleTimeout: no byte of a body or tunnel moved for Timeouts.Idle. 504 when the
	// response has not begun.
	IdleTimeout
	// Reset: the upstream closed or reset the connection before the response was
	// complete, or its body ended before its declared length. 502.
	Reset
	// Malformed: the response is not valid HTTP, or its head is over the limit. 502.
	Malformed
	// Canceled: the context ended; Cause is its cause. The client has gone. 499.
	Canceled
	// ClientBody: the client's request body could not be read to its declared end;
	// Cause is the body's error. The upstream is not to blame. 400, or what Cause says.
	ClientBody
	// Invalid: the request cannot be written as HTTP/1.1: a line break in a value, a
	// space in the target, CONNECT. Nothing was sent. 400.
	Invalid
)

var kindWords = [...]string{
	Connect: "connect", ConnectTimeout: "connect_timeout", Exhausted: "exhausted", Stale: "stale",
	HeaderTimeout: "header_timeout", Timeout: "timeout", IdleTimeout: "idle_timeout", Reset: "reset",
	Malformed: "malformed", Canceled: "canceled", ClientBody: "client_body", Invalid: "invalid",
}

// String returns a stable word for labels: connect, connect_timeout, ….
func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindWords) {
		return "unknown"
	}
	return kindWords[k]
}

// upstreamFault reports whether the endpoint is to blame.
func (k Kind) upstreamFault() bool {
	switch k {
	case Connect, ConnectTimeout, HeaderTimeout, Timeout, IdleTimeout, Reset, Malformed:
		return true
	}
	return false
}

// Error is a failed exchange. Do and the methods of Response return no other
// type, but for what a destination of WriteTo itself returned.
type Error struct {
	Kind Kind
	// Sent says that the upstream may have seen some of the request, so that only
	// an idempotent one may be tried again (RFC 9110 §9.2.2).
	Sent bool
	// BodyRead says that some of the request's body was taken from Request.Body
	// and is not held any more: the request cannot be sent again.
	BodyRead bool
	Cause    error // may be nil
}

// Error names the kind and the cause.
func (e *Error) Error() string {
	if e.Cause == nil {
		return "upstream: " + e.Kind.String()
	}
	return "upstream: " + e.Kind.String() + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

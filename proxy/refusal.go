package proxy

import (
	"errors"
	"net/http"
	"time"

	"sluice/internal/problem"
)

// code is the stable word for why the gateway itself answered a request. The
// words are public: they end the problem type's URL, and stand in the access
// log as origin.
type code uint8

const (
	codeNone code = iota
	codeBadRequest
	codeBlocked
	codeNotInspected
	codeNoRoute
	codeMethodNotAllowed
	codeUnauthenticated
	codeAuthUnavailable
	codeForbidden
	codeTenantMismatch
	codeSuspended
	codeQuotaExceeded
	codeAbnormalUsage
	codeBodyTooLarge
	codeHeaderTooLarge
	codeClientTimeout
	codeNoUpstream
	codeConnectFailed
	codeUpstreamReset
	codeUpstreamMalformed
	codeUpstreamTimeout
	codeInternal
	numCodes
)

// refusals is the closed table of early answers. docs/errors.md is generated
// from it.
var refusals = [numCodes]struct {
	word   string
	status int
	title  string
	detail string // public; used when the stage has nothing better to say
}{
	codeBadRequest:        {"bad-request", 400, "Malformed request", "The request could not be understood."},
	codeBlocked:           {"blocked", 403, "Request refused", "The request was refused by a security rule. Quote the request id to support."},
	codeNotInspected:      {"not-inspected", 503, "Request not inspected", "The gateway is too busy to inspect the request; try again."},
	codeNoRoute:           {"no-route", 404, "No such route", "No route matches this host, path, method and headers."},
	codeMethodNotAllowed:  {"method-not-allowed", 405, "Method not allowed", "The path exists, but not for this method; see the Allow header."},
	codeUnauthenticated:   {"unauthenticated", 401, "Authentication required", "A valid bearer token is required."},
	codeAuthUnavailable:   {"auth-unavailable", 503, "Credentials cannot be verified", "The keys to verify this token are not there yet; try again."},
	codeForbidden:         {"forbidden", 403, "Permission missing", "The credential does not hold a permission that this route requires."},
	codeTenantMismatch:    {"tenant-mismatch", 403, "Tenant contradicts the credential", "The tenant header names another tenant than the credential."},
	codeSuspended:         {"tenant-suspended", 403, "Tenant suspended", "The tenant is suspended."},
	codeQuotaExceeded:     {"quota-exceeded", 429, "Request quota exceeded", "The quota is used up for now."},
	codeAbnormalUsage:     {"abnormal-usage", 429, "Abnormal usage detected", "Requests from this caller are held back for a time; see the Retry-After header."},
	codeBodyTooLarge:      {"body-too-large", 413, "Request body too large", "The request body is larger than this route accepts."},
	codeHeaderTooLarge:    {"header-too-large", 431, "Request header too large", "The request line and header are larger than this listener accepts."},
	codeClientTimeout:     {"client-timeout", 408, "Request not received in time", "The request was not received in time."},
	codeNoUpstream:        {"no-upstream", 503, "No upstream available", "No upstream of this service can take the request now."},
	codeConnectFailed:     {"connect-failed", 502, "Upstream unreachable", "No connection to the upstream could be made."},
	codeUpstreamReset:     {"upstream-reset", 502, "Upstream closed the connection", "The upstream closed the connection before it answered."},
	codeUpstreamMalformed: {"upstream-malformed", 502, "Upstream answered wrongly", "The upstream's answer was not valid HTTP."},
	codeUpstreamTimeout:   {"upstream-timeout", 504, "Upstream timed out", "The upstream did not answer in time."},
	codeInternal:          {"internal", 500, "Internal error", "The gateway failed on this request; it was logged."},
}

// statusClientClosed is the status that the access log shows when the client
// went away before an answer; nobody receives it (nginx's convention).
const statusClientClosed = 499

// refusal is an early answer. Detail and challenge are public; cause is for
// the log alone.
type refusal struct {
	code      code
	detail    string        // replaces the table's sentence
	challenge string        // WWW-Authenticate
	retry     time.Duration // Retry-After when > 0
	cause     error
}

func refuse(c code) *refusal { return &refusal{code: c} }

func refuseCause(c code, cause error) *refusal { return &refusal{code: c, cause: cause} }

// fixed refusals that carry nothing of the request, so that refusing allocates
// nothing.
var (
	refusedNoRoute = refuse(codeNoRoute)
	refusedQuota   = refuse(codeQuotaExceeded)
	refusedSize    = refuse(codeBodyTooLarge)
	refusedMethod  = refuse(codeMethodNotAllowed)
)

// errBodyTooLarge is what reading a request body gives beyond the route's limit.
var errBodyTooLarge = errors.New("request body is larger than the route's max_body")

// answer renders ref as the response to e and notes it in the record. Headers
// that stages have set before (rate limits, CORS, request id) stay.
func (g *Gateway) answer(e *exchange, ref *refusal) {
	row := &refusals[ref.code]
	if ref.cause != nil {
		e.record.Error = ref.cause.Error()
	}
	h := e.w.Header()
	if ref.challenge != "" {
		h.Set("WWW-Authenticate", ref.challenge)
	}
	p := problem.Problem{Type: problem.DocsURL + row.word, Title: row.title, Status: row.status, Detail: ref.detail, RequestID: e.record.RequestID}
	if p.Detail == "" {
		p.Detail = row.detail
	}
	if ref.code == codeQuotaExceeded {
		e.describeQuota(&p)
	}
	retry := ref.retry
	if ref.code == codeQuotaExceeded {
		retry = e.decision.RetryAfter
	}
	if seconds := ceilSeconds(retry); seconds > 0 {
		h.Set("Retry-After", itoa(seconds))
	}
	e.setResponseHeaders(h)
	e.record.Status, e.record.Origin, e.wroteHead = row.status, row.word, true
	e.wrote += int64(p.Write(e.w, e.r.Method == http.MethodHead))
}

// ceilSeconds rounds up, so that a client that waits as told is never early.
func ceilSeconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}

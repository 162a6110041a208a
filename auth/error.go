package auth

import (
	"errors"
	"net/http"
	"strings"
)

// Codes of RFC 6750 §3.1, and one for a failure that is not the caller's.
const (
	CodeInvalidRequest    = "invalid_request"
	CodeInvalidToken      = "invalid_token"
	CodeInsufficientScope = "insufficient_scope"
	CodeUnavailable       = "temporarily_unavailable" // as in RFC 6749 §4.1.2.1
)

// Reasons are the closed set of words for metrics and logs.
const (
	ReasonMalformed       = "malformed"        // not a token, or a claim of the wrong type or shape
	ReasonTooLarge        = "too_large"        // longer than MaxToken
	ReasonAlgorithm       = "algorithm"        // none, HS*, one not configured, or not the key's own
	ReasonCritical        = "critical_header"  // a crit header
	ReasonTokenType       = "token_type"       // typ is neither JWT nor at+jwt
	ReasonUnknownIssuer   = "unknown_issuer"   // iss is not configured
	ReasonUnknownKey      = "unknown_key"      // the issuer lists no such key
	ReasonKeysUnavailable = "keys_unavailable" // no keys of the issuer were ever obtained
	ReasonBadSignature    = "bad_signature"    //
	ReasonExpired         = "expired"          //
	ReasonNotYetValid     = "not_yet_valid"    // nbf or iat is in the future
	ReasonWrongAudience   = "wrong_audience"   //
	ReasonManyCredentials = "many_credentials" // more than one Authorization header
	ReasonTenantMismatch  = "tenant_mismatch"  // the tenant header contradicts the credential
	ReasonUnknownAPIKey   = "unknown_api_key"  // no such API key, or it was revoked or rotated
	ReasonAddress         = "address"          // the API key is for other addresses
	ReasonRoute           = "route"            // the API key is for other routes
	ReasonMissingScope    = "missing_scope"    // a permission that the route requires
	ReasonUnknown         = "unknown"          // what [Reason] says of other errors
)

// Error is a refused credential. Code, Description and Scope are public;
// Reason and Cause are for metrics and logs.
type Error struct {
	Code        string   // Code…
	Description string   // a sentence for the caller; nothing of it comes from the token
	Reason      string   // Reason…
	Scope       []string // the permissions required, with CodeInsufficientScope
	Cause       error    // nil when the reason says it all
}

func (e *Error) Error() string {
	if e.Cause == nil {
		return "auth: " + e.Reason + ": " + e.Description
	}
	return "auth: " + e.Reason + ": " + e.Description + ": " + e.Cause.Error()
}

func (e *Error) Unwrap() error { return e.Cause }

// Status is the HTTP status that belongs to the code (RFC 6750 §3.1): 400, 401
// or 403; and 503 with CodeUnavailable, because a client that is told 401 throws
// a good token away and asks the ailing issuer for another.
func (e *Error) Status() int {
	switch e.Code {
	case CodeInvalidRequest:
		return http.StatusBadRequest
	case CodeInsufficientScope:
		return http.StatusForbidden
	case CodeUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusUnauthorized
}

// Reason is the metric word of an error: that of the *Error within it, or
// ReasonUnknown.
func Reason(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ReasonUnknown
}

// Insufficient is the refusal of an identity that lacks one of the permissions.
func Insufficient(required []string) *Error {
	return &Error{
		Code:        CodeInsufficientScope,
		Description: "The credential lacks a permission that this needs",
		Reason:      ReasonMissingScope,
		Scope:       required,
	}
}

const realm = `Bearer realm="sluice"`

// Challenge is the WWW-Authenticate value for an error (RFC 6750 §3).
//
// Without an *Error in err, nil included, it has the realm alone: a request that
// brought no credential is not told an error code. With CodeUnavailable it is
// the same, for nothing is wrong with the credential.
func Challenge(err error) string {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code == CodeUnavailable {
		return realm
	}
	var b strings.Builder
	b.WriteString(realm)
	parameter(&b, "error", e.Code)
	parameter(&b, "error_description", e.Description)
	parameter(&b, "scope", strings.Join(e.Scope, " "))
	return b.String()
}

// parameter appends one quoted parameter. RFC 6750 §3 allows %x20-21, %x23-5B and
// %x5D-7E in it, which leaves nothing to be escaped; other bytes become '?'.
func parameter(b *strings.Builder, name, value string) {
	if value == "" {
		return
	}
	b.WriteString(", ")
	b.WriteString(name)
	b.WriteString(`="`)
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			c = '?'
		}
		b.WriteByte(c)
	}
	b.WriteByte('"')
}

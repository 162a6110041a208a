package h1

import (
	"iter"
	"net/http"
	"net/textproto"
	"strings"
)

// Tokens yields the elements of a comma-separated list (RFC 9110 §5.6.1),
// without whitespace and without the empty ones. An element need not be a token.
func Tokens(value string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for value != "" {
			var element string
			element, value, _ = strings.Cut(value, ",")
			if element = trimOWS(element); element != "" && !yield(element) {
				return
			}
		}
	}
}

// HasToken reports whether one of the comma-separated lists has the token,
// without regard to case.
func HasToken(values []string, token string) bool {
	for _, value := range values {
		for element := range Tokens(value) {
			if equalFold(element, token) {
				return true
			}
		}
	}
	return false
}

// RemoveHopByHop takes out of h what is meant for the next hop alone (RFC 9110
// §7.6.1): the fields that Connection nominates, and those known to be such.
// An upgrade, where one is wanted, is written anew by the caller.
func RemoveHopByHop(h http.Header) {
	for _, value := range h["Connection"] {
		for name := range Tokens(value) {
			delete(h, textproto.CanonicalMIMEHeaderKey(name))
		}
	}
	for i, name := range names {
		if bit := Known(1) << i; HopByHop&bit != 0 {
			delete(h, name)
		} else if bit > HopByHop {
			return
		}
	}
}

// RemoveHopByHop is [RemoveHopByHop] of f.Header, at no cost when parsing saw no such field.
// Fields that were added since are not looked for.
func (f *Fields) RemoveHopByHop() {
	if f.Has(HopByHop) {
		RemoveHopByHop(f.Header)
	}
}

// trailerForbidden are the names that a trailer section cannot carry (RFC 9110
// §6.5.1): framing, routing, request modifiers, authentication, response
// control, and how content is processed. X-Forwarded-* and Forwarded are here because
// a gateway decides by them before the trailer is known.
var trailerForbidden = map[string]bool{
	"Age": true, "Authorization": true, "Cache-Control": true, "Connection": true,
	"Content-Encoding": true, "Content-Length": true, "Content-Range": true, "Content-Type": true,
	"Cookie": true, "Date": true, "Expect": true, "Expires": true, "Forwarded": true, "Host": true,
	"Keep-Alive": true, "Location": true, "Max-Forwards": true, "Pragma": true,
	"Proxy-Authenticate": true, "Proxy-Authorization": true, "Proxy-Connection": true, "Range": true,
	"Retry-After": true, "Set-Cookie": true, "Te": true, "Trailer": true, "Transfer-Encoding": true,
	"Upgrade": true, "Vary": true, "Www-Authenticate": true, "X-Api-Key": true,
}

// TrailerAllowed reports whether a field of this canonical name may stand in a trailer section.
func TrailerAllowed(name string) bool {
	return !trailerForbidden[name] && !strings.HasPrefix(name, "If-") &&
		!strings.HasPrefix(name, "X-Forwarded-")
}

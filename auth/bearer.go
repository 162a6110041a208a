package auth

import (
	"net/http"
	"strings"
)

// BearerToken takes the bearer token out of a request's header (RFC 6750 §2.1).
//
// Without an Authorization header, or with another scheme, present is false:
// absent is not wrong. With present true either the token or an *Error of
// CodeInvalidRequest is returned: for more than one Authorization header, no
// token after the scheme, or something after the token.
//
// Whether every byte of the token is one of b64token is asked by
// [Verifier.Verify], and there only of a token that it does not know yet: the
// loop over 600 bytes would cost as much as the rest of a repeated visit.
//
// The token shares memory with the header.
func BearerToken(h http.Header) (token string, present bool, err error) {
	values := h["Authorization"]
	if len(values) == 0 {
		return "", false, nil
	}
	if len(values) > 1 {
		// Two credentials in one request, and no rule which one counts: whoever
		// forwards it may believe the other (RFC 9110 §5.3: not a list).
		return "", true, &Error{
			Code:        CodeInvalidRequest,
			Description: "More than one Authorization header",
			Reason:      ReasonManyCredentials,
		}
	}
	const scheme = "bearer"
	value := values[0]
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", false, nil
	}
	rest := value[len(scheme):]
	if rest != "" && rest[0] != ' ' {
		return "", false, nil // another scheme, such as BearerX
	}
	// RFC 9110 §11.4: one or more spaces after the scheme.
	token = strings.Trim(rest, " ")
	if token == "" || strings.IndexByte(token, ' ') >= 0 || strings.IndexByte(token, ',') >= 0 {
		return "", true, &Error{
			Code:        CodeInvalidRequest,
			Description: "The Authorization header is not Bearer and one token",
			Reason:      ReasonMalformed,
		}
	}
	return token, true, nil
}

// b64token reports whether s is 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" /
// "/" ) *"=" (RFC 6750 §2.1).
func b64token(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case c == '-', c == '.', c == '_', c == '~', c == '+', c == '/':
		default:
			return false
		}
	}
	return s != ""
}

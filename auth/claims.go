package auth

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// lookupClaim finds a claim by its literal name, and else by its name as a
// dotted path. Auth0's custom claims are named by a URL, whose dots separate
// nothing, so at each level the longest member name that leads on is tried first:
// "https://acme.example/app.org.id" finds {"https://acme.example/app":
// {"org": {"id": …}}}. A null counts as absent.
func lookupClaim(claims map[string]any, name string) (value any, found bool) {
	if value, found = claims[name]; found {
		return value, value != nil
	}
	for dot := strings.LastIndexByte(name, '.'); dot > 0; dot = strings.LastIndexByte(name[:dot], '.') {
		if inner, ok := claims[name[:dot]].(map[string]any); ok {
			if value, found = lookupClaim(inner, name[dot+1:]); found {
				return value, true
			}
		}
	}
	return nil, false
}

// wordClaim is the text of a claim that goes into headers, logs and metric
// labels; empty when the claim is absent.
func wordClaim(claims map[string]any, name string, limit int) (string, *Error) {
	if name == "" {
		return "", nil
	}
	value, found := lookupClaim(claims, name)
	if !found {
		return "", nil
	}
	text, ok := value.(string)
	if !ok {
		return "", malformed("The claim %q is not text", name)
	}
	if !validWord(text, limit) {
		return "", malformed("The claim %q is not 1 to %d visible characters without quotes and separators", name, limit)
	}
	return text, nil
}

// subjectClaim is sub: short, and without what could end a header or a log line.
func subjectClaim(claims map[string]any) (string, *Error) {
	value, found := lookupClaim(claims, "sub")
	if !found {
		return "", nil
	}
	text, ok := value.(string)
	if !ok {
		return "", malformed("The claim %q is not text", "sub")
	}
	if text == "" || len(text) > maxSubject || !utf8.ValidString(text) || strings.TrimSpace(text) != text ||
		strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		return "", malformed("The claim %q is not 1 to %d printable bytes", "sub", maxSubject)
	}
	return text, nil
}

// permissionsClaim is a list of texts, or one text with spaces between the
// permissions, as the scope claim of RFC 9068 §2.2.3 has it.
func permissionsClaim(claims map[string]any, name string) ([]string, *Error) {
	value, found := lookupClaim(claims, name)
	if !found {
		return nil, nil
	}
	var permissions []string
	switch v := value.(type) {
	case string:
		permissions = strings.Fields(v)
	case []any:
		for _, element := range v {
			text, ok := element.(string)
			if !ok {
				return nil, malformed("The claim %q holds something that is not text", name)
			}
			permissions = append(permissions, text)
		}
	default:
		return nil, malformed("The claim %q is neither a list nor text", name)
	}
	for _, p := range permissions {
		if !scopeToken(p) {
			return nil, malformed("The claim %q holds a malformed permission", name)
		}
	}
	return permissions, nil
}

// scopeToken reports whether s is 1*( %x21 / %x23-5B / %x5D-7E ) (RFC 6749 §3.3),
// and not overlong.
func scopeToken(s string) bool {
	if s == "" || len(s) > maxPermission {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// maxDate is the end of the year 9999. Beyond it dates wrap around in places.
const maxDate = 253402300799

// checkDates refuses dates that are no numbers or out of range. What they mean
// is left to the validator.
func checkDates(claims map[string]any) *Error {
	for _, name := range [...]string{"exp", "nbf", "iat"} {
		value, present := claims[name]
		if !present {
			continue
		}
		seconds, ok := value.(float64)
		if !ok || seconds < 0 || seconds > maxDate {
			return malformed("The claim %q is not a date", name)
		}
	}
	return nil
}

func malformed(format string, args ...any) *Error {
	return &Error{Code: CodeInvalidToken, Description: fmt.Sprintf(format, args...), Reason: ReasonMalformed}
}

package h1

import "net/http"

// BodyKind says how the end of a body is found (RFC 9112 §6.3).
type BodyKind uint8

// The kinds.
const (
	NoBody     BodyKind = iota
	Sized               // Content-Length bytes
	Chunked             // until the last chunk
	UntilClose          // until the connection ends; responses only
)

// Framing is how the body of one message is delimited.
type Framing struct {
	Kind BodyKind
	// Length is the number of bytes: of a Sized body, 0 for NoBody, -1 when it is not known before the end.
	Length int64
}

var (
	noBody     = Framing{Kind: NoBody}
	chunked    = Framing{Kind: Chunked, Length: -1}
	untilClose = Framing{Kind: UntilClose, Length: -1}
)

// RequestFraming decides how the body of a request is delimited (RFC 9112 §6.3).
// minor is the minor version; coding and length are the values of the
// Transfer-Encoding and Content-Length lines in their order.
//
// What can be read in two ways is refused, where RFC 9112 leaves a choice too:
// both fields at once (§6.1, §11.2), a repeated Content-Length even of one value.
func RequestFraming(minor int, coding, length []string) (Framing, error) {
	return requestFraming(minor, len(coding), last(coding), len(length), last(length))
}

// ResponseFraming decides how the body of a response is delimited. method is
// that of the request. After a 101 the connection belongs to another protocol:
// what NoBody says then is that HTTP has nothing more to read.
//
// An upstream whose framing is in doubt is not believed: the same rules as for requests hold.
func ResponseFraming(method string, status, minor int, coding, length []string) (Framing, error) {
	return responseFraming(method, status, minor, len(coding), last(coding), len(length), last(length))
}

func last(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

func requestFraming(minor, codings int, coding string, lengths int, length string) (Framing, error) {
	f, err := framing(minor, codings, coding, lengths, length)
	if f.Kind == UntilClose {
		return noBody, err // §6.3 rule 7: a request without either has no body
	}
	return f, err
}

func responseFraming(method string, status, minor, codings int, coding string, lengths int, length string) (Framing, error) {
	f, err := framing(minor, codings, coding, lengths, length)
	if err != nil {
		return noBody, err
	}
	if method == http.MethodHead || !StatusAllowsBody(status) {
		return noBody, nil // §6.3 rule 1, whatever the fields say
	}
	return f, nil
}

// StatusAllowsBody reports whether a response of this status can have a body:
// every one but 1xx, 204 and 304 (RFC 9110 §6.4.1).
func StatusAllowsBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// framing is what both directions share. It returns untilClose when neither field is there.
func framing(minor, codings int, coding string, lengths int, length string) (Framing, error) {
	if codings > 0 {
		switch {
		case minor == 0:
			return noBody, errCodingInHTTP10 // §6.1: the framing is faulty
		case lengths > 0:
			return noBody, errLengthAndTE
		case codings > 1:
			return noBody, errCoding
		}
		return chunked, checkCoding(coding)
	}
	if lengths == 0 {
		return untilClose, nil
	}
	if lengths > 1 {
		return noBody, errManyLengths
	}
	n, ok := ParseLength(length)
	if !ok {
		return noBody, errLength
	}
	if n == 0 {
		return noBody, nil
	}
	return Framing{Kind: Sized, Length: n}, nil
}

// checkCoding refuses every Transfer-Encoding value but chunked alone: a body
// whose last coding is not chunked has no end (400, §6.3 rule 4), any further
// coding is one that is not understood (501, §6.1).
func checkCoding(value string) error {
	if equalFold(value, "chunked") {
		return nil
	}
	final, chunks, n := "", 0, 0
	for token := range Tokens(value) {
		if !isToken(token) {
			return errCoding // a parameter, which chunked has none of (§7.1), or worse
		}
		final = token
		n++
		if equalFold(token, "chunked") {
			chunks++
		}
	}
	switch {
	case n == 0 || chunks > 1:
		return errCoding
	case !equalFold(final, "chunked"):
		return errCodingNotLast
	case n == 1:
		return errCoding // ", chunked": an empty element (RFC 9110 §5.6.1.1)
	}
	return errCodingNot
}

// ParseLength reads the value of one Content-Length line: digits only, at most
// 18 of them, so that no sum of two overflows. A list such as "5, 5" is refused
// although RFC 9110 §8.6 lets a recipient take it for "5".
func ParseLength(s string) (n int64, ok bool) {
	if len(s) == 0 || len(s) > 18 {
		return 0, false
	}
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + int64(d)
	}
	return n, true
}

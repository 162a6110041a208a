package h1

import (
	"net/http"
	"strconv"
)

// LastChunk ends a chunked body that has no trailer section.
const LastChunk = "0\r\n\r\n"

const crlf = "\r\n"

// AppendRequestLine appends the request line of an HTTP/1.1 request. Both must be
// valid: a method is a token, a target holds no space and no control character
// ([ValidTarget]).
func AppendRequestLine(dst []byte, method, target string) []byte {
	dst = append(dst, method...)
	dst = append(dst, ' ')
	dst = append(dst, target...)
	return append(dst, " HTTP/1.1\r\n"...)
}

// AppendStatusLine appends a status line of version 1.minor with the standard
// reason phrase; status has three digits.
func AppendStatusLine(dst []byte, minor, status int) []byte {
	if minor == 1 && status == http.StatusOK {
		return append(dst, "HTTP/1.1 200 OK\r\n"...)
	}
	dst = append(dst, "HTTP/1."...)
	dst = append(dst, '0'+byte(minor), ' ')
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	text := http.StatusText(status)
	if text == "" {
		dst = append(dst, "status code "...)
		dst = strconv.AppendInt(dst, int64(status), 10)
	}
	dst = append(dst, text...)
	return append(dst, crlf...)
}

// AppendField appends one field line. name must be a token. What cannot stand
// in a value is written as a space, so that no value can end its line.
func AppendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	start := len(dst)
	dst = append(dst, trimOWS(value)...)
	if !validValue(dst[start:]) {
		for i, c := range dst[start:] {
			if c < ' ' && c != '\t' || c == 0x7f {
				dst[start+i] = ' '
			}
		}
	}
	return append(dst, crlf...)
}

// AppendFields appends a line for each value in h, in no particular order but
// values of one name in theirs. Names that are no tokens are left out.
func AppendFields(dst []byte, h http.Header) []byte {
	for name, values := range h {
		if !isToken(name) {
			continue
		}
		for _, value := range values {
			dst = AppendField(dst, name, value)
		}
	}
	return dst
}

// AppendLength appends a Content-Length line.
func AppendLength(dst []byte, n int64) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, crlf...)
}

// AppendChunkSize appends the line before a chunk of n bytes, n > 0. After the data goes a CRLF.
func AppendChunkSize(dst []byte, n int) []byte {
	dst = strconv.AppendInt(dst, int64(n), 16)
	return append(dst, crlf...)
}

// AppendChunk appends a whole chunk. Nothing is appended for empty data, which
// would be the last chunk.
func AppendChunk(dst, data []byte) []byte {
	if len(data) == 0 {
		return dst
	}
	dst = AppendChunkSize(dst, len(data))
	dst = append(dst, data...)
	return append(dst, crlf...)
}

// AppendTrailer ends a chunked body with a trailer section. Names that may not
// stand in one are left out.
func AppendTrailer(dst []byte, trailer http.Header) []byte {
	dst = append(dst, "0\r\n"...)
	for name, values := range trailer {
		if !isToken(name) || !TrailerAllowed(name) {
			continue
		}
		for _, value := range values {
			dst = AppendField(dst, name, value)
		}
	}
	return append(dst, crlf...)
}

// ValidMethod reports whether s can be a method: a token (RFC 9110 §9.1).
func ValidMethod(s string) bool { return isToken(s) }

// ValidTarget reports whether s can be written as a request target: not empty,
// visible ASCII, no #.
func ValidTarget(s string) bool { return len(s) > 0 && allOf(s, classTarget) }

// ValidName reports whether s can be a field name: a token (RFC 9110 §5.1).
func ValidName(s string) bool { return isToken(s) }

// ValidValue reports whether s can be a field value as it is: no control
// character but HTAB, no whitespace around it (RFC 9110 §5.5).
func ValidValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return len(trimOWS(s)) == len(s)
}

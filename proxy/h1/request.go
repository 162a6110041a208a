package h1

import (
	"bytes"
	"net/http"
	"net/url"
)

// TargetForm is the form of a request target (RFC 9112 §3.2).
type TargetForm uint8

// The forms that are accepted: authority-form belongs to CONNECT, which is not.
const (
	OriginForm   TargetForm = iota // /path?query
	AbsoluteForm                   // http://host/path?query
	AsteriskForm                   // *, with OPTIONS only
)

// Request is the head of one request. Its zero value is ready; Reset makes it
// so again. It is not safe for concurrent use.
type Request struct {
	Method string
	Target string // as it was received
	Form   TargetForm
	Minor  int // of the version: 0 or 1

	// URL is Target read as net/http does: Path, RawPath, RawQuery and ForceQuery,
	// with Scheme and Host in absolute-form.
	URL url.URL

	// Host is the authority: of an absolute-form target, else of the Host field.
	// Empty only in HTTP/1.0.
	Host string

	Framing Framing

	// Close says that the client takes no further response on this connection (RFC 9112 §9.3).
	Close bool

	Fields
}

// Reset empties the request for the next head; storage is kept.
func (m *Request) Reset() {
	m.Fields.Reset()
	*m = Request{Fields: m.Fields}
}

// ParseRequest reads a complete head, from the first byte of the request line
// to the empty line, into m, which must be new or Reset. The error is an *[Error];
// m is then of no use and must be Reset.
//
// Field names in head are brought into canonical form where they stand; else
// head is left alone, nothing in m points into it, and one string is allocated.
func ParseRequest(head []byte, m *Request, limits Limits) error {
	if m.Header == nil {
		m.Header = make(http.Header, 16)
	}
	if len(head) > limits.headBytes() {
		return errHeadTooLarge
	}
	lf := bytes.IndexByte(head, '\n')
	if lf < 0 {
		return errIncomplete
	}
	if lf == 0 || head[lf-1] != '\r' {
		return errBareLF
	}
	method, target, err := m.requestLine(head[:lf-1])
	if err != nil {
		return err
	}
	if err := m.scan(head, lf+1, limits.fields()); err != nil {
		return err
	}
	s := string(head)
	m.Method = internMethod(s[:method])
	m.Target = s[method+1 : target]
	m.fill(s)
	if m.Framing, err = requestFraming(m.Minor, m.codings, m.coding, m.lengths, m.length); err != nil {
		return err
	}
	if err := m.resolve(); err != nil {
		return err
	}
	m.Close = m.Connection&ConnClose != 0 || m.Minor == 0 && m.Connection&ConnKeepAlive == 0
	return nil
}

// requestLine checks "method SP target SP version" (RFC 9112 §3) and returns
// where the method and the target end. Exactly one space stands between them.
func (m *Request) requestLine(line []byte) (method, target int, err error) {
	method = bytes.IndexByte(line, ' ')
	if method < 0 {
		return 0, 0, errRequestLine
	}
	if !isToken(line[:method]) {
		return 0, 0, errMethod
	}
	target = bytes.LastIndexByte(line, ' ')
	if target <= method+1 {
		return 0, 0, errRequestLine
	}
	if !allOf(line[method+1:target], classTarget) {
		return 0, 0, errTarget
	}
	m.Minor, err = version(line[target+1:])
	return method, target, err
}

// version reads an HTTP-version (RFC 9112 §2.3) and returns the minor of 1.0 and 1.1.
func version(b []byte) (minor int, err error) {
	if string(b) == "HTTP/1.1" {
		return 1, nil
	}
	if len(b) != len("HTTP/1.1") || string(b[:5]) != "HTTP/" || b[6] != '.' ||
		classes[b[5]]&classes[b[7]]&classDigit == 0 {
		return 0, errVersion
	}
	if string(b[5:]) == "1.0" {
		return 0, nil
	}
	return 0, errVersionNot
}

// internMethod returns the constant of net/http, so that comparing with one is
// comparing pointers.
func internMethod(s string) string {
	switch s {
	case http.MethodGet:
		return http.MethodGet
	case http.MethodPost:
		return http.MethodPost
	case http.MethodPut:
		return http.MethodPut
	case http.MethodHead:
		return http.MethodHead
	case http.MethodDelete:
		return http.MethodDelete
	case http.MethodPatch:
		return http.MethodPatch
	case http.MethodOptions:
		return http.MethodOptions
	}
	return s
}

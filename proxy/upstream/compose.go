package upstream

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"

	"sluice/proxy/h1"
)

var (
	errMethod  = errors.New("the method cannot be forwarded")
	errTarget  = errors.New("the request target cannot be forwarded")
	errField   = errors.New("a header field has a line break or a NUL")
	errNoBytes = errors.New("there is a body length and no body")
)

// hopFilter has the bits of the names that isHop knows.
var hopFilter = func() (f uint64) {
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Host", "Content-Length", "Expect",
	} {
		f |= nameBit(name)
	}
	return f
}()

// isHop reports whether a client's field is meant for this hop alone (RFC 9110
// §7.6.1), or written by us from what the client said.
func isHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Host", "Content-Length", "Expect":
		return true
	}
	return false
}

// passing decides which of the client's fields are passed on.
type passing struct {
	filter    uint64 // a name without its bit here is passed on
	out       *Request
	nominated []string // the Connection field, when it names fields
}

func newPassing(out *Request) passing {
	p := passing{filter: hopFilter, out: out}
	if out.Drop != nil {
		p.filter |= out.Drop.filter
	}
	for i := range out.Set {
		p.filter |= nameBit(out.Set[i].Name)
	}
	for _, v := range out.Header["Connection"] {
		switch v {
		case "close", "keep-alive", "Keep-Alive", "Upgrade", "upgrade":
		default:
			p.nominated = out.Header["Connection"]
			p.filter = ^uint64(0)
		}
	}
	return p
}

func (p *passing) on(name string) bool {
	if p.filter&nameBit(name) == 0 {
		return true
	}
	if isHop(name) || p.out.Drop.Has(name) {
		return false
	}
	for i := range p.out.Set {
		if p.out.Set[i].Name == name {
			return false
		}
	}
	return p.nominated == nil || !h1.HasToken(p.nominated, name)
}

// compose appends the head of the HTTP/1.1 request, and the body when it is held.
func (e *Endpoint) compose(b []byte, out *Request) ([]byte, error) {
	if !h1.ValidMethod(out.Method) || out.Method == http.MethodConnect {
		return nil, errMethod
	}
	if !h1.ValidTarget(out.Target) {
		return nil, errTarget
	}
	if out.BodyLength != 0 && out.Body == nil {
		return nil, errNoBytes
	}
	start := len(b)
	b = append(b, out.Method...)
	b = append(b, ' ')
	if out.Target != "*" {
		b = append(b, e.prefix...)
	}
	b = append(b, out.Target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, e.hostOf(out)...)
	b = append(b, "\r\n"...)
	lines := 2

	pass := newPassing(out)
	for name, values := range out.Header {
		if !pass.on(name) {
			continue
		}
		for _, value := range values {
			b = appendField(b, name, value)
			lines++
		}
	}
	for i := range out.Set {
		if f := &out.Set[i]; f.Value != "" {
			b = appendField(b, f.Name, f.Value)
			lines++
		}
	}
	b, more := appendFraming(b, out)
	lines += more
	b = append(b, "\r\n"...)
	lines++

	// Every line was ended by us, or somebody smuggled one in. Counting is
	// done 32 bytes at a time, so it is cheaper here than in every value.
	if head := b[start:]; bytes.Count(head, []byte{'\n'}) != lines || bytes.Count(head, []byte{'\r'}) != lines ||
		bytes.IndexByte(head, 0) >= 0 {
		return nil, errField
	}
	if out.held != nil {
		b = append(b, out.held.b[:out.heldSize]...)
	}
	return b, nil
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// appendFraming writes what says how the body is delimited and what this
// connection is wanted for, and returns how many lines that took.
func appendFraming(b []byte, out *Request) (_ []byte, lines int) {
	switch {
	case out.BodyLength > 0:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, out.BodyLength, 10)
		b = append(b, "\r\n"...)
		lines++
	case out.BodyLength < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		lines++
		if announced := out.Header["Trailer"]; out.Trailer != nil {
			for _, value := range announced {
				b = appendField(b, "Trailer", value)
				lines++
			}
		}
	case out.Method == http.MethodPost || out.Method == http.MethodPut || out.Method == http.MethodPatch:
		b = append(b, "Content-Length: 0\r\n"...) // RFC 9110 §8.6
		lines++
	}
	if out.Expect && out.BodyLength != 0 {
		b = append(b, "Expect: 100-continue\r\n"...)
		lines++
	}
	trailers := len(out.Header["Te"]) > 0 && h1.HasToken(out.Header["Te"], "trailers")
	switch {
	case out.Upgrade != "" && trailers:
		b = append(b, "Connection: Upgrade, TE\r\nTe: trailers\r\nUpgrade: "...)
		lines += 2
	case out.Upgrade != "":
		b = append(b, "Connection: Upgrade\r\nUpgrade: "...)
		lines++
	case trailers: // RFC 9110 §10.1.4: TE is nominated
		b = append(b, "Connection: TE\r\nTe: trailers\r\n"...)
		lines += 2
	}
	if out.Upgrade != "" {
		b = append(b, out.Upgrade...)
		b = append(b, "\r\n"...)
		lines++
	}
	return b, lines
}

// idempotent reports whether a request may be sent twice without asking (RFC 9110 §9.2.2).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

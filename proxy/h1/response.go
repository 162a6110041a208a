package h1

import (
	"bytes"
	"net/http"
)

// Response is the head of one response. Its zero value is ready; Reset makes it
// so again. It is not safe for concurrent use.
type Response struct {
	Status int    // 100 to 599
	Reason string // perhaps empty; no meaning but to people
	Minor  int    // of the version: 0 or 1

	Framing Framing

	// Close says that the connection ends with this response: it is asked for, or the body ends so.
	Close bool

	Fields
}

// Reset empties the response for the next head; storage is kept.
func (m *Response) Reset() {
	m.Fields.Reset()
	*m = Response{Fields: m.Fields}
}

// ParseResponse reads a complete head, from the first byte of the status line to
// the empty line, into m, which must be new or Reset. method is that of the request.
// The error is an *[Error]; m is then of no use and must be Reset.
//
// An interim response (1xx) is a head like any other: the caller reads on, or,
// after 101, hands the connection over.
//
// Field names in head are brought into canonical form where they stand; else
// head is left alone, nothing in m points into it, and one string is allocated.
func ParseResponse(head []byte, method string, m *Response, limits Limits) error {
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
	if err := m.statusLine(head[:lf-1]); err != nil {
		return err
	}
	if err := m.scan(head, lf+1, limits.fields()); err != nil {
		return err
	}
	s := string(head)
	m.Reason = reason(m.Status, s[reasonAt(lf):lf-1])
	m.fill(s)
	var err error
	if m.Framing, err = responseFraming(method, m.Status, m.Minor, m.codings, m.coding, m.lengths, m.length); err != nil {
		return err
	}
	m.Close = m.Connection&ConnClose != 0 || m.Minor == 0 && m.Connection&ConnKeepAlive == 0 ||
		m.Framing.Kind == UntilClose
	return nil
}

const lineStatus = len("HTTP/1.1 200")

// reasonAt is where the reason phrase begins in a status line that ends at lf.
func reasonAt(lf int) int { return min(lineStatus+1, lf-1) }

// statusLine checks "version SP status SP [reason]" (RFC 9112 §4). The second
// space may be missing where no reason follows: many servers forget it.
func (m *Response) statusLine(line []byte) (err error) {
	if len(line) < lineStatus || line[8] != ' ' || len(line) > lineStatus && line[lineStatus] != ' ' {
		return errStatusLine
	}
	if m.Minor, err = version(line[:8]); err != nil {
		return err
	}
	if !allOf(line[9:lineStatus], classDigit) {
		return errStatus
	}
	m.Status = int(line[9]-'0')*100 + int(line[10]-'0')*10 + int(line[11]-'0')
	if m.Status < 100 || m.Status > 599 {
		return errStatus // RFC 9110 §15: outside is invalid
	}
	if len(line) > lineStatus && !validValue(line[lineStatus+1:]) {
		return errStatusLine
	}
	return nil
}

// reason returns the standard phrase itself where it is the one that was sent.
func reason(status int, sent string) string {
	if standard := http.StatusText(status); sent == standard {
		return standard
	}
	return sent
}

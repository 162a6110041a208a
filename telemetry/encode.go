package telemetry

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sluice/telemetry/redact"
)

// MaxLine is the most bytes that a line of the access log takes, with its line
// feed. It is the least PIPE_BUF that Linux gives, so that a line written to a
// pipe is never mixed with another process's (POSIX write).
const MaxLine = 4096

// Most bytes of each text as written, escapes included. Their sum with the
// keys and numbers stays below MaxLine, which a test checks.
const (
	maxWord  = 32 // protocol, method, tier and other words of ours
	maxName  = 128
	maxHost  = 255
	maxPath  = 1024
	maxAgent = 192
	maxError = 224
)

// encoder appends records as JSON. It remembers the date of the last one, as
// most lines fall into the second of the line before. Not safe for
// concurrent use; every shard has its own.
type encoder struct {
	redact *redact.Redactor // nil: nothing is taken out
	plain  []byte           // scratch for what is looked at
	clean  []byte           // scratch for what is left of it
	seen   []seenText       // texts that many requests share, as they are written
	tail   []byte           // the fields that are the same on every line, and the end
	second int64
	date   []byte // "2026-01-02T15:04:05" of second
}

// seenTexts is how many such texts are remembered. A browser's user agent takes
// longer to look through than the rest of a line takes to write.
const seenTexts = 256

type seenText struct {
	text  string
	limit int
	line  []byte // the inside of a JSON string
}

// maxSeen is the longest text that is remembered.
const maxSeen = 512

func newEncoder(node string, generation int, r *redact.Redactor) encoder {
	var tail []byte
	tail = appendOptional(tail, `,"node":"`, node, maxName)
	if generation != 0 {
		tail = strconv.AppendInt(append(tail, `,"generation":`...), int64(generation), 10)
	}
	e := encoder{tail: append(tail, "}\n"...), second: -1, redact: r}
	if r != nil {
		e.seen = make([]seenText, seenTexts)
	}
	return e
}

// append appends the line of r, at most MaxLine bytes.
func (e *encoder) append(b []byte, r *Record) []byte {
	b = append(b, `{"time":"`...)
	b = e.appendTime(b, r.Time)
	b = append(b, `","request_id":"`...)
	b = appendText(b, r.RequestID, maxName)
	b = append(b, '"')
	if !r.TraceID.IsZero() {
		b = append(b, `,"trace_id":"`...)
		b = appendHex(b, r.TraceID[:])
		b = append(b, `","span_id":"`...)
		b = appendHex(b, r.SpanID[:])
		b = append(b, '"')
	}
	b = append(b, `,"client_ip":"`...)
	b = appendAddr(b, r.Client)
	if r.Peer.IsValid() && r.Peer != r.Client {
		b = append(b, `","peer_ip":"`...)
		b = appendAddr(b, r.Peer)
	}
	b = append(b, `","protocol":"`...)
	b = appendText(b, r.Protocol, maxWord)
	b = append(b, '"')
	b = appendOptional(b, `,"tls":"`, r.TLS, maxWord)
	b = append(b, `,"method":"`...)
	b = appendText(b, r.Method, maxWord)
	b = append(b, `","host":"`...)
	b = e.appendShared(b, r.Host, maxHost)
	b = append(b, `","path":"`...)
	b = e.appendPath(b, r.Path)
	b = append(b, '"')
	b = appendOptional(b, `,"route":"`, r.Route, maxName)
	b = appendOptional(b, `,"service":"`, r.Service, maxName)
	b = appendOptional(b, `,"upstream":"`, r.Upstream, maxName)
	if r.Attempts != 0 {
		b = strconv.AppendInt(append(b, `,"attempts":`...), int64(r.Attempts), 10)
	}

	b = strconv.AppendInt(append(b, `,"status":`...), int64(r.Status), 10)
	b = append(b, `,"origin":"`...)
	b = appendText(b, r.Origin, maxWord)
	b = append(b, `","duration_ms":`...)
	b = appendMillis(b, r.Duration)
	if r.Wait != 0 {
		b = appendMillis(append(b, `,"upstream_ms":`...), r.Wait)
	}
	b = appendMillis(append(b, `,"overhead_ms":`...), r.Overhead)
	b = strconv.AppendInt(append(b, `,"bytes_in":`...), r.BytesIn, 10)
	b = strconv.AppendInt(append(b, `,"bytes_out":`...), r.BytesOut, 10)

	b = appendOptional(b, `,"tenant":"`, r.Tenant, maxName)
	b = appendOptional(b, `,"tenant_source":"`, r.TenantSource, maxWord)
	b = appendOptional(b, `,"tier":"`, r.Tier, maxWord)
	if r.Subject != "" {
		b = append(e.appendShared(append(b, `,"subject":"`...), r.Subject, maxName), '"')
	}
	b = appendOptional(b, `,"auth":"`, r.Auth, maxWord)
	b = appendOptional(b, `,"key_id":"`, r.KeyID, maxWord)
	if r.Limit != "" {
		b = append(b, `,"limit":"`...)
		b = appendText(b, r.Limit, maxName)
		b = append(b, `","remaining":`...)
		b = strconv.AppendInt(b, r.Remaining, 10)
		b = appendOptional(b, `,"limit_result":"`, r.LimitResult, maxWord)
		b = appendOptional(b, `,"zone":"`, r.Zone, maxWord)
	}
	if r.WAF != nil {
		b = r.WAF.append(b)
	}
	if r.UserAgent != "" {
		b = append(e.appendShared(append(b, `,"user_agent":"`...), r.UserAgent, maxAgent), '"')
	}
	if r.Error != "" {
		b = append(e.appendShared(append(b, `,"error":"`...), r.Error, maxError), '"')
	}
	return append(b, e.tail...)
}

// appendPath appends a path, redacted.
func (e *encoder) appendPath(b []byte, path string) []byte {
	if e.redact == nil {
		return appendText(b, path, maxPath)
	}
	e.plain = append(e.plain[:0], path...)
	if e.redact.CleanPath(e.plain) {
		return appendText(b, path, maxPath)
	}
	return appendText(b, string(e.redact.Path(nil, e.plain)), maxPath)
}

// appendSecrets appends a text without the secrets in it.
func (e *encoder) appendSecrets(b []byte, text string, limit int) []byte {
	if e.redact == nil {
		return appendText(b, text, limit)
	}
	// Somewhat more than is written is looked at, for what is cut.
	text = text[:min(len(text), 2*limit)]
	e.plain = append(e.plain[:0], text...)
	if e.clean = e.redact.Secrets(e.clean[:0], e.plain); bytes.Equal(e.clean, e.plain) {
		return appendText(b, text, limit)
	}
	return appendText(b, string(e.clean), limit)
}

// appendShared is appendSecrets for a text that other requests have as well.
func (e *encoder) appendShared(b []byte, text string, limit int) []byte {
	if e.redact == nil || text == "" {
		return appendText(b, text, limit)
	}
	n := len(text)
	if n > maxSeen {
		return e.appendSecrets(b, text, limit)
	}
	h := uint(limit) + uint(n)*31 + uint(text[0])*7 + uint(text[n-1])*131 + uint(text[n/2])*17 + uint(text[n/3])*257
	s := &e.seen[h%seenTexts]
	if s.text != text || s.limit != limit {
		s.text, s.limit = strings.Clone(text), limit
		s.line = e.appendSecrets(s.line[:0], text, limit)
	}
	return append(b, s.line...)
}

// appendTime appends t in UTC to the millisecond (RFC 3339).
func (e *encoder) appendTime(b []byte, t time.Time) []byte {
	if s := t.Unix(); s != e.second {
		e.second = s
		e.date = t.UTC().AppendFormat(e.date[:0], "2006-01-02T15:04:05")
	}
	ms := t.Nanosecond() / 1e6
	b = append(b, e.date...)
	return append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z')
}

// appendMillis appends d in milliseconds to the microsecond. A negative time,
// from a clock that was set back, is 0.
func appendMillis(b []byte, d time.Duration) []byte {
	us := max(d, 0).Microseconds()
	b = strconv.AppendInt(b, us/1000, 10)
	us %= 1000
	return append(b, '.', byte('0'+us/100), byte('0'+us/10%10), byte('0'+us%10))
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return b
	}
	if a.Zone() != "" { // the zone is an interface's name, of this host: not the client's
		a = a.WithZone("")
	}
	return a.Unmap().AppendTo(b)
}

func appendHex(b, src []byte) []byte {
	for _, c := range src {
		b = append(b, hexDigits[c>>4], hexDigits[c&15])
	}
	return b
}

// AppendText appends s as the inside of a JSON string, at most limit bytes, for the
// lines of a [Stream]: a text of a client can neither end the string nor
// send commands to the terminal that shows it. What is cut ends in "…".
func AppendText(b []byte, s string, limit int) []byte { return appendText(b, s, limit) }

// AppendTime appends t as the lines of a [Stream] have it: UTC, RFC 3339, to the
// millisecond.
func AppendTime(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
}

// appendOptional appends a key and s, or nothing when s is empty.
func appendOptional(b []byte, key, s string, limit int) []byte {
	if s == "" {
		return b
	}
	return append(appendText(append(b, key...), s, limit), '"')
}

// plain tells the bytes that stand for themselves in a JSON text.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// appendText appends s as the inside of a JSON string, at most limit bytes.
func appendText(b []byte, s string, limit int) []byte {
	if len(s) <= limit {
		i := 0
		for i < len(s) && plain[s[i]] {
			i++
		}
		if i == len(s) {
			return append(b, s...)
		}
	}
	return appendEscaped(b, s, limit)
}

const ellipsis = "…"

// appendEscaped escapes what RFC 8259 §7 demands and, beyond it, DEL and the C1
// controls, which a terminal that shows the log would obey. Bytes that are not
// UTF-8 become U+FFFD each.
func appendEscaped(b []byte, s string, limit int) []byte {
	start := len(b)
	cut := start // how much of b leaves room for the ellipsis
	for i := 0; i < len(s); {
		c := s[i]
		size := 1
		switch {
		case plain[c]:
			b = append(b, c)
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < 0x80: // a control, or DEL
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			if r < 0xa0 { // C1
				b = append(b, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
			} else {
				b = utf8.AppendRune(b, r) // U+FFFD for what is not UTF-8
			}
		}
		if len(b)-start > limit {
			return append(b[:cut], ellipsis...)
		}
		if len(b)-start <= limit-len(ellipsis) {
			cut = len(b)
		}
		i += size
	}
	return b
}

package upstream

import (
	"io"
	"net/http"
	"net/textproto"
	"time"
)

// Field is one header field line. Name is in canonical form.
type Field struct{ Name, Value string }

// Timeouts bound the stages of one try; 0 means no bound. They are watched by
// the registry's ticker, so that they end an exchange up to two ticks late and never early.
type Timeouts struct {
	// Connect bounds waiting for a free connection, and then making one: TCP and TLS.
	Connect time.Duration
	// Header runs from the end of the request to the end of the response head.
	Header time.Duration
	// Idle is how long no byte of a body, or of a tunnel in either direction, may move.
	Idle time.Duration
}

// Request is one request on its way to an upstream. The same value is given to
// Do again for another try. It must not be changed while an exchange lasts: from
// Do to its error, or to the end of Response.Close.
type Request struct {
	Method string
	Target string // origin-form, or *; the endpoint's path prefix is put in front
	Host   string // Host field; empty: the endpoint's own

	// Header is what the client sent; it is only read. Host, Content-Length,
	// Transfer-Encoding, Expect and what is meant for one hop alone (RFC 9110 §7.6.1,
	// with what Connection nominates) is not passed on; "TE: trailers" is.
	Header http.Header
	// Drop are further fields of Header that are not passed on. May be nil.
	Drop *NameSet
	// Set is written after Header, and replaces its fields of the same names. An
	// entry with an empty value only removes. A name may stand here several times.
	Set []Field

	// Body is read once, from start to end, and not closed; nil: none. Unless it is
	// small, it is read by another goroutine than that of Do, until the exchange ends.
	Body io.Reader
	// BodyLength is Content-Length: 0 for no body, -1 when it is not known.
	BodyLength int64
	// Interrupt makes a Read of Body that waits for the client return soon; what
	// Body gives afterwards does not matter. It is called when the exchange ends before
	// Body does. Without it, the end of the exchange waits for the Read.
	Interrupt func()
	// Trailer, if not nil, points to the trailer fields; it is read once Body has ended.
	Trailer *http.Header

	// Expect sends Expect: 100-continue, and does not read Body before the upstream
	// answers 100, or a second has passed.
	Expect bool
	// Upgrade is the protocol of an Upgrade request, such as "websocket"; empty: none.
	Upgrade string

	Timeouts Timeouts
	// Deadline ends the exchange; zero: none. It no longer holds once a stream
	// runs: after 101, for text/event-stream, and for application/grpc.
	Deadline time.Time

	held     *buffer // the small body, so that it can be sent again
	heldSize int
	bodyRead bool // Body was read and is not held
}

// Release gives back what the request holds and makes it empty, ready for
// another use. To be called when no further try follows.
func (r *Request) Release() {
	if r.held != nil {
		r.held.release()
	}
	*r = Request{}
}

// NameSet is a set of canonical field names, made once and asked often.
type NameSet struct {
	filter uint64
	names  map[string]struct{}
}

// NewNameSet returns the set of the names, brought into canonical form.
func NewNameSet(names ...string) *NameSet {
	s := &NameSet{names: make(map[string]struct{}, len(names))}
	for _, name := range names {
		name = textproto.CanonicalMIMEHeaderKey(name)
		s.names[name] = struct{}{}
		s.filter |= nameBit(name)
	}
	return s
}

// Has reports whether the canonical name is in the set. A nil set is empty.
func (s *NameSet) Has(name string) bool {
	if s == nil || s.filter&nameBit(name) == 0 {
		return false
	}
	_, ok := s.names[name]
	return ok
}

// nameBit maps a name to one of 64 bits, so that most names that are not in a
// set are told by one comparison.
func nameBit(name string) uint64 {
	n := len(name)
	if n == 0 {
		return 1
	}
	return 1 << ((uint(n)*7 + uint(name[0])*3 + uint(name[n-1])) & 63)
}

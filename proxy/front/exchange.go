package front

import (
	"errors"
	"net/http"
	"runtime"
	"sync"

	"sluice/proxy/h1"
)

// exchange is one request and its response, made to be used again: a
// connection takes one when a head arrives and gives it back when it has been answered.
type exchange struct {
	conn *conn
	head h1.Request
	// request is what the handler gets. The template is an empty one with ctx in
	// it: assigned before each use, it also resets what net/http keeps private
	// (path values) without the allocation of WithContext.
	request  http.Request
	template http.Request
	ctx      *requestContext
	coding   [1]string // backs request.TransferEncoding

	body   h1.Body
	handle *requestBody // what the handler has of body; nil without one
	w      response

	// reusable says that nobody can hold a part of it any more.
	reusable bool
	poisoned bool
}

var exchanges = sync.Pool{New: func() any {
	x := new(exchange)
	x.head.Reset()
	x.w.init(x)
	x.renewContext()
	return x
}}

func getExchange() *exchange {
	x := exchanges.Get().(*exchange)
	if x.poisoned {
		x.wipe()
	}
	return x
}

// putExchange gives x back, wiped: nothing of a request stays in memory for the sake of a pool.
func putExchange(x *exchange, poison bool) {
	x.wipe()
	if poison {
		x.poison()
	}
	exchanges.Put(x)
}

func (x *exchange) wipe() {
	x.head.Reset()
	x.request = http.Request{}
	x.body.Reset(nil, h1.Framing{}, h1.Limits{})
	x.w.reset()
	x.conn, x.handle, x.reusable, x.poisoned = nil, nil, false, false
}

// renewContext gives x a context that nobody knows.
func (x *exchange) renewContext() {
	x.ctx = new(requestContext)
	x.template = *new(http.Request).WithContext(x.ctx)
}

// serve has the request in x.head answered. It reports whether another may
// follow on the connection.
func (x *exchange) serve(c *conn) (keep bool) {
	x.begin(c)
	if expect := x.request.Header["Expect"]; expect != nil && !x.expect(expect) {
		c.lingers = x.refuse(c, http.StatusExpectationFailed, "the expectation cannot be met")
		x.end()
		return false
	}
	if !x.call(c.server.Handler) || x.w.hijacked {
		// Somebody may hold parts of it: it is not used again.
		x.detach()
		x.ctx.cancel()
		x.ctx.end()
		return false
	}
	x.w.finish()
	keep = x.w.keep() && x.drained()
	c.lingers = !keep && x.w.err == nil && x.handle != nil && !x.body.Done()
	x.reusable = true
	x.end()
	return keep
}

// begin makes the request out of the head.
func (x *exchange) begin(c *conn) {
	x.conn = c
	x.request = x.template
	m, r := &x.head, &x.request
	r.Method = m.Method
	r.URL = &m.URL
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	if m.Minor == 0 {
		r.Proto, r.ProtoMinor = "HTTP/1.0", 0
	}
	r.Header = m.Header
	r.Host = m.Host
	r.RequestURI = m.Target
	r.RemoteAddr = c.remote
	r.TLS = c.tls
	r.Close = m.Close
	r.ContentLength = m.Framing.Length
	r.Body = http.NoBody
	if m.Framing.Kind != h1.NoBody {
		x.beginBody()
	}
	if m.Has(h1.KnownPragma) {
		fixPragma(r.Header)
	}
	x.w.begin(m.Minor, m.Method == http.MethodHead)
	x.w.closeAfter = m.Close
	x.w.keepAlive10 = m.Minor == 0 && !m.Close
	x.ctx.begin(c)
}

// beginBody gives the request its body.
func (x *exchange) beginBody() {
	r := &x.request
	if x.head.Framing.Kind == h1.Chunked {
		x.coding[0] = "chunked"
		r.TransferEncoding = x.coding[:]
		if x.head.Has(h1.KnownTrailer) {
			r.Trailer = declaredTrailer(r.Header)
		}
	}
	c := x.conn
	c.received.Store(0)
	c.bodyRead.Store(false)
	x.body.Reset(&c.in, x.head.Framing, c.server.Limits)
	x.handle = &requestBody{x: x}
	r.Body = x.handle
}

// declaredTrailer moves the names in the Trailer field to a map of their own, as net/http does.
func declaredTrailer(h http.Header) http.Header {
	var trailer http.Header
	for _, value := range h["Trailer"] {
		for name := range h1.Tokens(value) {
			if name = http.CanonicalHeaderKey(name); h1.TrailerAllowed(name) {
				if trailer == nil {
					trailer = make(http.Header)
				}
				trailer[name] = nil
			}
		}
	}
	delete(h, "Trailer")
	return trailer
}

// fixPragma is RFC 9111 §5.4 as net/http applies it.
func fixPragma(h http.Header) {
	if pragma := h["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" {
		if _, present := h["Cache-Control"]; !present {
			h["Cache-Control"] = []string{"no-cache"}
		}
	}
}

// expect deals with the Expect field (RFC 9110 §10.1.1). It reports whether the expectation can be met.
func (x *exchange) expect(values []string) bool {
	if h1.HasToken(values, "100-continue") {
		// HTTP/1.0 has no interim responses: the field is ignored there.
		if x.head.Minor > 0 && x.handle != nil {
			x.w.expects, x.w.continues = true, true
		}
		return true
	}
	return len(values[0]) == 0
}

// call calls the handler. It reports whether the handler returned.
func (x *exchange) call(h http.Handler) (returned bool) {
	defer func() {
		if returned {
			return
		}
		cause := recover()
		if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			return
		}
		stack := make([]byte, 64<<10)
		stack = stack[:runtime.Stack(stack, false)]
		x.conn.server.logf("panic serving %s: %v\n%s", x.conn.remote, cause, stack)
	}()
	h.ServeHTTP(&x.w, &x.request)
	return true
}

// refuse answers a request that does not reach the handler. It reports whether
// the answer was written.
func (x *exchange) refuse(c *conn, status int, reason string) bool {
	x.conn = c
	x.w.begin(1, false)
	x.w.closeAfter = true
	if !x.call(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c.server.BadRequest(w, c.remote, status, reason)
	})) || x.w.hijacked {
		x.reusable = false
		return false
	}
	x.reusable = true
	x.w.finish()
	return x.w.err == nil
}

// detach takes the body away from the handler, waiting for nobody: a goroutine
// that still reads is made to stop.
func (x *exchange) detach() {
	if x.handle != nil {
		x.handle.detach()
	}
}

// end ends the request: the handler has returned and everything is written.
func (x *exchange) end() {
	x.detach()
	if x.request.MultipartForm != nil {
		_ = x.request.MultipartForm.RemoveAll() // files in the temporary directory, at worst left to it
	}
	if !x.ctx.end() {
		x.renewContext()
	}
	c := x.conn
	if c.ownRead.Load() || c.ownWrite.Load() || c.relaxed.Load() {
		c.restoreDeadlines()
	}
}

// poison makes whoever kept the request see that it did. Under the race
// detector keeping it is a race with these writes.
func (x *exchange) poison() {
	const word = "poisoned: the handler has returned"
	x.poisoned = true
	for _, h := range []http.Header{x.head.Header, x.w.header} {
		h["Poisoned"] = []string{word}
	}
	x.head.URL.Host, x.head.URL.Path, x.head.URL.RawPath, x.head.URL.RawQuery = word, word, word, word
	x.request = http.Request{Method: word, RequestURI: word, Host: word, RemoteAddr: word, ContentLength: -2,
		URL: &x.head.URL, Header: x.head.Header}
}

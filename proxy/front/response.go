package front

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"sluice/proxy/h1"
)

const (
	// outBytes holds a head and a small body, so that both go out in one write.
	outBytes = 8 << 10
	// bodyBytes is how much of a body is held back until its length is known, or a flush.
	bodyBytes = 4 << 10
)

// response is the [http.ResponseWriter] of a request. Like net/http's it is for
// one goroutine at a time; the body may be read in another meanwhile.
type response struct {
	x      *exchange
	header http.Header // the handler's

	minor       int  // version of the request
	isHead      bool // answers HEAD
	expects     bool // the client waits for 100 Continue
	keepAlive10 bool // HTTP/1.0 with Connection: keep-alive
	closeAfter  bool // the connection ends with this response
	fullDuplex  bool
	hijacked    bool
	done        bool // the handler has returned

	status   int       // 0 until WriteHeader
	fields   fieldsSet // what the handler has set
	declared int64     // Content-Length; -1: none
	written  int64     // body bytes that the handler has written
	wire     bool      // the head is complete, in out or gone
	chunking bool
	trailers []string // announced in Trailer
	err      error    // the first failed write

	out     []byte // head, or whatever goes out next
	body    []byte // written and held back
	outBuf  [outBytes]byte
	bodyBuf [bodyBytes]byte
	pieces  [3][]byte // backs vector
	vector  net.Buffers

	continueMu sync.Mutex // guards continues, and writing 100 Continue against the head
	continues  bool       // 100 Continue may still be sent
}

// fieldsSet is what WriteHeader has found in the handler's header.
type fieldsSet struct {
	connection      []string
	contentType     bool // present, perhaps empty
	contentEncoding bool
	date            bool
	identity        bool // Transfer-Encoding: identity
	coding          bool // any Transfer-Encoding
	trailer         bool // Trailer, or a name with http.TrailerPrefix
	upgrade         bool
}

func (w *response) init(x *exchange) {
	w.x = x
	w.reset()
}

// reset wipes what the last request has left.
func (w *response) reset() {
	h := w.header
	if h == nil || len(h) > 64 {
		h = make(http.Header, 16)
	}
	clear(h)
	w.header = h
	w.fields = fieldsSet{}
	w.status, w.declared, w.written, w.err = 0, -1, 0, nil
	w.wire, w.chunking, w.fullDuplex, w.hijacked, w.done = false, false, false, false, false
	w.expects, w.continues, w.keepAlive10, w.closeAfter = false, false, false, false
	clear(w.trailers)
	w.trailers = w.trailers[:0]
	w.out, w.body = w.outBuf[:0], w.bodyBuf[:0] // dropping what a large head has made of out
}

func (w *response) begin(minor int, isHead bool) { w.minor, w.isHead = minor, isHead }

// Header implements [http.ResponseWriter].
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter].
func (w *response) WriteHeader(status int) {
	switch {
	case w.hijacked:
		w.misuse("WriteHeader on hijacked connection")
		return
	case w.status != 0:
		w.misuse("superfluous WriteHeader")
		return
	case status < 100 || status > 999:
		panic(fmt.Sprintf("invalid WriteHeader code %v", status))
	}
	if status == http.StatusContinue || status >= 200 || status == http.StatusSwitchingProtocols {
		w.disableContinue()
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		w.interim(status)
		return
	}
	w.status = status
	w.composeFields()
}

// interim writes an informational response at once. HTTP/1.0 has none (RFC 9110 §15.2).
func (w *response) interim(status int) {
	if w.minor == 0 {
		return
	}
	w.out = h1.AppendStatusLine(w.out[:0], w.minor, status)
	for name, values := range w.header {
		if name == "Content-Length" || name == "Transfer-Encoding" || !h1.ValidName(name) {
			continue
		}
		for _, value := range values {
			w.out = h1.AppendField(w.out, name, value)
		}
	}
	w.out = append(w.out, "\r\n"...)
	if w.expects {
		w.continueMu.Lock()
		defer w.continueMu.Unlock()
	}
	w.flushOut(nil, nil)
}

// disableContinue sees to it that no 100 Continue is sent from now on. One that
// is being sent is waited for.
func (w *response) disableContinue() {
	if w.expects {
		w.continueMu.Lock()
		w.continues = false
		w.continueMu.Unlock()
	}
}

// sendContinue sends 100 Continue unless it has been sent, or a response has begun.
func (w *response) sendContinue() {
	w.continueMu.Lock()
	defer w.continueMu.Unlock()
	if !w.continues {
		return
	}
	w.continues = false
	c := w.x.conn
	c.writing.Add(1)
	_, _ = io.WriteString(c.sock, "HTTP/1.1 100 Continue\r\n\r\n") // a client that has gone sends no body either
	c.writing.Add(1)
}

// Write implements [io.Writer].
func (w *response) Write(p []byte) (int, error) {
	if ok, err := w.admit(len(p)); !ok {
		return 0, err
	}
	return w.write(p)
}

// write takes what has been admitted.
func (w *response) write(p []byte) (int, error) {
	switch {
	case w.hold(len(p)):
		*w.holder() = append(*w.holder(), p...)
	case w.isHead:
		if !w.wire {
			w.composeHead(p) // now: the length is more than what is held back
		}
	default:
		if err := w.send(p, false); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// WriteString implements [io.StringWriter].
func (w *response) WriteString(s string) (int, error) {
	if ok, err := w.admit(len(s)); !ok {
		return 0, err
	}
	if w.hold(len(s)) {
		*w.holder() = append(*w.holder(), s...)
		return len(s), nil
	}
	return w.write([]byte(s))
}

// holder is where the body is held back: behind a complete head when it is sent
// as it is, else apart.
func (w *response) holder() *[]byte {
	if w.wire && !w.chunking {
		return &w.out
	}
	return &w.body
}

// admit decides whether n bytes may be written to the body, and counts them.
func (w *response) admit(n int) (ok bool, err error) {
	if w.hijacked {
		if n > 0 {
			w.misuse("Write on hijacked connection")
		}
		return false, http.ErrHijacked
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case n == 0:
		return false, nil
	case !h1.StatusAllowsBody(w.status):
		return false, http.ErrBodyNotAllowed
	}
	w.written += int64(n)
	switch {
	case w.declared >= 0 && w.written > w.declared:
		return false, http.ErrContentLength
	case w.err != nil:
		return false, w.err
	}
	return true, nil
}

// hold reports whether n more bytes can be held back, and completes the head if
// that can be done by now.
func (w *response) hold(n int) bool {
	if !w.wire && w.declared >= 0 && !w.isHead && w.ready() {
		w.composeHead(nil)
	}
	if w.wire && !w.chunking {
		return !w.isHead && len(w.out)+n <= outBytes
	}
	return len(w.body)+n <= bodyBytes
}

// ready reports whether the head can be completed before the body is known, with
// the same outcome: nothing is to be read off the request before, and no type guessed.
func (w *response) ready() bool {
	return (w.fields.contentType || w.fields.contentEncoding) && (w.x.handle == nil || w.x.body.Done())
}

// Flush implements [http.Flusher].
func (w *response) Flush() { _ = w.FlushError() } // Flush has no way to tell

// FlushError sends what is held back. It is what [http.ResponseController.Flush] calls.
func (w *response) FlushError() error {
	if w.hijacked {
		return http.ErrHijacked
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.wire && len(w.out) == 0 && len(w.body) == 0 {
		return w.err
	}
	return w.send(nil, false)
}

// copyBytes is the size of the buffer that large bodies go through.
const copyBytes = 64 << 10

var copies = sync.Pool{New: func() any { return new([copyBytes]byte) }}

// ReadFrom implements [io.ReaderFrom]: it copies src through one large buffer,
// so that what src gives at a time is written at a time.
func (w *response) ReadFrom(src io.Reader) (n int64, err error) {
	buf := copies.Get().(*[copyBytes]byte)
	defer copies.Put(buf)
	for {
		k, readErr := src.Read(buf[:])
		if k > 0 {
			m, err := w.Write(buf[:k])
			n += int64(m)
			if err != nil {
				return n, err
			}
		}
		if readErr == io.EOF {
			return n, nil
		}
		if readErr != nil {
			return n, readErr
		}
	}
}

// SetReadDeadline is what [http.ResponseController.SetReadDeadline] calls.
func (w *response) SetReadDeadline(t time.Time) error {
	w.x.conn.ownRead.Store(true)
	return w.x.conn.sock.SetReadDeadline(t)
}

// SetWriteDeadline is what [http.ResponseController.SetWriteDeadline] calls.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.x.conn.ownWrite.Store(true)
	return w.x.conn.sock.SetWriteDeadline(t)
}

// EnableFullDuplex is what [http.ResponseController.EnableFullDuplex] calls.
func (w *response) EnableFullDuplex() error {
	w.fullDuplex = true
	w.x.conn.relaxed.Store(true)
	return nil
}

// Hijack implements [http.Hijacker].
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.done {
		panic("front: Hijack after the handler has returned")
	}
	if w.hijacked {
		return nil, nil, http.ErrHijacked
	}
	w.disableContinue()
	if w.status != 0 && !w.wire {
		if err := w.send(nil, false); err != nil {
			return nil, nil, err
		}
	}
	if len(w.out) > 0 {
		w.flushOut(nil, nil)
	}
	return w.x.conn.hijack(w)
}

// misuse logs a mistake of the handler with the place where it was made.
func (w *response) misuse(what string) {
	if w.x.conn.server.ErrorLog == nil {
		return
	}
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "sluice/proxy/front.(*response)") || !more {
			w.x.conn.server.logf("%s, from %s (%s:%d)", what, frame.Function, frame.File, frame.Line)
			return
		}
	}
}

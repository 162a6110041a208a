package proxy

import (
	"io"
	"net/http"
)

// beginCapture decides whether the payload of the request is logged, once it is
// known whose it is and where it goes.
func (g *Gateway) beginCapture(e *exchange) *refusal {
	if p := g.deps.Payloads; p != nil {
		e.capture, e.captureAsked = p.Begin(e.record.Route, e.tenant, e.start), true
	}
	return nil
}

// endCapture writes the payload's line. One that was refused before beginCapture
// has headers alone.
func (g *Gateway) endCapture(e *exchange) {
	if !e.captureAsked {
		g.beginCapture(e)
	}
	if e.capture != nil {
		if e.r.ContentLength > 0 && e.body.read == e.r.ContentLength {
			e.capture.RequestEnded() // a length was read to its end without asking for more
		}
		e.capture.End(&e.record, e.r.URL.RawQuery, e.r.Header, e.w.Header())
	}
}

// capturedBody passes a request's body on, and shows it to the capture.
type capturedBody struct {
	io.Reader
	e *exchange
}

func (b capturedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.e.capture.Request(b.e.r.Header, p[:n])
	if err == io.EOF {
		b.e.capture.RequestEnded()
	}
	return n, err
}

// capturedAnswer passes an answer's body on, and shows it to the capture.
type capturedAnswer struct {
	http.ResponseWriter
	e *exchange
}

func (a capturedAnswer) Write(p []byte) (int, error) {
	n, err := a.ResponseWriter.Write(p)
	a.e.capture.Response(a.ResponseWriter.Header(), p[:n])
	return n, err
}

func (a capturedAnswer) FlushError() error {
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// answerWriter is where the answer's body is written to.
func (e *exchange) answerWriter() io.Writer {
	if e.capture != nil {
		return capturedAnswer{e.w, e}
	}
	return e.w
}

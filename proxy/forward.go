package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"sluice/proxy/upstream"
)

// retryPolicy says which failures of a try are repeated.
type retryPolicy struct {
	attempts int
	kinds    uint32 // bit set of upstream.Kind, for idempotent requests
	statuses [3]bool
}

func (p *retryPolicy) onStatus(status int) bool {
	return status >= 502 && status <= 504 && p.statuses[status-502]
}

// idempotent reports whether repeating the method is harmless (RFC 9110 §9.2.2).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// forward sends the request to an upstream, again to another when that is
// safe, and passes the answer back.
func (g *Gateway) forward(e *exchange) {
	svc := e.service
	svc.Budget().Count(e.start)
	e.in.Header = e.w.Header()
	e.in.On1xx = e.interim
	for attempt := 1; ; attempt++ {
		ep, err := svc.Pick(e.hash(), &e.tried)
		if err != nil {
			g.answer(e, &refusal{code: codeNoUpstream, retry: time.Second, cause: err})
			return
		}
		e.record.Upstream, e.record.Attempts = ep.URL(), attempt
		sent := time.Now()
		err = ep.Do(e.r.Context(), &e.out, &e.in)
		e.waited += time.Since(sent)
		again := attempt < svc.retry.attempts && e.r.Context().Err() == nil
		switch {
		case err != nil && again && g.mayRepeat(e, err) && svc.Budget().Take(e.start):
		case err != nil:
			g.answerFailure(e, err)
			return
		case again && svc.retry.onStatus(e.in.Status) && idempotent(e.r.Method) && e.out.BodyLength == 0 && svc.Budget().Take(e.start):
			e.in.Close()
		default:
			g.relay(e)
			return
		}
		svc.metrics.Retried()
		e.tried.Add(ep)
		clear(e.in.Header)
	}
}

func (e *exchange) hash() uint64 {
	if !e.service.hashed {
		return 0
	}
	return e.affinity()
}

// mayRepeat reports whether a failed try may be made again without doing
// something twice: nothing of it was sent, or the method is idempotent; and in
// both cases the body is still whole.
func (g *Gateway) mayRepeat(e *exchange, err error) bool {
	var failed *upstream.Error
	if !errors.As(err, &failed) || failed.BodyRead || e.wroteInterim {
		return false
	}
	if e.service.retry.kinds&(1<<failed.Kind) == 0 {
		return false
	}
	return !failed.Sent || idempotent(e.r.Method)
}

// passInterim passes an interim response on (RFC 9110 §15.2).
func (e *exchange) passInterim(status int, header http.Header) {
	h := e.w.Header()
	for name, values := range header {
		h[name] = values
	}
	e.w.WriteHeader(status)
	clear(h)
	e.wroteInterim = true
}

// answerFailure answers for an upstream that did not.
func (g *Gateway) answerFailure(e *exchange, err error) {
	clear(e.w.Header()) // what a failed try may have left
	var failed *upstream.Error
	if !errors.As(err, &failed) {
		g.answer(e, refuseCause(codeInternal, err))
		return
	}
	switch failed.Kind {
	case upstream.Connect:
		g.answer(e, refuseCause(codeConnectFailed, err))
	case upstream.Exhausted:
		g.answer(e, &refusal{code: codeNoUpstream, retry: time.Second, cause: err})
	case upstream.ConnectTimeout, upstream.HeaderTimeout, upstream.Timeout, upstream.IdleTimeout:
		g.answer(e, refuseCause(codeUpstreamTimeout, err))
	case upstream.Malformed:
		g.answer(e, refuseCause(codeUpstreamMalformed, err))
	case upstream.Canceled:
		e.clientGone(err)
	case upstream.ClientBody:
		switch {
		case e.body.over:
			g.answer(e, refusedSize)
		case e.r.Context().Err() != nil || errors.Is(err, io.ErrUnexpectedEOF):
			e.clientGone(err)
		default:
			g.answer(e, refuseCause(codeBadRequest, err))
		}
	case upstream.Invalid:
		g.answer(e, refuseCause(codeBadRequest, err))
	default:
		g.answer(e, refuseCause(codeUpstreamReset, err))
	}
}

// clientGone closes the account of a request whose client does not wait for
// the answer any more.
func (e *exchange) clientGone(err error) {
	e.record.Status, e.record.Origin, e.record.Error = statusClientClosed, "client", err.Error()
	e.abort = true
}

// relay passes the upstream's answer to the client.
func (g *Gateway) relay(e *exchange) {
	in := &e.in
	if in.Status == http.StatusSwitchingProtocols {
		g.tunnel(e)
		return
	}
	defer in.Close()
	h := in.Header
	e.setResponseHeaders(h)
	e.respond(in.Status, originUpstream)
	var s *events
	if isEvents(h) {
		s = newEvents(e.r.Context())
		in.Bind(s.ctx)
		if !g.streams.add(s) {
			s.end()
		}
		defer s.cancel()
		defer g.streams.remove(s)
	}
	n, err := in.WriteTo(e.answerWriter())
	e.wrote += n
	if err == nil && e.capture != nil {
		e.capture.ResponseEnded()
	}
	if err != nil {
		if s == nil || !s.over.Load() {
			e.abortRelay(err)
		}
		return // or else we ended it, as if the service had: its client comes again
	}
	for name, values := range in.Trailer {
		// A field that the header announced goes under its own name, any other
		// with the prefix by which net/http knows an unannounced trailer.
		if !announced(h["Trailer"], name) {
			name = http.TrailerPrefix + name
		}
		h[name] = values
	}
}

// abortRelay ends an answer that cannot be finished. The status has been sent,
// so the only honest thing left is to break the message off, which the client
// sees as such, instead of ending it as if it were whole.
func (e *exchange) abortRelay(err error) {
	e.abort = true
	e.record.Error = err.Error()
	var failed *upstream.Error
	switch {
	case !errors.As(err, &failed), failed.Kind == upstream.Canceled, errors.Is(e.r.Context().Err(), context.Canceled):
		e.record.Status, e.record.Origin = statusClientClosed, "client"
	}
}

// respond sends the status line and header that are in e.w.
func (e *exchange) respond(status int, origin string) {
	e.record.Status, e.record.Origin = status, origin
	e.wroteHead = true
	e.w.WriteHeader(status)
}

// setResponseHeaders sets what the gateway adds to every answer, its own and
// the upstream's.
func (e *exchange) setResponseHeaders(h http.Header) {
	e.setRateLimit(h)
	e.values.set(h, "X-Request-Id", e.record.RequestID)
	if c := e.world.cors; c != nil && !preflight(e.r) {
		c.answer(h, e.r.Header)
	}
	e.world.headers.apply(h, e.r.TLS != nil)
	if e.at.closing.Load() && e.in.Status != http.StatusSwitchingProtocols {
		h["Connection"] = closing
	}
}

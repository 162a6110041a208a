package upstream

import (
	"context"
	"io"
	"net/http"
	"strings"

	"sluice/proxy/h1"
)

// Response is the answer of an upstream. Its owner makes one and uses it for one
// exchange after another; it must not be copied. After Do returned nil, Close must be
// called; before that, the body is read with Read or WriteTo, or the connection
// taken with Hijack. It is for one goroutine at a time.
type Response struct {
	// On1xx, if not nil, is called within Do for each interim response but 100 and
	// 101; the header is good for the call only. (100 shows itself by Request.Body
	// being read.)
	On1xx func(status int, header http.Header)

	// Header is storage of the caller's: Do clears it and fills it with the head of
	// the final response, without what is meant for one hop alone (RFC 9110 §7.6.1);
	// after 101 Connection and Upgrade are there. Content-Length stays, and Trailer,
	// which announces. Made when nil; empty after an error.
	//
	// The slices in it are good until Do is called again; the strings for ever.
	Header http.Header

	Status int
	// BodyLength is the number of body bytes: 0 when there is no body (HEAD, 204,
	// 304, 101), -1 when it is not known before the end.
	BodyLength int64
	// Trailer is what followed the body, nil when nothing did; good when the body has been read to its end,
	// until Do is called again.
	Trailer http.Header

	e       *Endpoint // nil: no exchange
	counted bool      // as under way, by e
	probe   bool      // a health check: says nothing about real exchanges
	watch   watch     // of what runs on no conn of ours
	err     error     // sticky: what reading the body gives from now on

	// HTTP/1.1.
	c    *conn // nil when the connection is not needed any more
	up   *upload
	r    h1.Reader
	m    h1.Response
	body h1.Body

	// HTTP/2.
	h2 *stream
}

// open begins an exchange with e.
func (in *Response) open(e *Endpoint) {
	in.e, in.err, in.counted, in.probe = e, nil, true, false
	in.Status, in.BodyLength, in.Trailer = 0, 0, nil
	e.load.Add(loadBegin)
}

// Bind makes ctx, which descends from the one that Do was given, end the rest of
// the exchange. It is called after Do.
func (in *Response) Bind(ctx context.Context) {
	w := &in.watch
	if in.c != nil {
		w = &in.c.watch
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx != nil { // else there is nothing left to end
		w.ctx = ctx
	}
}

// leave is the end of what counts as an exchange under way. Writing to the
// client what the upstream has delivered is not part of it.
func (in *Response) leave() {
	if in.counted {
		in.counted = false
		in.e.load.Add(loadEnd)
	}
}

// Close ends the exchange: the connection goes back to the pool when both messages
// are complete, else it is closed. Nothing touches the Request or the context
// afterwards.
func (in *Response) Close() error {
	if in.e == nil {
		return nil
	}
	if in.h2 != nil {
		in.h2.close(in)
	} else {
		in.settle(false)
		in.releaseReader()
	}
	in.leave()
	in.e = nil
	if in.err == nil {
		in.err = errClosed
	}
	return nil
}

// releaseReader gives the read buffer back, whatever is in it.
func (in *Response) releaseReader() {
	in.r.Discard(len(in.r.Buffered()))
	in.r.Release()
}

// settle parts with the connection. complete says that the response has been
// read to its end; it is true only when nothing came after it. It returns why the
// exchange was aborted, or 0.
func (in *Response) settle(complete bool) (cause Kind, why error) {
	c := in.c
	if c == nil {
		return 0, nil
	}
	in.c = nil
	if in.up != nil {
		grace := uploadGrace
		if !complete {
			grace = 0
		}
		complete = in.up.finish(grace) && complete
		in.up = nil
	}
	cause, why = c.watch.end()
	if complete && cause == 0 {
		c.pool.put(c)
	} else {
		c.pool.drop(c)
	}
	return cause, why
}

// Read reads the body. It returns io.EOF at its proper end alone: a body cut
// short is an *[Error].
func (in *Response) Read(p []byte) (int, error) {
	if in.err != nil {
		return 0, in.err
	}
	if in.h2 != nil {
		return in.h2.read(in, p)
	}
	n, err := in.body.Read(p)
	if n > 0 && in.c != nil {
		in.c.watch.progress()
	}
	if err != nil {
		err = in.ended(err)
	}
	return n, err
}

// ended is called when reading the body gave err.
func (in *Response) ended(err error) error {
	if err == io.EOF {
		in.Trailer = in.body.Trailer()
		in.settle(in.clean())
		in.leave()
		in.err = io.EOF
		return io.EOF
	}
	e := in.e
	slow := in.up != nil && in.up.reading.Load()
	cause, why := in.settle(false)
	f := failure(err, cause, why, slow)
	in.leave()
	f.Sent, f.BodyRead = true, true
	if f.Kind == Reset || f.Kind == Malformed {
		e.failed(f)
	}
	in.err = f
	return f
}

// clean reports whether the connection is fit for another exchange, once the
// body has been read. Bytes behind the response are nobody's: a connection on
// which the upstream spoke unasked is never used again.
func (in *Response) clean() bool {
	return !in.m.Close && len(in.r.Buffered()) == 0 &&
		!(in.m.Status == http.StatusNoContent && in.m.Has(h1.KnownContentLength|h1.KnownTransferEncoding))
}

// failure classifies an error of reading or writing a connection. slow says
// that the client was waited for.
func failure(err error, cause Kind, why error, slow bool) *Error {
	switch {
	case cause == Canceled:
		return &Error{Kind: Canceled, Cause: why}
	case slow && (cause == Timeout || cause == IdleTimeout):
		return &Error{Kind: ClientBody, Cause: errClientSlow}
	case cause != 0:
		return &Error{Kind: cause}
	}
	switch err.(type) {
	case *h1.Error, malformed:
		return &Error{Kind: Malformed, Cause: err}
	}
	return &Error{Kind: Reset, Cause: err}
}

// WriteTo writes the rest of the body to w. A body that has arrived with its
// head is written in one call. When the length is not known, w is flushed each
// time the upstream pauses, if it has a method FlushError() error or Flush(). The
// error is an *[Error] when the upstream is to blame, else what w returned.
func (in *Response) WriteTo(w io.Writer) (written int64, err error) {
	if in.err != nil {
		return 0, eofIsNil(in.err)
	}
	if in.h2 == nil && in.c == nil {
		return in.writeArrived(w)
	}
	size := int64(size16K)
	if in.h2 == nil {
		size = min(max(size, in.body.Remaining()), size128K)
	}
	buf := newBuffer(int(size))
	defer buf.release()
	flush := flusher(w, in.BodyLength < 0)
	for {
		more := len(in.r.Buffered()) > 0 && in.BodyLength > 0
		n, err := in.Read(buf.b)
		if more && err == nil {
			n, err = in.readMore(buf.b, n)
		}
		if n > 0 {
			k, werr := w.Write(buf.b[:n])
			written += int64(k)
			if werr != nil {
				return written, werr
			}
		}
		if err != nil {
			return written, eofIsNil(err)
		}
		if flush != nil && (in.h2 != nil || len(in.r.Buffered()) == 0) {
			if err := flush(); err != nil {
				return written, err
			}
		}
	}
}

// writeArrived writes what is left of a body that lies in the read buffer whole.
func (in *Response) writeArrived(w io.Writer) (int64, error) {
	in.err = io.EOF
	b, _, _, ok := in.body.Direct()
	if !ok {
		return 0, nil
	}
	n, err := w.Write(b)
	return int64(n), err
}

// readMore fills up a buffer whose first n bytes came with the head with what
// has arrived meanwhile; without waiting, so that nothing is held back.
func (in *Response) readMore(b []byte, n int) (int, error) {
	buffered, _, left, ok := in.body.Direct()
	if !ok || len(buffered) > 0 || left == 0 || in.c == nil {
		return n, nil
	}
	room := b[n:]
	if int64(len(room)) > left {
		room = room[:left]
	}
	k, err := in.c.tryRead(room)
	if k > 0 {
		in.body.Took(int64(k))
		if in.body.Done() {
			return n + k, in.ended(io.EOF)
		}
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return n + k, in.ended(err)
	}
	return n + k, nil
}

func eofIsNil(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// flusher returns w's way to flush, or nil when there is none, or it is not wanted.
func flusher(w io.Writer, wanted bool) func() error {
	if !wanted {
		return nil
	}
	switch f := w.(type) {
	case interface{ FlushError() error }:
		return f.FlushError
	case http.Flusher:
		return func() error { f.Flush(); return nil }
	}
	return nil
}

// isStream reports whether a response is one that goes on for as long as both
// sides like: no deadline holds for it.
func isStream(header http.Header) bool {
	v := header["Content-Type"]
	return len(v) > 0 && (strings.HasPrefix(v[0], "text/event-stream") || strings.HasPrefix(v[0], "application/grpc"))
}

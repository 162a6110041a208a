package front

import (
	"crypto/tls"
	"net"

	"sluice/proxy/h1"
)

// send writes what is held back, then p; last ends the body. There is one write
// when it all fits the buffer, and one of several pieces otherwise.
func (w *response) send(p []byte, last bool) error {
	if w.err != nil {
		return w.err
	}
	if !w.wire {
		w.composeHead(p)
	}
	if w.isHead || !h1.StatusAllowsBody(w.status) {
		p = nil
		w.body = w.body[:0]
	}
	var tail []byte
	if w.chunking {
		if n := len(w.body) + len(p); n > 0 {
			w.out = h1.AppendChunkSize(w.out, n)
			tail = lineEnd
		}
	}
	w.out = append(w.out, w.body...)
	w.body = w.body[:0]
	if len(w.out)+len(p)+len(tail)+len(h1.LastChunk) <= outBytes {
		w.out = append(w.out, p...)
		w.out = append(w.out, tail...)
		p, tail = nil, nil
	}
	if w.chunking && last {
		if len(p) > 0 {
			// The rest of the chunk is too large for the buffer: it goes first.
			w.flushOut(p, tail)
			p, tail = nil, nil
		}
		if trailer := w.finalTrailers(); trailer != nil {
			w.out = h1.AppendTrailer(w.out, trailer)
		} else {
			w.out = append(w.out, h1.LastChunk...)
		}
	}
	w.flushOut(p, tail)
	return w.err
}

var lineEnd = []byte("\r\n")

// flushOut writes out, then p and tail.
func (w *response) flushOut(p, tail []byte) {
	out := w.out
	w.out = w.out[:0]
	if w.err != nil {
		return
	}
	c := w.x.conn
	c.writing.Add(1)
	switch {
	case len(p) == 0 && len(out) > 0:
		w.err = c.write(out)
	case len(p) > 0 && len(out)+len(tail) == 0:
		w.err = c.write(p)
	case len(p) > 0:
		w.err = w.writev(c.sock, out, p, tail)
	}
	c.writing.Add(1)
	if w.err != nil {
		w.closeAfter = true
		w.x.ctx.cancel() // the client has gone, or stands still
	}
}

// writev writes all three by one system call where the connection can.
func (w *response) writev(sock net.Conn, out, p, tail []byte) (err error) {
	if _, secured := sock.(*tls.Conn); secured && len(out)+len(p)+len(tail) <= copyBytes {
		// Separate writes would be separate records, and system calls.
		buf := copies.Get().(*[copyBytes]byte)
		defer copies.Put(buf)
		whole := append(append(append(buf[:0], out...), p...), tail...)
		_, err = sock.Write(whole)
		return err
	}
	w.vector = w.pieces[:0]
	for _, piece := range [...][]byte{out, p, tail} {
		if len(piece) > 0 {
			w.vector = append(w.vector, piece)
		}
	}
	_, err = w.vector.WriteTo(sock)
	clear(w.pieces[:])
	w.vector = nil
	return err
}

// finish completes the response after the handler has returned.
func (w *response) finish() {
	w.done = true
	if w.status == 0 {
		w.WriteHeader(200)
	}
	if !w.wire || len(w.out) > 0 || len(w.body) > 0 || w.chunking {
		_ = w.send(nil, true) // it stays in w.err
	}
}

// keep reports whether the response leaves the connection fit for another.
func (w *response) keep() bool {
	if w.closeAfter || w.err != nil {
		return false
	}
	// Less than was declared: the client still waits for the rest.
	return w.isHead || w.declared < 0 || !h1.StatusAllowsBody(w.status) || w.declared == w.written
}

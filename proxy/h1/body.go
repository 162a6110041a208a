package h1

import (
	"io"
	"net/http"
)

// Body reads the body of one message off a [Reader], in any framing. It can be
// used again after Reset. Not safe for concurrent use.
//
// Malformed chunks are an *[Error]; a connection that ends too early is
// io.ErrUnexpectedEOF; after either the connection is of no further use.
type Body struct {
	r         *Reader
	kind      BodyKind
	remaining int64 // of a Sized body, or of the chunk under way
	err       error // sticky; io.EOF at the end
	read      int64

	chunks  chunkState
	limits  Limits
	fields  Fields // storage of the trailer section
	trailer http.Header
}

// Reset makes b read the body that stands next on r.
func (b *Body) Reset(r *Reader, f Framing, limits Limits) {
	if b.trailer != nil {
		b.fields.Reset()
	}
	*b = Body{r: r, kind: f.Kind, limits: limits, fields: b.fields}
	switch f.Kind {
	case NoBody:
		b.err = io.EOF
	case Sized:
		b.remaining = f.Length
	case Chunked, UntilClose:
	}
}

// Read implements [io.Reader]. When the end of the body is known to be reached
// io.EOF comes with the last bytes, so that nobody has to ask again.
func (b *Body) Read(p []byte) (n int, err error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	switch b.kind {
	case Sized:
		n, err = b.readPart(p)
		if err == nil && b.remaining == 0 {
			err = io.EOF
		}
	case Chunked:
		n, err = b.readChunks(p)
	case UntilClose:
		n, err = b.r.Read(p)
	case NoBody:
		err = io.EOF
	}
	b.read += int64(n)
	if err != nil && !transient(err) {
		b.err = err
	}
	return n, err
}

// transient reports whether reading can go on after the error: a time-out
// leaves everything where it was.
func transient(err error) bool {
	t, ok := err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

// readPart reads what remains of a Sized body or a chunk.
func (b *Body) readPart(p []byte) (int, error) {
	if int64(len(p)) > b.remaining {
		p = p[:b.remaining]
	}
	n, err := b.r.Read(p)
	b.remaining -= int64(n)
	if err == io.EOF && b.remaining > 0 {
		err = io.ErrUnexpectedEOF
	} else if err == io.EOF {
		err = nil
	}
	return n, err
}

// Done reports whether the body has been read to its end, trailer section
// included: the Reader then stands at the next message.
func (b *Body) Done() bool { return b.err == io.EOF }

// Err returns the error that ended the body, io.EOF at its regular end, nil before.
func (b *Body) Err() error { return b.err }

// BytesRead is the number of body bytes that Read has returned.
func (b *Body) BytesRead() int64 { return b.read }

// Remaining is the number of bytes to come: of a Sized body exactly, else -1
// until the end is reached.
func (b *Body) Remaining() int64 {
	switch {
	case b.Done():
		return 0
	case b.kind == Sized:
		return b.remaining
	}
	return -1
}

// Trailer returns the trailer section of a Chunked body once it is Done; nil
// before, and when there was none. Fields that may not stand there have been
// dropped ([TrailerAllowed]). It belongs to b: Reset wipes it.
func (b *Body) Trailer() http.Header { return b.trailer }

// Direct hands out the rest of a Sized or UntilClose body as something that the
// operating system can move by itself: first what is buffered, then up to n
// bytes of the source. The caller consumes both and says how much with Took.
// ok is false when there is no such rest.
func (b *Body) Direct() (buffered []byte, src io.Reader, n int64, ok bool) {
	if b.err != nil || b.kind != Sized {
		return nil, nil, 0, false
	}
	buffered = b.r.Buffered()
	if int64(len(buffered)) > b.remaining {
		buffered = buffered[:b.remaining]
	}
	return buffered, b.r.src, b.remaining - int64(len(buffered)), true
}

// Took consumes n bytes that were taken by way of Direct, buffered ones first.
func (b *Body) Took(n int64) {
	fromBuffer := min(n, int64(len(b.r.Buffered())))
	b.r.Discard(int(fromBuffer))
	b.remaining -= n
	b.read += n
	if b.remaining == 0 {
		b.err = io.EOF
	}
}

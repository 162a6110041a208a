package h1

import (
	"io"
	"sync"
)

// bufferBytes is the size of the buffer that a connection reads into, and grown
// the next ones that a large head moves to.
const bufferBytes = 4 << 10

// emptyReads is how often a source may return nothing and no error before it is given up.
const emptyReads = 16

var buffers = sync.Pool{New: func() any { return new([bufferBytes]byte) }}

// Reader is the receiving half of a connection: heads and bodies are read off
// it in turn. It holds a buffer only while there is something in it: [Reader.Release]
// gives it back, and the next Fill takes another. Not safe for concurrent use.
type Reader struct {
	src  io.Reader
	buf  []byte // nil while released
	r, w int    // buf[r:w] has been received and not been consumed
	head headScan
}

// Reset makes r read from src, with nothing buffered.
func (r *Reader) Reset(src io.Reader) {
	r.r, r.w = 0, 0
	r.Release()
	*r = Reader{src: src}
}

// Buffered returns what has been received and not been consumed. It is valid
// until the next call of another method but Discard.
func (r *Reader) Buffered() []byte { return r.buf[r.r:r.w] }

// Discard consumes n buffered bytes; n must not exceed len(Buffered()).
func (r *Reader) Discard(n int) {
	if n < 0 || n > r.w-r.r {
		panic("BUG: h1: discard of what is not buffered")
	}
	r.r += n
	if r.r == r.w {
		r.r, r.w = 0, 0
	}
}

// Release gives the buffer back when it is empty, and reports whether it did.
func (r *Reader) Release() bool {
	if r.r != r.w {
		return false
	}
	if len(r.buf) == bufferBytes {
		buffers.Put((*[bufferBytes]byte)(r.buf))
	}
	r.buf, r.r, r.w = nil, 0, 0
	return true
}

// Room takes a buffer if there is none and returns the free space behind what is
// buffered, at least one byte. It is for owners who read from the source by
// other means than Fill; [Reader.Filled] says how much came.
func (r *Reader) Room() []byte {
	r.makeRoom()
	return r.buf[r.w:]
}

// Filled adds the first n bytes of what Room returned to what is buffered.
func (r *Reader) Filled(n int) { r.w += n }

// Fill reads once from the source, behind what is buffered, making room where
// there is none. When bytes came, an error that came with them is left for the next call.
func (r *Reader) Fill() error {
	r.makeRoom()
	for range emptyReads {
		n, err := r.src.Read(r.buf[r.w:])
		r.w += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// makeRoom leaves at least one byte behind what is buffered.
func (r *Reader) makeRoom() {
	switch {
	case r.buf == nil:
		r.buf = buffers.Get().(*[bufferBytes]byte)[:]
	case r.w < len(r.buf):
	case r.r > 0:
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	default:
		// Only a head is collected whole, and it is bounded: four times as
		// much each time is at most two steps from 4 to 64 KiB.
		grown := make([]byte, 4*len(r.buf))
		r.w = copy(grown, r.buf[:r.w])
		if len(r.buf) == bufferBytes {
			buffers.Put((*[bufferBytes]byte)(r.buf))
		}
		r.buf = grown
	}
}

// Read implements [io.Reader]: what is buffered first, then straight from the
// source when p is no smaller than a buffer would be.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.r == r.w {
		if len(p) >= bufferBytes {
			return r.src.Read(p)
		}
		if err := r.Fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf[r.r:r.w])
	r.Discard(n)
	return n, nil
}

// ReadRequestHead returns the next head, to be given to [ParseRequest], and
// consumes it. It is valid until the next call of a method of r. One empty line
// before the request line is passed over (RFC 9112 §2.2).
//
// io.EOF means that the connection ended where a request would have begun, and
// io.ErrUnexpectedEOF that it ended within the head; an *[Error] is a head that
// is refused before its end is seen; any other error is the source's.
// After an error of the source, such as a time-out, the call can be made again.
func (r *Reader) ReadRequestHead(limits Limits) ([]byte, error) {
	return r.readHead(limits.headBytes(), true)
}

// ReadResponseHead is like ReadRequestHead, for [ParseResponse]: no empty line
// is passed over, because nothing may come between two responses.
func (r *Reader) ReadResponseHead(limits Limits) ([]byte, error) {
	return r.readHead(limits.headBytes(), false)
}

// Midway reports whether the begin of a head has been received and not its end:
// what a time-out then interrupts is a head, and not the wait for one.
func (r *Reader) Midway() bool { return r.r != r.w }

func (r *Reader) readHead(limit int, request bool) ([]byte, error) {
	for {
		if request && !r.head.skipped && r.w-r.r >= 2 && string(r.buf[r.r:r.r+2]) == crlf {
			r.Discard(2)
			r.head = headScan{skipped: true}
		}
		end, err := r.head.scan(r.Buffered(), limit, request)
		if err != nil {
			return nil, err
		}
		if end > 0 {
			head := r.buf[r.r : r.r+end]
			r.Discard(end)
			r.head = headScan{}
			return head, nil
		}
		if err := r.Fill(); err != nil {
			if err == io.EOF && r.Midway() {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

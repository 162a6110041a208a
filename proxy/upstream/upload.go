package upstream

import (
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"sluice/proxy/h1"
)

const (
	// holdMost is the largest body that is read before anything is sent: it then
	// goes out with the head in one write, can be sent again, and needs no
	// goroutine. A client that is slow to send it holds no connection meanwhile.
	holdMost = 32 << 10
	// expectWait is how long a 100 is waited for (RFC 9110 §10.1.1: not without end).
	expectWait = time.Second
	// uploadGrace is how long a finished response waits for the rest of the
	// request: an upstream may answer before it has read the last of it.
	uploadGrace = 50 * time.Millisecond
)

var errClientSlow = os.ErrDeadlineExceeded

// streams reports whether the body is sent while the response is read.
func (r *Request) streams() bool {
	return r.BodyLength != 0 && r.held == nil
}

// hold reads a small body, unless it is held from an earlier try.
func (r *Request) hold(ctx context.Context, in *Response) *Error {
	if r.held != nil || r.Body == nil || r.BodyLength <= 0 || r.BodyLength > holdMost || r.Expect {
		return nil
	}
	if r.Interrupt != nil {
		in.watch.abort = r.Interrupt
		in.watch.begin(ctx, r, sending)
		in.e.adopt()
		in.e.watches.add(&in.watch)
		defer in.e.watches.remove(&in.watch)
	}
	r.bodyRead = true
	held := newBuffer(int(r.BodyLength))
	b := held.b[:r.BodyLength]
	for n := 0; n < len(b); {
		k, err := r.Body.Read(b[n:])
		n += k
		in.watch.progress()
		if err == nil || n == len(b) {
			continue
		}
		held.release()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		kind := ClientBody
		if fired, why := in.watch.end(); fired == Canceled {
			kind, err = Canceled, why
		} else if fired != 0 {
			err = errClientSlow
		}
		return &Error{Kind: kind, Cause: err}
	}
	in.watch.end()
	r.held, r.heldSize, r.bodyRead = held, len(b), false
	return nil
}

// upload sends a body while the exchange's own goroutine reads the response.
type upload struct {
	c    *conn
	out  *Request
	gate chan struct{} // something in it: the body may be read; nil: at once
	stop chan struct{} // closed: no more of it is wanted
	done chan struct{} // closed: nothing of the request is touched any more

	reading atomic.Bool // waiting for the client

	// Good once done is closed.
	complete bool
	err      error // of the client's body
}

func startUpload(c *conn, out *Request) *upload {
	u := &upload{c: c, out: out, stop: make(chan struct{}), done: make(chan struct{})}
	if out.Expect {
		u.gate = make(chan struct{}, 1)
	} else {
		out.bodyRead = true
	}
	go u.run()
	return u
}

// proceed opens the gate: the upstream answered 100.
func (u *upload) proceed() {
	if u.gate != nil {
		select {
		case u.gate <- struct{}{}:
		default:
		}
	}
}

func (u *upload) run() {
	defer close(u.done)
	if u.gate != nil {
		t := time.NewTimer(expectWait)
		defer t.Stop()
		select {
		case <-u.gate:
		case <-t.C:
		case <-u.stop:
			return
		}
		u.out.bodyRead = true
	}
	var err error
	if u.out.BodyLength > 0 {
		err = u.sized()
	} else {
		err = u.chunked()
	}
	switch {
	case err == nil:
		u.complete = true
		u.c.watch.sent()
	case u.err != nil:
		u.c.watch.fail(ClientBody)
	}
	// What remains is an error of writing: the upstream does not want the rest. It
	// may have said why, so that reading goes on.
}

// read reads from the client. The error is also noted.
func (u *upload) read(p []byte) (int, error) {
	select {
	case <-u.stop:
		return 0, errStopped
	default:
	}
	u.reading.Store(true)
	n, err := u.out.Body.Read(p)
	u.reading.Store(false)
	u.c.watch.progress()
	if err != nil && err != io.EOF {
		u.err = err
	}
	return n, err
}

var errStopped = errors.New("the rest of the body is not wanted")

// write writes to the upstream.
func (u *upload) write(p []byte) error {
	_, err := u.c.nc.Write(p)
	u.c.watch.progress()
	return err
}

// sized sends a body of known length, and no byte more.
func (u *upload) sized() error {
	buf := newBuffer(size64K)
	defer buf.release()
	for left := u.out.BodyLength; left > 0; {
		n, err := u.read(buf.b[:min(int64(len(buf.b)), left)])
		if n > 0 {
			left -= int64(n)
			if werr := u.write(buf.b[:n]); werr != nil {
				return werr
			}
		}
		if err == io.EOF && left > 0 {
			u.err = io.ErrUnexpectedEOF
			return u.err
		}
		if err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

// chunkRoom is kept free before the data for the line with its size: a piece,
// with everything about it, is one write.
const chunkRoom = len("fffff\r\n")

// chunked sends a body of unknown length, and its trailer section.
func (u *upload) chunked() error {
	buf := newBuffer(size16K)
	defer buf.release()
	for {
		n, err := u.read(buf.b[chunkRoom : len(buf.b)-len("\r\n")])
		if err != nil && err != io.EOF {
			return err
		}
		var piece []byte
		if n > 0 {
			var line [chunkRoom]byte
			size := h1.AppendChunkSize(line[:0], n)
			piece = buf.b[chunkRoom-len(size) : chunkRoom+n]
			copy(piece, size)
			piece = append(piece, "\r\n"...)
		}
		if err == io.EOF {
			if u.out.Trailer != nil {
				piece = h1.AppendTrailer(piece, *u.out.Trailer)
			} else {
				piece = append(piece, h1.LastChunk...)
			}
			return u.write(piece)
		}
		if n > 0 {
			if werr := u.write(piece); werr != nil {
				return werr
			}
		}
	}
}

// finish ends the upload, at the latest after grace, and reports whether
// the whole body was sent. Nothing of the request is touched afterwards.
func (u *upload) finish(grace time.Duration) bool {
	select {
	case <-u.done:
		return u.complete
	default:
	}
	if grace > 0 {
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-u.done:
			return u.complete
		case <-t.C:
		}
	}
	close(u.stop)
	u.c.sock.Close() // ends a write that waits
	if u.out.Interrupt != nil {
		u.out.Interrupt()
	}
	<-u.done
	return false
}

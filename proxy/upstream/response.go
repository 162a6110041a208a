package upstream

import (
	"io"
	"net"
	"net/http"
)

// Response is the answer of an upstream. Its owner makes one and uses it for one
// exchange after another. After Do returned nil, Close must be called; before
// that, the body is read with Read or WriteTo, or the connection taken with Hijack.
// It is for one goroutine at a time.
type Response struct {
	// On1xx, if not nil, is called within Do for each interim response but 100 and
	// 101; the header is good for the call only. (100 shows itself by Request.Body being read.)
	On1xx func(status int, header http.Header)

	// Header is storage of the caller's: Do clears it and fills it with the head of
	// the final response, without what is meant for one hop alone (RFC 9110 §7.6.1);
	// after 101 Connection and Upgrade are there. Content-Length stays. Made when nil.
	// The slices in it are good until Do is called again; the strings for ever.
	Header http.Header

	Status int
	// BodyLength is the number of body bytes: 0 when there is no body (HEAD, 204, 304, 101), -1 when
	// it is not known before the end.
	BodyLength int64
	// Trailer is what followed the body; complete when the body has been read to its end.
	Trailer http.Header
}

// Read reads the body. It returns io.EOF at its proper end alone: a body
// cut short is an *[Error].
func (in *Response) Read(p []byte) (int, error) { return 0, io.EOF }

// WriteTo writes the rest of the body to w. A body that has arrived with its
// head is written in one call. When the length is not known, w is flushed each time the upstream
// pauses, if it has a method FlushError() error or Flush(). The error is an *[Error] when
// the upstream is to blame, else what w returned.
func (in *Response) WriteTo(w io.Writer) (int64, error) { return 0, nil }

// Close ends the exchange: the connection goes back to the pool when both messages
// are complete, else it is closed. Nothing touches the Request or the context afterwards.
func (in *Response) Close() error { return nil }

// Hijack takes the connection over after status 101. What the upstream has sent
// already comes out of its Read first. The watch stays: Timeouts.Idle bounds
// the silence on it, and the end of the context closes it. Close of the connection ends the
// exchange; Close of the response is then not needed, and does nothing.
func (in *Response) Hijack() (net.Conn, error) { return nil, net.ErrClosed }

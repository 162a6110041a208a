package front

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// memConn is a connection whose client has said everything already.
type memConn struct {
	in  bytes.Reader
	out bytes.Buffer
}

func (c *memConn) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *memConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (*memConn) Close() error                       { return nil }
func (*memConn) LocalAddr() net.Addr                { return &net.TCPAddr{} }
func (*memConn) RemoteAddr() net.Addr               { return &net.TCPAddr{} }
func (*memConn) SetDeadline(time.Time) error        { return nil }
func (*memConn) SetReadDeadline(time.Time) error    { return nil }
func (*memConn) SetWriteDeadline(t time.Time) error { return nil }

// FuzzConnection serves whatever comes. What goes out must be a sequence of
// well-formed responses: one to each request that reached the handler, and at most one
// refusal, with which the connection ends.
func FuzzConnection(f *testing.F) {
	for _, tt := range refused[:len(refused)-4] {
		f.Add([]byte(tt.input), uint16(0))
		f.Add([]byte(get+tt.input+get), uint16(3))
	}
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n"+get), uint16(7))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc"+head), uint16(12))
	f.Fuzz(func(t *testing.T, in []byte, behaviour uint16) {
		var methods []string
		s := &Server{Poison: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			methods = append(methods, r.Method)
			act(w, r, behaviour)
		})}
		s.init()
		sock := &memConn{}
		sock.in.Reset(in)
		c := newConn(s, sock)
		c.serve()

		out := bufio.NewReader(&sock.out)
		for i := 0; ; i++ {
			if _, err := out.Peek(1); errors.Is(err, io.EOF) {
				if i < len(methods) {
					t.Errorf("%q: %d requests, %d responses", in, len(methods), i)
				}
				return
			}
			method := http.MethodGet
			if i < len(methods) {
				method = methods[i]
			}
			resp, err := http.ReadResponse(out, &http.Request{Method: method})
			if err != nil {
				t.Fatalf("%q: response %d: %v", in, i, err)
			}
			if resp.StatusCode == http.StatusContinue {
				i--
				continue
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatalf("%q: body of response %d: %v", in, i, err)
			}
			if i >= len(methods) {
				if resp.StatusCode < 400 || !resp.Close {
					t.Errorf("%q: a response to nothing: %v", in, resp)
				}
				if rest, _ := io.ReadAll(out); len(rest) > 0 {
					t.Errorf("%q: after a refusal: %q", in, rest)
				}
				return
			}
		}
	})
}

// act is a handler of many kinds.
func act(w http.ResponseWriter, r *http.Request, behaviour uint16) {
	if behaviour&1 != 0 {
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, int64(behaviour>>8)))
	}
	if behaviour&2 != 0 {
		w.Header().Set("Content-Length", "5")
	}
	if behaviour&4 != 0 {
		w.WriteHeader([]int{200, 204, 304, 404}[behaviour>>4&3])
	}
	if behaviour&8 != 0 {
		w.(http.Flusher).Flush()
	}
	if behaviour&66 == 64 {
		_, _ = w.Write(make([]byte, int(behaviour>>3)))
		return
	}
	_, _ = io.WriteString(w, "hello")
}

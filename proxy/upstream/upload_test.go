package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	io.WriteString(w, r.Method+" "+string(body))
}

// slowBody gives what is sent to it; Interrupt ends it.
type slowBody struct {
	pieces chan string
	ended  chan struct{}
	once   sync.Once
	rest   string
}

func newSlowBody() *slowBody {
	return &slowBody{pieces: make(chan string), ended: make(chan struct{})}
}

func (b *slowBody) interrupt() { b.once.Do(func() { close(b.ended) }) }

func (b *slowBody) Read(p []byte) (int, error) {
	if b.rest == "" {
		var ok bool
		select {
		case b.rest, ok = <-b.pieces:
			if !ok {
				return 0, io.EOF
			}
		case <-b.ended:
			return 0, errors.New("interrupted")
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func TestUploads(t *testing.T) {
	e := endpointOf(t, serve(t, echo))
	for _, size := range []int{1, 100, holdMost, holdMost + 1, 1 << 20} {
		body := strings.Repeat("b", size)
		for name, length := range map[string]int64{"sized": int64(size), "chunked": -1} {
			if _, got := fetch(t, e, post(strings.NewReader(body), length)); got != "POST "+body {
				t.Errorf("%s, %d bytes: got %d", name, size, len(got)-5)
			}
		}
	}
	quiet(t, e)
	if n := e.pool.open.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestBodyLongerThanDeclaredIsCutToLength(t *testing.T) {
	e := endpointOf(t, serve(t, echo))
	for _, size := range []int64{5, holdMost + 5} {
		body := strings.Repeat("b", int(size)) + "GET /smuggled HTTP/1.1\r\n\r\n"
		if _, got := fetch(t, e, post(strings.NewReader(body), size)); got != "POST "+body[:size] {
			t.Errorf("got %d bytes", len(got))
		}
	}
}

func TestFullDuplex(t *testing.T) {
	e := endpointOf(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			if n > 0 {
				w.Write(buf[:n])
				w.(http.Flusher).Flush()
			}
			if err != nil {
				return
			}
		}
	}))
	body := newSlowBody()
	out := post(body, -1)
	in := new(Response)
	if err := e.Do(context.Background(), out, in); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	for _, word := range []string{"one", "two", "three"} {
		body.pieces <- word
		if n, err := in.Read(buf); string(buf[:n]) != word || err != nil {
			t.Fatalf("got %q, %v; want %q", buf[:n], err, word)
		}
	}
	close(body.pieces)
	if n, err := in.Read(buf); err != io.EOF {
		t.Errorf("got %q, %v at the end", buf[:n], err)
	}
	in.Close()
	quiet(t, e)
}

func TestEarlyAnswerWhileUploading(t *testing.T) {
	e := endpointOf(t, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo much")
		}
		r.WriteTo(io.Discard)
	}))
	for _, length := range []int64{-1, 1 << 30} {
		body := newSlowBody()
		out := post(body, length)
		out.Interrupt = body.interrupt
		in, text := fetch(t, e, out)
		if in.Status != 413 || text != "too much" {
			t.Errorf("got %d %q", in.Status, text)
		}
		quiet(t, e)
		if e.pool.idle() != 0 {
			t.Error("a connection in the middle of a request was kept")
		}
	}
}

func TestAnswerOfAnUpstreamThatStopsReadingArrives(t *testing.T) {
	e := endpointOf(t, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			io.WriteString(c, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
			c.CloseWrite()
			r.ReadByte()
			time.Sleep(10 * time.Millisecond)
		}
	}))
	in, text := fetch(t, e, post(strings.NewReader(strings.Repeat("x", 8<<20)), 8<<20))
	if in.Status != 401 || text != "no" {
		t.Errorf("got %d %q", in.Status, text)
	}
}

func TestExpectContinue(t *testing.T) {
	e := endpointOf(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Expect") != "100-continue" {
			t.Error("the expectation did not arrive")
		}
		if r.URL.Path == "/refuse" {
			w.WriteHeader(417)
			return
		}
		echo(w, r)
	}))
	read := false
	out := post(readerFunc(func(p []byte) (int, error) { read = true; return copy(p, "hello"), io.EOF }), 5)
	out.Expect = true
	begun := time.Now()
	if _, body := fetch(t, e, out); body != "POST hello" {
		t.Errorf("got %q", body)
	}
	if time.Since(begun) > expectWait/2 {
		t.Error("the 100 was not noticed")
	}
	read = false
	out = post(readerFunc(func([]byte) (int, error) { read = true; return 0, io.EOF }), 5)
	out.Target, out.Expect = "/refuse", true
	if in, _ := fetch(t, e, out); in.Status != 417 || read {
		t.Errorf("status %d, body read: %v", in.Status, read)
	}
	quiet(t, e)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestClientBodyThatEndsEarly(t *testing.T) {
	gone := errors.New("the client went away")
	for name, length := range map[string]int64{"held": 100, "sized": 1 << 20, "chunked": -1} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan bool, 1)
			e := endpointOf(t, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
				req, err := http.ReadRequest(r)
				if err == nil {
					_, err = io.Copy(io.Discard, req.Body)
				}
				ended <- err != nil
			}))
			sent := false
			out := post(readerFunc(func(p []byte) (int, error) {
				if sent {
					return 0, gone
				}
				sent = true
				return copy(p, "begin"), nil
			}), length)
			err := e.Do(context.Background(), out, new(Response))
			var f *Error
			if !errors.As(err, &f) || f.Kind != ClientBody || !errors.Is(err, gone) || !f.BodyRead {
				t.Fatalf("got %+v", err)
			}
			if name != "held" && !<-ended {
				t.Error("the upstream took a cut body for a whole one")
			}
			if n := e.status(1).Failures; n != 0 {
				t.Errorf("%d failures counted against the upstream", n)
			}
			quiet(t, e)
		})
	}
}

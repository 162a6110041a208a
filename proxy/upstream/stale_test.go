package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/conf"
)

func TestConnectionClosedWhileIdleIsReplaced(t *testing.T) {
	e := endpointOf(t, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		if req := readRequest(r); req != nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}))
	for i := range 100 {
		out := get("/")
		if i%2 == 1 {
			out = post(strings.NewReader("x"), 1)
		}
		if i%4 == 3 {
			out.BodyLength = -1 // cannot be sent twice
		}
		if i%2 == 1 { // the end has come: the probe must find out. A GET runs into it
			eventually(t, "the end of the connection has come", func() bool {
				c := e.pool.take()
				if c == nil {
					return true
				}
				defer e.pool.put(c)
				return c.probe() != nil
			})
		}
		fetch(t, e, out)
	}
}

// The peer closes at random between two requests, often while the next one is on
// its way. No request may fail, be lost, or be seen twice by the server; POST is
// never sent again unless it was certainly not seen.
func TestInvariant4_NoErrorWhenIdleConnectionsAreClosed(t *testing.T) {
	const requests, workers = 10000, 8
	var served atomic.Int64
	e := endpointOf(t, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		for {
			if readRequest(r) == nil {
				return
			}
			served.Add(1)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			switch rand.IntN(20) {
			case 0:
				return
			case 1:
				time.Sleep(time.Duration(rand.IntN(50)) * time.Microsecond)
				if r.Buffered() == 0 && rand.IntN(2) == 0 {
					c.CloseWrite() // only half: nothing but its end of stream tells
					io.Copy(io.Discard, r)
				}
				return
			}
		}
	}))
	var all sync.WaitGroup
	var lost atomic.Int64
	for range workers {
		all.Go(func() {
			var in Response
			for i := range requests / workers {
				out := get("/")
				if i%8 == 0 {
					out = post(strings.NewReader("hello"), 5)
				}
				_, err := exchange(e, out, &in)
				var f *Error
				switch {
				case err == nil:
				case out.Method == "" && errors.As(err, &f) && f.Kind == Reset && f.Sent && i%8 == 0:
					lost.Add(1) // received by the kernel of a server that closed meanwhile: not to be repeated
				default:
					t.Errorf("request %d: %v", i, err)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d served, %d POSTs not repeated", served.Load(), lost.Load())
	if n := lost.Load(); n > requests/8/20 {
		t.Errorf("%d POSTs were not repeated", n)
	}
	quiet(t, e)
}

func TestHalfClosedConnectionIsFoundByTheProbe(t *testing.T) {
	e := endpointOf(t, script(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
		readRequest(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		if n == 0 {
			c.CloseWrite() // reads on, as nginx's lingering close does
		}
		io.Copy(io.Discard, r)
	}))
	fetch(t, e, get("/"))
	c := e.pool.take()
	eventually(t, "the end of the stream has come", func() bool { return c.probe() != nil })
	e.pool.put(c)
	fetch(t, e, post(strings.NewReader("x"), 1))
}

func TestUnaskedBytesEndAConnection(t *testing.T) {
	speak, spoken := make(chan bool), make(chan bool)
	e := endpointOf(t, script(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
		for readRequest(r) != nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			if n == 0 {
				<-speak
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
				spoken <- true
			}
		}
	}))
	fetch(t, e, get("/"))
	speak <- true
	<-spoken
	c := e.pool.take()
	eventually(t, "the bytes have come", func() bool { return c.probe() != nil })
	e.pool.put(c)
	if _, body := fetch(t, e, get("/")); body != "ok" {
		t.Errorf("got %q: what nobody asked for was taken for the answer", body)
	}
}

// A reset of a connection that was never used before says nothing about being stale.
func TestFreshConnectionIsNotTriedAgain(t *testing.T) {
	var conns atomic.Int64
	e := endpointOf(t, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		conns.Add(1)
		readRequest(r)
	}))
	_, err := exchange(e, get("/"), new(Response))
	var f *Error
	if !errors.As(err, &f) || f.Kind != Reset || !f.Sent || f.BodyRead {
		t.Errorf("got %+v", err)
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// A POST that the upstream has received is not sent again when the connection then ends.
func TestReceivedPostIsNotRepeated(t *testing.T) {
	var posts atomic.Int64
	e := endpointOf(t, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		for {
			req := readRequest(r)
			if req == nil {
				return
			}
			if req.Method == "POST" {
				posts.Add(1)
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}))
	for range 20 {
		fetch(t, e, get("/"))
		out := post(strings.NewReader("once"), 4)
		err := e.Do(context.Background(), out, new(Response))
		var f *Error
		if !errors.As(err, &f) || f.Kind != Reset || !f.Sent || f.BodyRead {
			t.Fatalf("got %+v, want a reset with the body held", err)
		}
		out.Release()
	}
	if n := posts.Load(); n != 20 {
		t.Errorf("the server saw %d POSTs, want 20", n)
	}
}

func TestRequestHeldInMemoryCanBeTriedElsewhere(t *testing.T) {
	dead := endpointOf(t, "http://127.0.0.1:1")
	live := endpointOf(t, serve(t, echo))
	out := post(strings.NewReader("hello"), 5)
	err := dead.Do(context.Background(), out, new(Response))
	var f *Error
	if !errors.As(err, &f) || f.Kind != Connect || f.Sent || f.BodyRead {
		t.Fatalf("got %+v", err)
	}
	if _, body := fetch(t, live, out); body != "POST hello" {
		t.Errorf("got %q", body)
	}
}

func TestIdleConnectionsAreEvictedByAge(t *testing.T) {
	r := running(t, Options{IdleTimeout: 50 * time.Millisecond})
	e, err := use(t, r, conf.Service{}, serve(t, echo)).Pick(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	fetch(t, e, get("/"))
	eventually(t, "the idle connection is gone", func() bool { return e.pool.open.Load() == 0 })
}

func TestOldConnectionsAreNotUsedAgain(t *testing.T) {
	r := NewRegistry(Options{}) // not running: the clock is this test's
	var made atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			made.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	e, err := use(t, r, conf.Service{}, s.URL).Pick(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		age  time.Duration
		made int64
	}{{0, 1}, {time.Hour, 1}, {time.Hour + 1, 1}, {time.Hour + 1, 2}} {
		r.clock.Store(int64(step.age))
		fetch(t, e, get("/"))
		if made.Load() != step.made {
			t.Errorf("at the age of %v: %d connections were made, want %d", step.age, made.Load(), step.made)
		}
	}
}

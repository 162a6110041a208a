package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestTimeouts(t *testing.T) {
	const short = 60 * time.Millisecond
	silent := func(_ int, c *net.TCPConn, r *bufio.Reader) { r.WriteTo(io.Discard) }
	stalls := func(_ int, c *net.TCPConn, r *bufio.Reader) {
		readRequest(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
		r.WriteTo(io.Discard)
	}
	trickles := func(_ int, c *net.TCPConn, r *bufio.Reader) {
		readRequest(r)
		for _, b := range []byte("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1000)) {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	for name, c := range map[string]struct {
		server func(int, *net.TCPConn, *bufio.Reader)
		change func(*Request)
		kind   Kind
	}{
		"header":               {silent, func(r *Request) { r.Timeouts.Header = short }, HeaderTimeout},
		"header that trickles": {trickles, func(r *Request) { r.Timeouts.Header = short; r.Timeouts.Idle = short }, HeaderTimeout},
		"deadline":             {silent, func(r *Request) { r.Deadline = time.Now().Add(short) }, Timeout},
		"deadline in a body":   {stalls, func(r *Request) { r.Deadline = time.Now().Add(short) }, Timeout},
		"idle in a body":       {stalls, func(r *Request) { r.Timeouts.Idle = short }, IdleTimeout},
		"context":              {silent, func(r *Request) {}, Canceled},
		"context in a body":    {stalls, func(r *Request) {}, Canceled},
		"client that sends no body, held": {silent, func(r *Request) {
			b := newSlowBody()
			r.Method, r.Body, r.BodyLength, r.Interrupt, r.Timeouts.Idle = "POST", b, 10, b.interrupt, short
		}, ClientBody},
		"client that sends no body": {silent, func(r *Request) {
			b := newSlowBody()
			r.Method, r.Body, r.BodyLength, r.Interrupt, r.Timeouts.Idle = "POST", b, -1, b.interrupt, short
		}, ClientBody},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := endpointOf(t, script(t, c.server))
			out := get("/")
			c.change(out)
			gone := errors.New("the client went away")
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			if c.kind == Canceled {
				time.AfterFunc(short, func() { cancel(gone) })
			}
			begun := time.Now()
			in := new(Response)
			err := e.Do(ctx, out, in)
			if err == nil {
				_, err = io.Copy(io.Discard, in)
				in.Close()
			}
			took := time.Since(begun)
			if kindOf(err) != c.kind {
				t.Errorf("got %v, want %v", err, c.kind)
			}
			if c.kind == Canceled && !errors.Is(err, gone) {
				t.Errorf("the cause is lost: %v", err)
			}
			if took < short || took > short+time.Second {
				t.Errorf("it took %v", took)
			}
			quiet(t, e)
			if e.pool.idle() != 0 {
				t.Error("the connection was kept")
			}
		})
	}
}

func TestTimeoutsDoNotOutliveTheirExchange(t *testing.T) {
	e := endpointOf(t, serve(t, echo))
	out := get("/")
	out.Timeouts = Timeouts{Header: 2 * tick, Idle: 2 * tick}
	out.Deadline = time.Now().Add(2 * tick)
	fetch(t, e, out)
	time.Sleep(6 * tick) // idle for longer than any of them
	before := e.pool.open.Load()
	fetch(t, e, get("/"))
	if before != 1 || e.pool.open.Load() != 1 {
		t.Error("the idle connection was closed")
	}
}

func TestCanceledContextClosesTheUpstreamConnection(t *testing.T) {
	ended := make(chan struct{})
	e := endpointOf(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(ended)
	}))
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := e.Do(ctx, get("/"), new(Response)); kindOf(err) != Canceled {
		t.Errorf("got %v", err)
	}
	select {
	case <-ended:
	case <-time.After(2 * time.Second):
		t.Error("the upstream was not told")
	}
	if n := e.status(1).Failures; n != 0 {
		t.Errorf("%d failures counted against the upstream", n)
	}
}

func TestContextThatHasEndedSendsNothing(t *testing.T) {
	e := endpointOf(t, "http://127.0.0.1:1")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.Do(ctx, get("/"), new(Response)); kindOf(err) != Canceled {
		t.Errorf("got %v", err)
	}
}

func TestWatchIsPassiveAndExact(t *testing.T) {
	aborted := 0
	w := watch{abort: func() { aborted++ }}
	now := time.Now()
	w.check(now) // nothing is under way
	out := &Request{Timeouts: Timeouts{Header: time.Second, Idle: 2 * time.Second}}
	w.begin(context.Background(), out, sending)
	w.check(now)
	w.check(now.Add(1900 * time.Millisecond))
	w.progress()
	w.check(now.Add(2100 * time.Millisecond)) // something moved: counts from here
	w.check(now.Add(4 * time.Second))
	if aborted != 0 {
		t.Fatal("aborted although something moved")
	}
	w.sent()
	w.check(now.Add(5 * time.Second))
	w.check(now.Add(5900 * time.Millisecond))
	if aborted != 0 {
		t.Fatal("the header was given up early")
	}
	w.check(now.Add(6 * time.Second))
	w.check(now.Add(7 * time.Second))
	if kind, _ := w.end(); aborted != 1 || kind != HeaderTimeout {
		t.Errorf("aborted %d times for %v", aborted, kind)
	}
	w.check(now.Add(time.Hour))
	if aborted != 1 {
		t.Error("aborted after the end")
	}
}

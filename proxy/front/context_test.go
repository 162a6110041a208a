package front

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

func TestContextEndsWithItsRequest(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		var derived, plain []context.Context
		stopped := make(chan bool, 10)
		after := make(chan struct{}, 10)
		r := e.run(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			ctx := r.Context()
			if ctx.Err() != nil {
				t.Errorf("begins with %v", ctx.Err())
			}
			if _, ok := ctx.Deadline(); ok {
				t.Error("has a deadline")
			}
			if _, ok := ctx.Value(http.LocalAddrContextKey).(net.Addr); !ok {
				t.Error("knows no local address")
			}
			if _, ok := ctx.Value(http.ServerContextKey).(*http.Server); !ok {
				t.Error("knows no server")
			}
			if ctx.Value("other") != nil {
				t.Error("has another value")
			}
			child, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			grandchild, cancel2 := context.WithCancel(child)
			defer cancel2()
			value := context.WithValue(ctx, t, 1)
			stop := context.AfterFunc(ctx, func() { t.Error("a stopped AfterFunc is called") })
			stopped <- stop()
			context.AfterFunc(ctx, func() { after <- struct{}{} })
			derived = append(derived, child, grandchild)
			plain = append(plain, ctx, value)
		}), options{})
		exchangeRaw(t, r.addr, get+get, "GET", "GET")
		for range 2 {
			if !<-stopped {
				t.Error("stop of a pending AfterFunc reports false")
			}
			<-after
		}
		for i, ctx := range append(derived, plain...) {
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Second):
				t.Errorf("context %d goes on", i)
			}
			if ctx.Err() != context.Canceled || context.Cause(ctx) != context.Canceled {
				t.Errorf("context %d: %v, cause %v", i, ctx.Err(), context.Cause(ctx))
			}
		}
	})
}

func TestContextIsUsedAgainOnlyWhenNobodyCanHoldIt(t *testing.T) {
	for name, tt := range map[string]struct {
		use   func(*requestContext)
		again bool
	}{
		"untouched":         {func(*requestContext) {}, true},
		"Err":               {func(x *requestContext) { _ = x.Err() }, true},
		"AfterFunc stopped": {func(x *requestContext) { x.AfterFunc(func() {})() }, true},
		"AfterFunc pending": {func(x *requestContext) { x.AfterFunc(func() {}) }, false},
		"Done":              {func(x *requestContext) { x.Done() }, false},
		"derived":           {func(x *requestContext) { _, cancel := context.WithCancel(x); cancel() }, false},
	} {
		x := new(requestContext)
		x.begin(new(conn))
		tt.use(x)
		if got := x.end(); got != tt.again {
			t.Errorf("%s: used again %v, want %v", name, got, tt.again)
		}
		if ended := x.Err() != nil; ended == tt.again {
			t.Errorf("%s: ended %v", name, ended)
		}
	}
}

func TestAfterFuncOfAnEndedContext(t *testing.T) {
	x := new(requestContext)
	x.begin(new(conn))
	x.cancel()
	x.cancel()
	called := make(chan struct{})
	if stop := context.AfterFunc(x, func() { close(called) }); stop() {
		t.Error("stop reports true")
	}
	<-called
	select {
	case <-x.Done():
	default:
		t.Error("Done is open")
	}
}

// A request that has begun since is not cancelled for its predecessor.
func TestCancelIfMeansOneRequest(t *testing.T) {
	c, x := new(conn), new(requestContext)
	c.enter(phaseServing)
	word := c.word.Load()
	x.begin(c)
	x.end()
	c.enter(phaseIdle)
	c.enter(phaseServing)
	x.begin(c)
	x.cancelIf(c, word)
	if x.Err() != nil {
		t.Error("the next request is cancelled")
	}
	x.cancelIf(new(conn), 0)
	if x.Err() != nil {
		t.Error("another connection's request is cancelled")
	}
	x.cancelIf(c, c.word.Load())
	if x.Err() == nil {
		t.Error("the request is not cancelled")
	}
}

// Requests that keep what they must not keep find it poisoned, and the body closed.
func TestWhatIsKeptIsPoisoned(t *testing.T) {
	var kept *http.Request
	var body io.ReadCloser
	var method atomic.Value
	done := make(chan struct{})
	s := &Server{Poison: true, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/after" {
			return
		}
		kept, body = r, r.Body
		method.Store(r.Method) // a string may be kept
	})}
	r := start(t, s)
	go func() {
		defer close(done)
		o := exchangeRaw(t, r.addr, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", "POST")
		if o.Kept {
			t.Errorf("got %+v", o)
		}
	}()
	<-done
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kept.Method == "POST" || kept.Host == "a" || kept.Header.Get("Poisoned") == "" {
		t.Errorf("kept request: %+v", kept)
	}
	if method.Load() != "POST" {
		t.Errorf("kept string: %v", method.Load())
	}
	if _, err := body.Read(make([]byte, 1)); err != http.ErrBodyReadAfterClose {
		t.Errorf("kept body: %v", err)
	}
	if err := body.Close(); err != nil {
		t.Errorf("kept body: %v", err)
	}
}

// A goroutine that still reads the body when the handler returns is interrupted.
func TestReadingBeyondTheHandlerEnds(t *testing.T) {
	reading := make(chan struct{})
	result := make(chan error, 1)
	s := &Server{Poison: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := r.Body
		go func() {
			_, _ = io.ReadFull(body, make([]byte, 1))
			close(reading)
			_, err := io.Copy(io.Discard, body)
			result <- err
		}()
		<-reading
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	})}
	o := exchangeRaw(t, start(t, s).addr, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nx", "POST")
	if len(o.Answers) != 1 || o.Answers[0].Status != "413 Request Entity Too Large" || o.Kept {
		t.Errorf("got %+v", o)
	}
	if err := <-result; err == nil {
		t.Error("the body ended well")
	}
}

package front

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// readAll reads until the server ends the connection.
func readAll(t *testing.T, c net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("after %q: %v", b, err)
	}
	return string(b)
}

func TestShutdownClosesIdleAndLetsOthersFinish(t *testing.T) {
	entered, finish := make(chan struct{}), make(chan struct{})
	r := runFront(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(entered)
			<-finish
		}
	}), options{})
	idle, slow, fresh := r.dial(t), r.dial(t), r.dial(t)
	_, _ = io.WriteString(idle, get)
	idleReader := bufio.NewReader(idle)
	if a, err := readAnswer(idleReader, "GET"); err != nil || a.Close {
		t.Fatalf("idle: %+v, %v", a, err)
	}
	_, _ = io.WriteString(slow, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered

	ended := make(chan error, 1)
	go func() { ended <- r.server.Shutdown(t.Context()) }()
	if b, err := io.ReadAll(idleReader); err != nil || len(b) > 0 {
		t.Errorf("idle connection: %q, %v, want its end", b, err)
	}
	if got := readAll(t, fresh); got != "" {
		t.Errorf("connection without a request got %q", got)
	}
	select {
	case err := <-ended:
		t.Fatalf("Shutdown returned %v while a request was running", err)
	default:
	}
	close(finish)
	if got := readAll(t, slow); !strings.Contains(got, "200 OK") || !strings.Contains(got, "Connection: close") {
		t.Errorf("running request got %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if s := r.server.Stats(); s != (Stats{}) {
		t.Errorf("Stats = %+v", s)
	}
	if err := r.server.Serve(listen(t)); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

// A request that comes on a new connection just before Shutdown is answered.
func TestShutdownServesWhatWasAccepted(t *testing.T) {
	r := runFront(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), options{})
	c := r.dial(t)
	for r.server.Stats().Connections == 0 {
		time.Sleep(time.Millisecond) // until it is accepted
	}
	ended := make(chan error, 1)
	go func() { ended <- r.server.Shutdown(t.Context()) }()
	for !r.server.closing.Load() {
		time.Sleep(time.Millisecond)
	}
	_, _ = io.WriteString(c, get)
	if got := readAll(t, c); !strings.Contains(got, "Connection: close") {
		t.Errorf("got %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// A connection whose answer had begun before Shutdown was not told to close: its
// client sends the next request, which is answered.
func TestShutdownServesTheNextRequestOfWhoWasNotTold(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	r := runFront(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			_, _ = io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
			close(began)
			<-finish
		}
	}), options{})
	c := r.dial(t)
	_, _ = io.WriteString(c, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	<-began
	ended := make(chan error, 1)
	go func() { ended <- r.server.Shutdown(t.Context()) }()
	for !r.server.closing.Load() {
		time.Sleep(time.Millisecond)
	}
	close(finish)
	in := bufio.NewReader(c)
	if a, err := readAnswer(in, "GET"); err != nil || a.Close {
		t.Fatalf("%+v, %v", a, err)
	}
	time.Sleep(2 * sweepEvery) // as long as a client may take to think
	_, _ = io.WriteString(c, get)
	if a, err := readAnswer(in, "GET"); err != nil || !a.Close {
		t.Errorf("%+v, %v, want an answer that says close", a, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestShutdownGivesUpWithItsContext(t *testing.T) {
	entered, finish := make(chan struct{}), make(chan struct{})
	r := runFront(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(entered); <-finish }), options{})
	c := r.dial(t)
	_, _ = io.WriteString(c, get)
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	close(finish)
	readAll(t, c)
}

func TestShutdownOfAServerWithoutConnections(t *testing.T) {
	s := &Server{}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseEndsEveryConnection(t *testing.T) {
	entered, canceled := make(chan struct{}), make(chan struct{})
	r := runFront(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		if r.URL.Path == "/read" {
			if _, err := r.Body.Read(make([]byte, 1)); err == nil {
				t.Error("the body goes on after Close")
			}
		}
		<-r.Context().Done()
		canceled <- struct{}{}
	}), options{})
	idle, reading, waiting := r.dial(t), r.dial(t), r.dial(t)
	_, _ = io.WriteString(reading, "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
	_, _ = io.WriteString(waiting, get)
	<-entered
	<-entered
	if err := r.server.Close(); err != nil {
		t.Error(err)
	}
	<-canceled
	<-canceled
	for _, c := range []net.Conn{idle, reading, waiting} {
		readAll(t, c)
	}
}

func TestStatsCountConnections(t *testing.T) {
	entered, finish := make(chan struct{}), make(chan struct{})
	r := runFront(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(entered)
			<-finish
		}
	}), options{})
	idle, busy := r.dial(t), r.dial(t)
	_, _ = io.WriteString(busy, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	_, _ = io.WriteString(idle, get)
	if _, err := readAnswer(bufio.NewReader(idle), "GET"); err != nil {
		t.Fatal(err)
	}
	want := Stats{Connections: 2, Idle: 1, Active: 1}
	for got := r.server.Stats(); got != want; got = r.server.Stats() {
		if t.Context().Err() != nil {
			t.Fatalf("Stats = %+v, want %+v", got, want)
		}
		time.Sleep(time.Millisecond) // the connection comes to rest just after its response
	}
	close(finish)
	_, _ = readAnswer(bufio.NewReader(busy), "GET")
}

func TestPanicIsLoggedAndEndsOneConnection(t *testing.T) {
	var logged lockedBuffer
	s := &Server{ErrorLog: log.New(&logged, "", 0), Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/panic":
			panic("boom")
		case "/abort":
			panic(http.ErrAbortHandler)
		}
	})}
	r := start(t, s)
	other := r.dial(t)
	for _, path := range []string{"/panic", "/abort"} {
		if o := exchangeRaw(t, r.addr, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n", "GET"); o.Answers[0].Err != "ended" {
			t.Errorf("%s: %+v", path, o)
		}
	}
	_, _ = io.WriteString(other, get)
	if a, err := readAnswer(bufio.NewReader(other), "GET"); err != nil || a.Status != "200 OK" {
		t.Errorf("other connection: %+v, %v", a, err)
	}
	if got := logged.String(); strings.Count(got, "panic serving") != 1 || !strings.Contains(got, "boom") || !strings.Contains(got, "lifecycle_test.go") {
		t.Errorf("logged %q", got)
	}
}

func TestMisuseIsLoggedWithItsPlace(t *testing.T) {
	var logged lockedBuffer
	s := &Server{ErrorLog: log.New(&logged, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
		w.WriteHeader(500)
	})}
	exchangeRaw(t, start(t, s).addr, get, "GET")
	if got := logged.String(); !strings.Contains(got, "superfluous WriteHeader") || !strings.Contains(got, "lifecycle_test.go") {
		t.Errorf("logged %q", got)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// flakyListener fails as one does that is out of file descriptors.
type flakyListener struct {
	net.Listener
	failures int
}

func (l *flakyListener) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestServeGoesOnAfterAPassingError(t *testing.T) {
	s := &Server{Handler: http.NotFoundHandler()}
	l := &flakyListener{Listener: listen(t), failures: 3}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	if o := exchangeRaw(t, l.Addr().String(), get, "GET"); o.Answers[0].Status != "404 Not Found" {
		t.Errorf("got %+v", o)
	}
	_ = s.Close()
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
}

func TestServeReturnsTheListenersError(t *testing.T) {
	l := listen(t)
	_ = l.Close()
	s := &Server{}
	if err := s.Serve(l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
}

package front

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// The time-outs are kept by a sweep of the real clock: these tests wait for
// the server to act, and for nothing else.

func TestHeaderTimeout(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, e engine) {
		r := e.run(t, http.NotFoundHandler(), options{header: 300 * time.Millisecond})
		silent, slow := r.dial(t), r.dial(t)
		_, _ = io.WriteString(slow, "GET / HTTP/1.1\r\nHost:")
		got := readAll(t, slow)
		// net/http closes without a word.
		if e.name == "front" && (!strings.HasPrefix(got, "HTTP/1.1 408 ") || !strings.Contains(got, "Connection: close")) {
			t.Errorf("half a head got %q", got)
		}
		if got := readAll(t, silent); got != "" {
			t.Errorf("silence got %q", got)
		}
	})
}

// A client that sends its head byte by byte gets no more time than another.
func TestHeaderTimeoutIsForTheWholeHead(t *testing.T) {
	t.Parallel()
	r := runFront(t, http.NotFoundHandler(), options{header: 300 * time.Millisecond})
	c := r.dial(t)
	drip := time.NewTicker(20 * time.Millisecond)
	defer drip.Stop()
	done := make(chan string, 1)
	go func() { b, _ := io.ReadAll(c); done <- string(b) }()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nX: ")
	for {
		select {
		case <-drip.C:
			_, _ = io.WriteString(c, "x")
		case got := <-done:
			if !strings.HasPrefix(got, "HTTP/1.1 408 ") {
				t.Errorf("got %q", got)
			}
			return
		}
	}
}

func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, e engine) {
		r := e.run(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), options{idle: 300 * time.Millisecond})
		c := r.dial(t)
		br := bufio.NewReader(c)
		_, _ = io.WriteString(c, get)
		if a, err := readAnswer(br, "GET"); err != nil || a.Close {
			t.Fatalf("got %+v, %v", a, err)
		}
		if b, err := io.ReadAll(br); err != nil || len(b) > 0 {
			t.Errorf("got %q, %v, want the end", b, err)
		}
	})
}

// bodyServer answers with the error that reading the body ended in.
func bodyServer(t *testing.T, s *Server) *running {
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/duplex" {
			_ = http.NewResponseController(w).EnableFullDuplex()
		}
		_, err := io.Copy(io.Discard, r.Body)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			w.WriteHeader(http.StatusRequestTimeout)
		}
	})
	return start(t, s)
}

func TestBodyRate(t *testing.T) {
	t.Parallel()
	r := bodyServer(t, &Server{BodyRate: 10_000, BodyGrace: 200 * time.Millisecond})
	c := r.dial(t)
	done := make(chan string, 1)
	go func() { b, _ := io.ReadAll(c); done <- string(b) }()
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
	drip := time.NewTicker(10 * time.Millisecond)
	defer drip.Stop()
	for {
		select {
		case <-drip.C:
			_, _ = io.WriteString(c, "x") // a hundred bytes a second
		case got := <-done:
			if !strings.HasPrefix(got, "HTTP/1.1 408 ") || !strings.Contains(got, "Connection: close") {
				t.Errorf("got %q", got)
			}
			return
		}
	}
}

func TestSilentBodyIsGivenUpWithoutARate(t *testing.T) {
	t.Parallel()
	r := bodyServer(t, &Server{BodyRate: -1, IdleTimeout: 300 * time.Millisecond})
	for _, path := range []string{"/", "/duplex"} {
		c := r.dial(t)
		_, _ = io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx")
		if got := readAll(t, c); !strings.HasPrefix(got, "HTTP/1.1 408 ") {
			t.Errorf("%s: got %q", path, got)
		}
	}
}

// A handler that takes its time over a body is not the client's fault.
func TestBodyRateCountsWaitingOnly(t *testing.T) {
	t.Parallel()
	s := &Server{BodyRate: 1 << 20, BodyGrace: 3 * sweepEvery, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadFull(r.Body, make([]byte, 1))
		time.Sleep(6 * sweepEvery) // what it is about: the sweeper looks, and nobody is reading
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Errorf("body: %v", err)
		}
	})}
	o := exchangeRaw(t, start(t, s).addr, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST")
	if !o.Kept {
		t.Errorf("got %+v", o)
	}
}

func TestWriteTimeout(t *testing.T) {
	t.Parallel()
	result := make(chan error, 1)
	canceled := make(chan error, 1)
	s := &Server{WriteTimeout: 300 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		for err == nil {
			_, err = w.Write(make([]byte, 1<<20))
		}
		result <- err
		canceled <- r.Context().Err()
	})}
	c := start(t, s).dial(t)
	_, _ = io.WriteString(c, get)
	if err := <-result; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write: %v", err)
	}
	if <-canceled == nil {
		t.Error("the request goes on after its client stood still")
	}
}

func TestOwnDeadlines(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, e engine) {
		r := e.run(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			switch r.URL.Path {
			case "/read":
				if err := control.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
					t.Error(err)
				}
				if _, err := io.ReadAll(r.Body); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s: body: %v", e.name, err)
				}
			case "/write":
				if err := control.SetWriteDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
					t.Error(err)
				}
				var err error
				for err == nil {
					_, err = w.Write(make([]byte, 1<<20))
				}
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s: write: %v", e.name, err)
				}
			case "/restored":
				_ = control.SetReadDeadline(time.Now().Add(time.Millisecond))
				_ = control.SetWriteDeadline(time.Now().Add(time.Hour))
			}
		}), options{})
		o := exchangeRaw(t, r.addr, "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "POST")
		if o.Kept || len(o.Answers) != 1 || o.Answers[0].Status != "200 OK" {
			t.Errorf("read: %+v", o)
		}
		c := r.dial(t)
		_, _ = io.WriteString(c, "GET /write HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, net.ErrClosed) && endOf(err) != "ended" {
			t.Errorf("write: %v", err)
		}
		if e.name == "front" { // net/http keeps the read deadline when it has no time-outs of its own
			if o := exchangeRaw(t, r.addr, "GET /restored HTTP/1.1\r\nHost: a\r\n\r\n", "GET"); !o.Kept {
				t.Errorf("restored: %+v", o)
			}
		}
	})
}

package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/conf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running returns a registry whose Run ends with the test.
func running(t testing.TB, o Options) *Registry {
	t.Helper()
	r := NewRegistry(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r
}

// use compiles a service of these upstreams and puts it into use.
func use(t testing.TB, r *Registry, c conf.Service, urls ...string) *Service {
	t.Helper()
	for _, u := range urls {
		c.Upstreams = append(c.Upstreams, conf.Upstream{URL: u})
	}
	s, err := r.Service("test", c)
	if err != nil {
		t.Fatal(err)
	}
	r.Use([]*Service{s})
	return s
}

// endpointOf returns the endpoint of a running service with this upstream.
func endpointOf(t testing.TB, url string) *Endpoint {
	t.Helper()
	e, err := use(t, running(t, Options{}), conf.Service{}, url).Pick(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// serve runs a net/http server until the test ends.
func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// script runs a TCP server that gives each connection to f, with its number
// from 0 on, and closes it when f returns.
func script(t testing.TB, f func(n int, c *net.TCPConn, r *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	open := make(map[net.Conn]bool)
	all.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			all.Go(func() {
				f(n, c.(*net.TCPConn), bufio.NewReader(c))
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return "http://" + l.Addr().String()
}

// readRequest reads a request and its body, or returns nil at the end.
func readRequest(r *bufio.Reader) *http.Request {
	req, err := http.ReadRequest(r)
	if err != nil {
		return nil
	}
	body, _ := io.ReadAll(req.Body)
	req.Body = io.NopCloser(strings.NewReader(string(body)))
	return req
}

// answers is a script that gives the same answer to each request, until the end.
func answers(text string) func(int, *net.TCPConn, *bufio.Reader) {
	return func(_ int, c *net.TCPConn, r *bufio.Reader) {
		for readRequest(r) != nil {
			io.WriteString(c, text)
		}
	}
}

func get(target string) *Request {
	return &Request{Method: "GET", Target: target, Host: "client.example"}
}

func post(body io.Reader, length int64) *Request {
	return &Request{Method: "POST", Target: "/", Host: "client.example", Body: body, BodyLength: length}
}

// fetch does one exchange and returns the body. It fails the test on an error.
func fetch(t testing.TB, e *Endpoint, out *Request) (*Response, string) {
	t.Helper()
	in := new(Response)
	body, err := exchange(e, out, in)
	if err != nil {
		t.Fatalf("%s %s: %v", out.Method, out.Target, err)
	}
	return in, body
}

// exchange does one exchange to its end.
func exchange(e *Endpoint, out *Request, in *Response) (body string, err error) {
	defer out.Release()
	if err := e.Do(context.Background(), out, in); err != nil {
		return "", err
	}
	defer in.Close()
	b := new(strings.Builder)
	_, err = in.WriteTo(b)
	return b.String(), err
}

// kindOf returns the kind of err, or 0.
func kindOf(err error) Kind {
	var f *Error
	if errors.As(err, &f) {
		return f.Kind
	}
	return 0
}

// eventually waits for what another goroutine, or the kernel, is about to do.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 5s: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// quiet checks that nothing is left under way.
func quiet(t testing.TB, e *Endpoint) {
	t.Helper()
	eventually(t, "no exchange under way", func() bool { return e.inflight() == 0 })
	if open, idle := int(e.pool.open.Load()), e.pool.idle(); open != idle {
		t.Errorf("%d connections are open, %d idle", open, idle)
	}
}

// trust makes Options.TLS believe s.
func trust(s *httptest.Server) func(conf.UpstreamTLS, string) (*tls.Config, error) {
	return func(conf.UpstreamTLS, string) (*tls.Config, error) {
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate())
		return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
	}
}

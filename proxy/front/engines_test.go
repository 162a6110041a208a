package front

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if order := os.Getenv(clientsEnv); order != "" {
		if err := beClients(order); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// engine is a server under test: front, or net/http's, which it has to be like.
type engine struct {
	name string
	run  func(t testing.TB, h http.Handler, o options) *running
}

// options are what both engines can be told.
type options struct {
	tls     *tls.Config
	log     io.Writer
	header  time.Duration
	idle    time.Duration
	maxHead int
}

// running is a started engine.
type running struct {
	addr   string
	server *Server // front only
}

var engines = []engine{{"front", runFront}, {"nethttp", runNetHTTP}}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// runFront starts a Server that poisons its requests.
func runFront(t testing.TB, h http.Handler, o options) *running {
	s := &Server{Handler: h, Poison: true, TLSConfig: o.tls, HeaderTimeout: o.header, IdleTimeout: o.idle}
	s.Limits.HeadBytes = o.maxHead
	if o.log != nil {
		s.ErrorLog = log.New(o.log, "", 0)
	}
	return start(t, s)
}

// start serves on a port of the loopback address until the test ends.
func start(t testing.TB, s *Server) *running {
	t.Helper()
	l := listen(t)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		s.sweeping.Wait() // ends when every handler has
	})
	return &running{addr: l.Addr().String(), server: s}
}

func runNetHTTP(t testing.TB, h http.Handler, o options) *running {
	t.Helper()
	s := &http.Server{Handler: h, TLSConfig: o.tls, ReadHeaderTimeout: o.header, IdleTimeout: o.idle, MaxHeaderBytes: o.maxHead,
		ErrorLog: log.New(io.Discard, "", 0), DisableGeneralOptionsHandler: true}
	if o.log != nil {
		s.ErrorLog = log.New(o.log, "", 0)
	}
	l := listen(t)
	done := make(chan error, 1)
	go func() {
		if o.tls != nil {
			done <- s.ServeTLS(l, "", "")
		} else {
			done <- s.Serve(l)
		}
	}()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return &running{addr: l.Addr().String()}
}

// onBoth runs the test with each engine.
func onBoth(t *testing.T, test func(t *testing.T, e engine)) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) { test(t, e) })
	}
}

// dial connects to the engine, with a time-out for the whole test.
func (r *running) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// answer is a response as a client understands it.
type answer struct {
	Status  string
	Proto   string
	Header  []string // sorted lines, Date without its value
	Length  int64
	Coding  []string
	Close   bool
	Body    string
	Trailer http.Header
	Err     string // of the body
}

// outcome is what became of one connection.
type outcome struct {
	Answers []answer
	Kept    bool // another request is answered
	Seen    []string
}

// exchangeRaw writes input to a new connection, reads a response for each of methods, and
// then tries whether the connection answers another request.
func exchangeRaw(t *testing.T, addr, input string, methods ...string) (o outcome) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	// The server may answer and close before it has taken everything.
	go func() { _, _ = io.WriteString(c, input) }()
	br := bufio.NewReader(c)
	for _, method := range methods {
		a, err := readAnswer(br, method)
		if err != nil {
			a.Err = endOf(err)
			o.Answers = append(o.Answers, a)
			return o
		}
		o.Answers = append(o.Answers, a)
	}
	if _, err := io.WriteString(c, "GET /after HTTP/1.1\r\nHost: after\r\n\r\n"); err == nil {
		resp, err := http.ReadResponse(br, nil)
		o.Kept = err == nil && resp.StatusCode != http.StatusBadRequest
	}
	return o
}

func readAnswer(br *bufio.Reader, method string) (answer, error) {
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(resp.Body)
	a := answer{
		Status: resp.Status, Proto: resp.Proto, Length: resp.ContentLength, Coding: resp.TransferEncoding, Close: resp.Close,
		Body: string(body), Trailer: resp.Trailer, Err: endOf(err),
	}
	if resp.StatusCode == 101 {
		a.Body = ""
	}
	for name, values := range resp.Header {
		for _, value := range values {
			if name == "Date" {
				if _, err := time.Parse(http.TimeFormat, value); err == nil {
					value = "now"
				}
			}
			a.Header = append(a.Header, name+": "+value)
		}
	}
	slices.Sort(a.Header)
	return a, nil
}

// endOf names an error by what it means for a client.
func endOf(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "reset"):
		return "ended"
	}
	return err.Error()
}

// notebook collects what handlers see.
type notebook struct {
	mu    sync.Mutex
	lines []string
}

func (n *notebook) note(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

func (n *notebook) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.lines)
}

// describe is everything a handler can tell about a request before it reads the body.
func describe(r *http.Request) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s %s %d.%d host=%s url=%+v length=%d te=%v close=%v trailer=%v tls=%v remote=%v pattern=%q value=%q\n",
		r.Method, r.RequestURI, r.Proto, r.ProtoMajor, r.ProtoMinor, r.Host, *r.URL, r.ContentLength, r.TransferEncoding, r.Close,
		r.Trailer, r.TLS != nil, strings.HasPrefix(r.RemoteAddr, "127.0.0.1:"), r.Pattern, r.PathValue("x"))
	_ = r.Header.WriteSubset(&b, nil)
	return b.String()
}

package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/conf"
)

func TestRequestIsWrittenAsItShouldBe(t *testing.T) {
	got := make(chan string, 1)
	e := endpointOf(t, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		dump, _ := httputil.DumpRequest(req, true)
		got <- string(dump)
		io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
	})+"/base/")
	out := post(strings.NewReader("hello"), 5)
	out.Target = "/a%2Fb?q=1"
	out.Header = http.Header{
		"Accept": {"a", "b"}, "Connection": {"keep-alive, X-Private"}, "X-Private": {"1"}, "Keep-Alive": {"5"},
		"Proxy-Connection": {"x"}, "Te": {"trailers, deflate"}, "Content-Length": {"99"}, "Transfer-Encoding": {"gzip"},
		"X-Request-Id": {"client"}, "X-Tenant-Id": {"forged"}, "Host": {"evil.example"}, "Expect": {"100-continue"}, "Upgrade": {"h2c"},
	}
	out.Drop = NewNameSet("x-tenant-id")
	out.Set = []Field{{"X-Request-Id", "ours"}, {"Forwarded", "for=a"}, {"Forwarded", "for=b"}, {"Accept-Nothing", ""}}
	in, _ := fetch(t, e, out)
	if in.Status != 204 {
		t.Errorf("status %d", in.Status)
	}
	want := strings.Join([]string{
		"POST /base/a%2Fb?q=1 HTTP/1.1", "Host: client.example", "Accept: a", "Accept: b", "Connection: TE",
		"Content-Length: 5", "Forwarded: for=a", "Forwarded: for=b", "Te: trailers", "X-Request-Id: ours", "", "hello",
	}, "\r\n")
	if dump := <-got; dump != want {
		t.Errorf("got\n%s\nwant\n%s", dump, want)
	}
}

func TestRequestThatCannotBeWrittenIsInvalid(t *testing.T) {
	url := script(t, answers("HTTP/1.1 204 No Content\r\n\r\n"))
	e := endpointOf(t, url)
	for name, change := range map[string]func(*Request){
		"line break in a value":     func(r *Request) { r.Header = http.Header{"X": {"a\r\nSmuggled: 1"}} },
		"bare LF in a value":        func(r *Request) { r.Header = http.Header{"X": {"a\nSmuggled: 1"}} },
		"bare CR in a value":        func(r *Request) { r.Header = http.Header{"X": {"a\rb"}} },
		"NUL in a value":            func(r *Request) { r.Header = http.Header{"X": {"a\x00b"}} },
		"line break in a set value": func(r *Request) { r.Set = []Field{{"X", "a\r\nb: c"}} },
		"line break in a name":      func(r *Request) { r.Header = http.Header{"X: 1\r\nY": {"a"}} },
		"line break in the host":    func(r *Request) { r.Host = "a\r\nX: y" },
		"line break in the upgrade": func(r *Request) { r.Upgrade = "a\r\nX: y" },
		"space in the target":       func(r *Request) { r.Target = "/ HTTP/1.1" },
		"empty target":              func(r *Request) { r.Target = "" },
		"space in the method":       func(r *Request) { r.Method = "GET /" },
		"CONNECT":                   func(r *Request) { r.Method = "CONNECT" },
		"length without a body":     func(r *Request) { r.BodyLength = 4 },
	} {
		t.Run(name, func(t *testing.T) {
			out := get("/")
			change(out)
			err := e.Do(context.Background(), out, new(Response))
			var f *Error
			if !errors.As(err, &f) || f.Kind != Invalid || f.Sent {
				t.Errorf("got %v, want invalid and nothing sent", err)
			}
		})
	}
	if n := e.status(1).Failures; n != 0 {
		t.Errorf("%d failures counted against the upstream", n)
	}
}

func TestResponseBodies(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 20000)
	for name, c := range map[string]struct {
		method, text string
		body         string
		length       int64
		reused       bool
	}{
		"sized":             {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", 5, true},
		"empty":             {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", 0, true},
		"large":             {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 320000\r\n\r\n" + large, large, 320000, true},
		"chunked":           {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "hello!", -1, true},
		"large chunk":       {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4e200\r\n" + large + "\r\n0\r\n\r\n", large, -1, true},
		"until close":       {"GET", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", "hello", -1, false},
		"close":             {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", "hello", 5, false},
		"HTTP/1.0":          {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", 5, false},
		"HEAD":              {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "", 0, true},
		"HEAD chunked":      {"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "", 0, true},
		"HEAD with a body":  {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "", 0, false},
		"204":               {"GET", "HTTP/1.1 204 No Content\r\n\r\n", "", 0, true},
		"204 with a length": {"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "", 0, false},
		"304":               {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "", 0, true},
		"leftover":          {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n", "hello", 5, false},
		"leftover, chunked": {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n!\r\n0\r\n\r\nx", "!", -1, false},
		"interim":           {"GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", 2, true},
		"without a reason":  {"GET", "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", "ok", 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			e := endpointOf(t, script(t, func(_ int, conn *net.TCPConn, r *bufio.Reader) {
				if readRequest(r) != nil {
					io.WriteString(conn, c.text)
				}
				if c.length != -1 || c.reused {
					r.ReadByte() // stay until the other end goes
				}
			}))
			out := get("/")
			out.Method = c.method
			in, body := fetch(t, e, out)
			if body != c.body {
				t.Errorf("body of %d bytes, want %d", len(body), len(c.body))
			}
			if in.BodyLength != c.length {
				t.Errorf("BodyLength = %d, want %d", in.BodyLength, c.length)
			}
			if reused := e.pool.idle() == 1; reused != c.reused {
				t.Errorf("connection kept: %v, want %v", reused, c.reused)
			}
			quiet(t, e)
		})
	}
}

func TestMalformedResponseIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"garbage":              "SSH-2.0-OpenSSH_9.2\r\n\r\n",
		"HTTP/2":               "HTTP/2.0 200 OK\r\n\r\n",
		"length and coding":    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":          "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"one length twice":     "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
		"negative length":      "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
		"length with a plus":   "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
		"unknown coding":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"coding in HTTP/1.0":   "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"folded field":         "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
		"space before colon":   "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
		"bare CR":              "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
		"bare LF":              "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
		"NUL":                  "HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 0\r\n\r\n",
		"huge head":            "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 70<<10) + "\r\n\r\n",
		"head without end":     "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 80),
		"unasked switch":       "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
		"interims without end": strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100),
	} {
		t.Run(name, func(t *testing.T) {
			e := endpointOf(t, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
				if readRequest(r) != nil {
					io.WriteString(c, text)
					r.ReadByte()
				}
			}))
			if _, err := exchange(e, get("/"), new(Response)); kindOf(err) != Malformed {
				t.Errorf("got %v, want malformed", err)
			}
			if n := e.status(1).Failures; n != 1 {
				t.Errorf("%d failures counted, want 1", n)
			}
			quiet(t, e)
			if e.pool.idle() != 0 {
				t.Error("the connection was kept")
			}
		})
	}
}

func TestBodyCutShortIsAnError(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		reset bool
		kind  Kind
	}{
		"short":                {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", false, Reset},
		"reset":                {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", true, Reset},
		"reset, until close":   {"HTTP/1.1 200 OK\r\n\r\nhello", true, Reset},
		"chunked, short":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", false, Reset},
		"chunked, no last one": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", false, Reset},
		"bad chunk size":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n", false, Malformed},
		"chunk longer":         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n", false, Malformed},
		"folded trailer":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n c\r\n\r\n", false, Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			read := make(chan bool)
			e := endpointOf(t, script(t, func(_ int, conn *net.TCPConn, r *bufio.Reader) {
				if readRequest(r) == nil {
					return
				}
				io.WriteString(conn, c.text)
				if c.reset {
					<-read
					conn.SetLinger(0)
				}
			}))
			in := new(Response)
			if err := e.Do(context.Background(), get("/"), in); err != nil {
				t.Fatal(err)
			}
			close(read)
			_, err := in.WriteTo(io.Discard)
			if kindOf(err) != c.kind {
				t.Errorf("WriteTo: %v, want %v", err, c.kind)
			}
			if n, again := in.Read(make([]byte, 10)); n != 0 || again != err {
				t.Errorf("Read afterwards: %d, %v", n, again)
			}
			in.Close()
			quiet(t, e)
			if e.pool.idle() != 0 {
				t.Error("the connection was kept")
			}
		})
	}
}

func TestHeaderOfAResponse(t *testing.T) {
	e := endpointOf(t, script(t, answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n"+
		"Keep-Alive: timeout=5\r\nset-cookie: a=1\r\nSet-Cookie: b=2\r\nx-own: é\r\n\r\nok")))
	storage := http.Header{"Stale": {"1"}}
	in := &Response{Header: storage}
	if err := e.Do(context.Background(), get("/"), in); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if len(storage) != 3 || !slices.Equal(storage["Set-Cookie"], []string{"a=1", "b=2"}) || storage.Get("X-Own") != "é" ||
		storage.Get("Content-Length") != "2" {
		t.Errorf("header = %v", storage)
	}
	if e.pool.idle() != 1 {
		t.Error("a response that arrived whole still holds its connection")
	}
}

func TestInterimResponsesArePassedOn(t *testing.T) {
	e := endpointOf(t, script(t, answers("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\n\r\n"+
		"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
	var got []int
	in := &Response{On1xx: func(status int, h http.Header) {
		got = append(got, status)
		if status == 103 && (h.Get("Link") != "</a.css>" || len(h) != 1) {
			t.Errorf("header of 103: %v", h)
		}
	}}
	if _, err := exchange(e, get("/"), in); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []int{103, 102}) || in.Status != 200 || len(in.Header.Values("Link")) != 0 {
		t.Errorf("interim %v, then %d with %v", got, in.Status, in.Header)
	}
}

func TestTrailersBothWays(t *testing.T) {
	e := endpointOf(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Sum")
		w.Write([]byte("body"))
		w.Header().Set("X-Sum", r.Trailer.Get("X-Client-Sum"))
	}))
	trailer := http.Header{"X-Client-Sum": {"42"}}
	out := post(strings.NewReader("hello"), -1)
	out.Header = http.Header{"Trailer": {"X-Client-Sum"}}
	out.Trailer = &trailer
	in, body := fetch(t, e, out)
	if body != "body" || in.Trailer.Get("X-Sum") != "42" || in.Header.Get("Trailer") != "X-Sum" {
		t.Errorf("body %q, trailer %v, header %v", body, in.Trailer, in.Header)
	}
	quiet(t, e)
	if e.pool.idle() != 1 {
		t.Error("the connection was not kept")
	}
}

// flushes records what is written, and what had been when it was flushed.
type flushes struct {
	strings.Builder
	at chan string
}

func (f *flushes) Flush() { f.at <- f.String() }

func TestStreamIsFlushedAndOutlivesTheDeadline(t *testing.T) {
	next := make(chan string)
	e := endpointOf(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for event := range next {
			io.WriteString(w, event)
			w.(http.Flusher).Flush()
		}
	}))
	out := get("/")
	out.Deadline = time.Now().Add(200 * time.Millisecond)
	in := new(Response)
	go func() { next <- "data: 0\n\n" }()
	if err := e.Do(context.Background(), out, in); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	w := &flushes{at: make(chan string)}
	done := make(chan error)
	go func() { _, err := in.WriteTo(w); done <- err }()
	want := "data: 0\n\n"
	if got := <-w.at; got != want {
		t.Errorf("flushed %q, want %q", got, want)
	}
	time.Sleep(time.Until(out.Deadline) + 4*tick) // the deadline must not matter
	next <- "data: 1\n\n"
	if got := <-w.at; got != want+"data: 1\n\n" {
		t.Errorf("flushed %q", got)
	}
	close(next)
	for {
		select {
		case <-w.at:
		case err := <-done:
			if err != nil {
				t.Errorf("WriteTo: %v", err)
			}
			return
		}
	}
}

func TestHTTPSWithHTTP1(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Proto)
	}))
	defer s.Close()
	r := running(t, Options{TLS: trust(s)})
	e, err := use(t, r, conf.Service{}, s.URL).Pick(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, body := fetch(t, e, get("/")); body != "HTTP/1.1" {
			t.Errorf("got %q", body)
		}
	}
	if n := e.pool.open.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	s.CloseClientConnections() // says goodbye in TLS: found by the probe
	if _, body := fetch(t, e, get("/")); body != "HTTP/1.1" {
		t.Errorf("got %q", body)
	}
}

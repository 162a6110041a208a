package upstream

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/conf"
	"sluice/proxy/h1"
)

// canned is a connection on which the answer has arrived already, piece bytes at a time.
type canned struct {
	r     *bytes.Reader
	piece int
}

func (c *canned) Read(p []byte) (int, error)       { return c.r.Read(p[:min(len(p), c.piece)]) }
func (c *canned) Write(p []byte) (int, error)      { return len(p), nil }
func (c *canned) Close() error                     { return nil }
func (c *canned) LocalAddr() net.Addr              { return nil }
func (c *canned) RemoteAddr() net.Addr             { return nil }
func (c *canned) SetDeadline(time.Time) error      { return nil }
func (c *canned) SetReadDeadline(time.Time) error  { return nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }

// Whatever both this package and net/http take for a response means the same
// to both; and a connection is kept only when net/http sees nothing behind the response.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloX",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nEtag: \"a\"\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nx-a: 1\r\nX-A: 2\r\n\r\nrest",
		"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
		"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n",
	} {
		f.Add([]byte(seed), false, uint16(4096))
		f.Add([]byte(seed), true, uint16(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, head bool, piece uint16) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		r := NewRegistry(Options{Dial: func(context.Context, string, string) (net.Conn, error) {
			return &canned{bytes.NewReader(data), int(piece) + 1}, nil
		}})
		s, err := r.Service("fuzz", conf.Service{Upstreams: []conf.Upstream{{URL: "http://fuzz"}}})
		if err != nil {
			t.Fatal(err)
		}
		e := s.members[0].Endpoint
		out, in := get("/"), new(Response)
		out.Method = method
		body, err := exchange(e, out, in)
		if e.inflight() != 0 || int(e.pool.open.Load()) != e.pool.idle() {
			t.Fatal("the exchange has no end")
		}
		if err != nil {
			return
		}

		br := bufio.NewReader(bytes.NewReader(data))
		want, err := http.ReadResponse(br, &http.Request{Method: method})
		for err == nil && want.StatusCode < 200 {
			want, err = http.ReadResponse(br, &http.Request{Method: method})
		}
		if err != nil {
			return // accepted here alone: harmless to whoever reads what we write anew
		}
		wantBody, err := io.ReadAll(want.Body)
		if err != nil {
			return
		}
		if in.Status != want.StatusCode || body != string(wantBody) {
			t.Fatalf("%d %q, net/http has %d %q", in.Status, body, want.StatusCode, wantBody)
		}
		for name := range in.Header {
			if _, ok := want.Header[name]; !ok && name != "Trailer" {
				t.Errorf("%s is not known to net/http", name)
			}
		}
		var connection []string // net/http takes the field out when it says close
		for line := range strings.Lines(string(data)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "Connection") {
				connection = append(connection, strings.TrimSpace(value))
			}
		}
		for name, values := range want.Header {
			switch name {
			case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
				"Upgrade", "Transfer-Encoding", "Host":
				continue
			case "Cache-Control": // net/http makes one of Pragma
				if want.Header["Pragma"] != nil {
					continue
				}
			}
			if h1.HasToken(connection, name) {
				continue
			}
			for i := range values {
				values[i] = strings.Trim(values[i], " \t")
			}
			if !slices.Equal(in.Header[name], values) {
				t.Errorf("%s: %q, net/http has %q", name, in.Header[name], values)
			}
		}
		for name, values := range in.Trailer {
			if !slices.Equal(want.Trailer[name], values) {
				t.Errorf("trailer %s: %q, net/http has %q", name, values, want.Trailer[name])
			}
		}
		if e.pool.idle() == 1 {
			if rest, _ := io.ReadAll(br); want.Close || len(rest) > 0 && int(piece) > len(data) {
				t.Errorf("the connection was kept: close %v, %q left", want.Close, rest)
			}
		}
	})
}

// Whatever a client's header holds, net/http reads what we write as one request
// with nothing that nobody asked for.
func FuzzCompose(f *testing.F) {
	f.Add("GET", "/", "host", "X-A", "v", "X-Set", "w")
	f.Add("POST", "/a?b", "host:80", "Connection", "X-Set, Keep-Alive", "X-Set", "a\r\nb: c")
	f.Add("PUT", "*", "h", "Te", "trailers", "Transfer-Encoding", "chunked")
	f.Fuzz(func(t *testing.T, method, target, host, name, value, setName, setValue string) {
		if !h1.ValidName(name) || !h1.ValidName(setName) {
			return // the promise of whoever parsed or configured them
		}
		name = http.CanonicalHeaderKey(name)
		e := &Endpoint{host: "fallback"}
		out := &Request{Method: method, Target: target, Host: host, Header: http.Header{name: {value}}, Set: []Field{{http.CanonicalHeaderKey(setName), setValue}}}
		b, err := e.compose(nil, out)
		if err != nil {
			return
		}
		if n := bytes.Count(b, []byte("\r\n\r\n")); n != 1 || !bytes.HasSuffix(b, []byte("\r\n\r\n")) {
			t.Fatalf("%d heads in %q", n, b)
		}
		br := bufio.NewReader(bytes.NewReader(b))
		r, err := http.ReadRequest(br)
		if err != nil {
			return // net/http is stricter about hosts and control characters
		}
		if r.Method != method || r.RequestURI != target {
			t.Errorf("read as %s %s", r.Method, r.RequestURI)
		}
		if rest, _ := io.ReadAll(br); len(rest) > 0 && r.ContentLength == 0 && len(r.TransferEncoding) == 0 {
			t.Errorf("%q behind the request", rest)
		}
	})
}

package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"sluice/internal/issuer"
)

// rawUpstream answers every request of a connection with the same bytes, and
// allocates nothing for it, so that a benchmark counts the gateway alone.
func rawUpstream(b *testing.B) *httptest.Server {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	body := bytes.Repeat([]byte(`{"id":42}`), 114)[:1024]
	response := []byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 8192)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					if bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
						if _, err := c.Write(response); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	s := &httptest.Server{URL: "http://" + l.Addr().String(), Listener: l, Config: new(http.Server)}
	return s
}

// BenchmarkPipeline is one request over loopback through everything: the front,
// the road, an upstream connection, and back. full verifies a token (remembered),
// spends of a quota, sets the headers, counts and logs; plain does what no
// configuration can leave out.
func BenchmarkPipeline(b *testing.B) {
	for _, c := range []struct {
		name, path string
		full       bool
	}{{"plain", "/public/x", false}, {"full", "/api/x", true}} {
		b.Run(c.name, func(b *testing.B) {
			g := newRigBefore(b, rawUpstream(b), `
tiers: {standard: {requests: 2000000000, per: 1h}}
limits: {anonymous: {requests: 2000000000, per: 1h}}
`+apiRoutes)
			request := "GET " + c.path + " HTTP/1.1\r\nHost: api.example\r\nUser-Agent: bench\r\nAccept: */*\r\n"
			if c.full {
				request += "Authorization: " + g.token(issuer.Claims{Tenant: "acme", Subject: "auth0|ann"}) + "\r\n"
			}
			request += "\r\n"
			conn, err := net.Dial("tcp", g.server.URL[len("http://"):])
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			r := bufio.NewReaderSize(conn, 8192)
			bytesOut := []byte(request)
			once := func() {
				if _, err := conn.Write(bytesOut); err != nil {
					b.Fatal(err)
				}
				line, err := r.ReadSlice('\n')
				if err != nil || !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
					b.Fatalf("%q, %v", line, err)
				}
				for len(line) > 2 {
					if line, err = r.ReadSlice('\n'); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := r.Discard(1024); err != nil {
					b.Fatal(err)
				}
			}
			for range 100 {
				once()
			}
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
	}
}

package upstream

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// respond is a server that costs next to nothing: it looks for the end of each
// request by its length alone, and writes the same bytes.
func respond(tb testing.TB, requestBody int, response string) string {
	return script(tb, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		answer := []byte(response)
		for {
			for {
				line, err := r.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(line) <= 2 {
					break
				}
			}
			if _, err := r.Discard(requestBody); err != nil {
				return
			}
			c.Write(answer)
		}
	})
}

func response(size int) string {
	return "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 15:00:00 GMT\r\nContent-Type: application/json\r\nServer: bench\r\nContent-Length: " +
		strconv.Itoa(size) + "\r\n\r\n" + strings.Repeat("x", size)
}

func clientHeader() http.Header {
	return http.Header{
		"Authorization":   {"Bearer " + strings.Repeat("t", 600)},
		"Accept":          {"application/json"},
		"Accept-Encoding": {"gzip, br"},
		"User-Agent":      {"bench/1.0"},
		"Connection":      {"keep-alive"},
	}
}

func benchmark(b *testing.B, requestBody, responseBody int, parallel bool) {
	url := respond(b, requestBody, response(responseBody))
	body := bytes.Repeat([]byte("y"), requestBody)
	method := "GET"
	if requestBody > 0 {
		method = "POST"
	}
	drop := NewNameSet("X-Forwarded-For", "X-Tenant-Id")

	b.Run("own", func(b *testing.B) {
		e := endpointOf(b, url)
		run := func(next func() bool) {
			var out Request
			var in Response
			set := []Field{{"X-Request-Id", "01JD0000000000000000000000"}, {"X-Forwarded-For", "192.0.2.1"}, {"X-Tenant-Id", "acme"}}
			header := clientHeader()
			reader := bytes.NewReader(nil)
			for next() {
				out.Method, out.Target, out.Host, out.Header, out.Drop, out.Set = method, "/api/items/1?full=true", "api.example", header, drop, set
				if requestBody > 0 {
					reader.Reset(body)
					out.Body, out.BodyLength = reader, int64(requestBody)
				}
				if err := e.Do(context.Background(), &out, &in); err != nil {
					b.Error(err)
					return
				}
				n, err := in.WriteTo(io.Discard)
				if n != int64(responseBody) || err != nil {
					b.Errorf("%d bytes, %v", n, err)
				}
				in.Close()
				out.Release()
			}
		}
		b.ReportAllocs()
		if parallel {
			b.RunParallel(func(pb *testing.PB) { run(pb.Next) })
			return
		}
		run(b.Loop)
	})

	b.Run("nethttp", func(b *testing.B) {
		transport := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
		defer transport.CloseIdleConnections()
		run := func(next func() bool) {
			buf := make([]byte, size64K)
			for next() {
				r, _ := http.NewRequest(method, url+"/api/items/1?full=true", nil)
				if requestBody > 0 {
					r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(requestBody)
				}
				for name, values := range clientHeader() {
					r.Header[name] = values
				}
				r.Header["X-Request-Id"] = []string{"01JD0000000000000000000000"}
				r.Header["X-Forwarded-For"] = []string{"192.0.2.1"}
				r.Header["X-Tenant-Id"] = []string{"acme"}
				answer, err := transport.RoundTrip(r)
				if err != nil {
					b.Error(err)
					return
				}
				io.CopyBuffer(struct{ io.Writer }{io.Discard}, answer.Body, buf)
				answer.Body.Close()
			}
		}
		b.ReportAllocs()
		if parallel {
			b.RunParallel(func(pb *testing.PB) { run(pb.Next) })
			return
		}
		run(b.Loop)
	})
}

func BenchmarkDo(b *testing.B) {
	b.Run("get", func(b *testing.B) { benchmark(b, 0, 1<<10, false) })
	b.Run("get-parallel", func(b *testing.B) { benchmark(b, 0, 1<<10, true) })
	b.Run("get-100KB", func(b *testing.B) { benchmark(b, 0, 100<<10, false) })
	b.Run("post-1KB", func(b *testing.B) { benchmark(b, 1<<10, 200, false) })
}

// BenchmarkRelay hands bodies on to a client's connection, as a proxy does.
func BenchmarkRelay(b *testing.B) {
	const size = 100 << 10
	e := endpointOf(b, respond(b, 0, response(size)))
	sink := script(b, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		buf := make([]byte, 256<<10)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	})
	client, err := net.Dial("tcp", strings.TrimPrefix(sink, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	var out Request
	var in Response
	w := struct{ io.Writer }{client}
	header := clientHeader()
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		out.Method, out.Target, out.Header = "GET", "/", header
		if err := e.Do(context.Background(), &out, &in); err != nil {
			b.Fatal(err)
		}
		if _, err := in.WriteTo(w); err != nil {
			b.Fatal(err)
		}
		in.Close()
		out.Release()
	}
}

package front

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// engines are the two servers of every comparison.
var benchEngines = []struct {
	name  string
	serve func(l net.Listener, h http.Handler) (stop func())
}{
	{"front", func(l net.Listener, h http.Handler) func() {
		s := &Server{Handler: h}
		go func() { _ = s.Serve(l) }()
		return func() { _ = s.Close() }
	}},
	{"nethttp", func(l net.Listener, h http.Handler) func() {
		s := &http.Server{Handler: h}
		go func() { _ = s.Serve(l) }()
		return func() { _ = s.Close() }
	}},
}

func benchmarkServer(b *testing.B, request string, pipelined, response int, h http.HandlerFunc) {
	for _, e := range benchEngines {
		b.Run(e.name, func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			stop := e.serve(l, h)
			defer stop()
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			batch := []byte(strings.Repeat(request, pipelined))
			// The length of a response, head included, is found out once.
			if _, err := c.Write([]byte(request)); err != nil {
				b.Fatal(err)
			}
			buf := make([]byte, 256<<10)
			size := 0
			for {
				n, err := c.Read(buf[size:])
				if err != nil {
					b.Fatal(err)
				}
				size += n
				if head := bytes.Index(buf[:size], []byte("\r\n\r\n")); head >= 0 && size >= head+4+response {
					break
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			used := cpuTime()
			for done := 0; done < b.N; done += pipelined {
				if _, err := c.Write(batch); err != nil {
					b.Fatal(err)
				}
				for left := size * pipelined; left > 0; {
					n, err := c.Read(buf[:min(left, len(buf))])
					if err != nil {
						b.Fatal(err)
					}
					left -= n
				}
			}
			b.ReportMetric(float64(cpuTime()-used)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpuTime is what this process has used, the client's half included: on a machine that
// others use too it says more than the time on the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const benchHeader = "Host: api.acme.example\r\nUser-Agent: bench/1\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n" +
	"Authorization: Bearer 0123456789012345678901234567890123456789\r\nX-Request-ID: 0123456789abcdef\r\n"

func answering(n int) http.HandlerFunc {
	body := bytes.Repeat([]byte("x"), n)
	length := []string{strconv.Itoa(n)}
	kind := []string{"application/json"}
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Body != http.NoBody {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		h := w.Header()
		h["Content-Type"], h["Content-Length"] = kind, length
		_, _ = w.Write(body)
	}
}

func BenchmarkGet(b *testing.B) {
	benchmarkServer(b, "GET /api/items/1?a=b HTTP/1.1\r\n"+benchHeader+"\r\n", 1, 200, answering(200))
}

func BenchmarkGetPipelined(b *testing.B) {
	benchmarkServer(b, "GET /api/items/1?a=b HTTP/1.1\r\n"+benchHeader+"\r\n", 32, 200, answering(200))
}

func BenchmarkPost1KB(b *testing.B) {
	body := strings.Repeat("y", 1024)
	benchmarkServer(b, "POST /api/items HTTP/1.1\r\n"+benchHeader+"Content-Length: 1024\r\n\r\n"+body, 1, 200, answering(200))
}

func BenchmarkGet100KB(b *testing.B) {
	benchmarkServer(b, "GET /big HTTP/1.1\r\n"+benchHeader+"\r\n", 1, 100<<10, answering(100<<10))
}

// One look at each of 10,000 idle connections: what the sweeper does five times a second.
func BenchmarkSweep10k(b *testing.B) {
	s := &Server{Handler: http.NotFoundHandler()}
	s.init()
	s.registry.sweeper = true // it would find nothing at the other end
	for range 10_000 {
		c := newConn(s, &memConn{})
		c.enter(phaseIdle)
		s.registry.add(c)
	}
	for b.Loop() {
		for from, more := 0, true; more; from += batchConns {
			_, more = s.registry.due(nil, from, time.Second)
		}
	}
}

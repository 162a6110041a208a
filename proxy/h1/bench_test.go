package h1

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// benchHead is what a browser's API call looks like, with a bearer token of 600 bytes.
var benchHead = "GET /api/items/4711?page=2&size=50 HTTP/1.1\r\nHost: api.acme.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Chrome/140\r\n" +
	"Accept: application/json\r\nAccept-Encoding: gzip, br\r\nAccept-Language: en\r\nAuthorization: Bearer " + strings.Repeat("abcdefghij", 60) +
	"\r\nX-Tenant-Region: eu\r\nCookie: session=0123456789abcdef\r\nConnection: keep-alive\r\n\r\n"

// One string a head (invariant 3 makes it necessary, the doc promises no more).
func TestParsingAllocatesOneString(t *testing.T) {
	if raceEnabled {
		return
	}
	var m Request
	head := []byte(benchHead)
	if n := testing.AllocsPerRun(1000, func() {
		m.Reset()
		if err := ParseRequest(head, &m, Limits{}); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("ParseRequest allocates %v times, want 1", n)
	}
	var resp Response
	head = []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\nserver: x\r\nx-own: y\r\n\r\n")
	if n := testing.AllocsPerRun(1000, func() {
		resp.Reset()
		if err := ParseResponse(head, "GET", &resp, Limits{}); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("ParseResponse allocates %v times, want 1", n)
	}
}

func BenchmarkParseRequest(b *testing.B) {
	var m Request
	head := []byte(benchHead)
	b.ReportAllocs()
	b.SetBytes(int64(len(head)))
	for b.Loop() {
		m.Reset()
		if err := ParseRequest(head, &m, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadRequestHead(b *testing.B) {
	src := strings.NewReader(benchHead)
	r := newReader(src)
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(benchHead)
		if _, err := r.ReadRequestHead(Limits{}); err != nil {
			b.Fatal(err)
		}
		r.Release()
	}
}

func BenchmarkParseResponse(b *testing.B) {
	var m Response
	head := []byte("HTTP/1.1 200 OK\r\ndate: Mon, 02 Jan 2006 15:04:05 GMT\r\nserver: uvicorn\r\ncontent-length: 1024\r\ncontent-type: application/json\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		m.Reset()
		if err := ParseResponse(head, "GET", &m, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkChunkedBody(b *testing.B) {
	wire := AppendChunk(nil, bytes.Repeat([]byte("x"), 16<<10))
	wire = append(bytes.Repeat(wire, 6), LastChunk...)
	src := bytes.NewReader(wire)
	r := newReader(src)
	var body Body
	p := make([]byte, 32<<10)
	b.ReportAllocs()
	b.SetBytes(int64(len(wire)))
	for b.Loop() {
		src.Reset(wire)
		body.Reset(r, chunked, Limits{})
		for {
			if _, err := body.Read(p); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}

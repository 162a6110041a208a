package h1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// Invariant 2: what both accept, both understand alike, up to the first byte of the next message.
func FuzzRequestAgainstNetHTTP(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nnext",
		"GET /a%20b?x#y HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /a!(b)*'?? HTTP/1.1\r\nHost: a\r\nPragma: no-cache\r\n\r\n",
		"GET http://a/b?c HTTP/1.1\r\nHost: A\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nhost: a\r\naccept: b\r\nACCEPT: c\r\n\r\n",
		"POST / HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabcnext",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-A: b\r\n\r\nnext",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"\r\nGET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
		"GET / HTTP/1.1\nHost: a\n\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := newReader(bytes.NewReader(in))
		head, err := r.ReadRequestHead(Limits{})
		if err != nil {
			return
		}
		var m Request
		if err := ParseRequest(head, &m, Limits{}); err != nil {
			return
		}
		br := bufio.NewReader(bytes.NewReader(bytes.TrimPrefix(in, []byte(crlf))))
		std, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		likeNetHTTP(m.Header, m.Framing)
		delete(std.Header, "Host")
		if m.Method != std.Method || m.Target != std.RequestURI || m.Minor != std.ProtoMinor || m.Close != std.Close ||
			m.Framing.Length != std.ContentLength || (m.Framing.Kind == Chunked) != (len(std.TransferEncoding) > 0) {
			t.Errorf("%q\nours %+v\nnet/http %+v", in, m, std)
		}
		if m.Host != std.Host {
			t.Errorf("%q: Host %q, net/http %q", in, m.Host, std.Host)
		}
		if diff := cmp.Diff(*std.URL, m.URL); diff != "" {
			t.Errorf("%q: URL (-net/http +ours):\n%s", in, diff)
		}
		if diff := cmp.Diff(std.Header, m.Header); diff != "" {
			t.Errorf("%q: Header (-net/http +ours):\n%s", in, diff)
		}
		compareBodies(t, in, r, m.Framing, std.Body, br, func() http.Header { return std.Trailer })
	})
}

func FuzzResponseAgainstNetHTTP(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\n\r\nuntil the end",
		"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabcnext",
		"HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabcnext",
		"HTTP/1.1 204 No Content\r\nset-cookie: a\r\nSet-Cookie: b\r\n\r\nnext",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nnext",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n3\r\nabc\r\n0\r\nX-A: b\r\n\r\nnext",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, get bool) {
		method := http.MethodHead
		if get {
			method = http.MethodGet
		}
		r := newReader(bytes.NewReader(in))
		head, err := r.ReadResponseHead(Limits{})
		if err != nil {
			return
		}
		var m Response
		if err := ParseResponse(head, method, &m, Limits{}); err != nil {
			return
		}
		br := bufio.NewReader(bytes.NewReader(in))
		std, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			return
		}
		bodyless := m.Framing.Kind == NoBody // net/http reports the declared length of a body that does not come
		if m.Status != std.StatusCode || m.Minor != std.ProtoMinor ||
			!bodyless && (m.Close != std.Close || m.Framing.Length != std.ContentLength) {
			t.Errorf("%q\nours %+v\nnet/http %+v", in, m, std)
		}
		likeNetHTTP(m.Header, m.Framing)
		if m.Connection&ConnClose != 0 && m.Minor == 1 {
			delete(m.Header, "Connection") // net/http: only when it says close
		}
		if bodyless {
			for _, h := range []http.Header{m.Header, std.Header} {
				delete(h, "Content-Length") // kept or not, by status, in net/http
				delete(h, "Trailer")
			}
		}
		if diff := cmp.Diff(std.Header, m.Header); diff != "" {
			t.Errorf("%q: Header (-net/http +ours):\n%s", in, diff)
		}
		compareBodies(t, in, r, m.Framing, std.Body, br, func() http.Header { return std.Trailer })
	})
}

// likeNetHTTP applies to h what net/http does to a header of its own accord.
func likeNetHTTP(h http.Header, f Framing) {
	if pragma := h["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" && h["Cache-Control"] == nil {
		h["Cache-Control"] = []string{"no-cache"}
	}
	if f.Kind == Chunked {
		delete(h, "Trailer")
	}
}

// compareBodies reads both bodies and, when both are well formed, compares them
// and what stands behind them.
func compareBodies(t *testing.T, in []byte, r *Reader, f Framing, std io.Reader, stdRest io.Reader, stdTrailer func() http.Header) {
	t.Helper()
	var b Body
	b.Reset(r, f, Limits{})
	ours, err := io.ReadAll(&b)
	theirs, stdErr := io.ReadAll(std)
	if err != nil || stdErr != nil {
		return
	}
	if !bytes.Equal(ours, theirs) {
		t.Errorf("%q: body %q, net/http %q", in, ours, theirs)
	}
	for name, values := range b.Trailer() {
		if diff := cmp.Diff(stdTrailer()[name], values); diff != "" {
			t.Errorf("%q: trailer %s (-net/http +ours):\n%s", in, name, diff)
		}
	}
	rest, _ := io.ReadAll(r)
	theirRest, _ := io.ReadAll(stdRest)
	if !bytes.Equal(rest, theirRest) {
		t.Errorf("%q: next message begins at %q, net/http %q", in, rest, theirRest)
	}
}

// A stream means the same however it is cut, and what both readers accept has the same content.
func FuzzChunked(f *testing.F) {
	for _, seed := range []string{
		"5\r\nhello\r\n0\r\n\r\n", "5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n", "5 ;a\r\nhello\r\n00\r\n\r\nx", "1\r\na\r\n1\r\nb\r\n0\r\n\r\n",
		"5\nhello\n0\n\n", "fffffffffffffff\r\n", "5\r\nhello0\r\n\r\n", "0\r\nA\r\n\r\n", "0\r\n A: b\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, _ := newBody(bytes.NewReader(in), chunked)
		a, errA := io.ReadAll(whole)
		bytewise, _ := newBody(iotest.OneByteReader(bytes.NewReader(in)), chunked)
		b, errB := io.ReadAll(bytewise)
		if errA != errB || !bytes.Equal(a, b) {
			t.Errorf("%q: at once %q, %v; byte by byte %q, %v", in, a, errA, b, errB)
		}
		if errA != nil {
			return
		}
		std, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(in)))
		if err == nil && !bytes.Equal(a, std) {
			t.Errorf("%q: %q, net/http %q", in, a, std)
		}
	})
}

// Invariant 6: whatever is written as a field comes back as exactly that field.
func FuzzAppendField(f *testing.F) {
	f.Add("A", "b")
	f.Add("X-Own", "b\r\nC: d\r\n\r\n")
	f.Add("Host", "\x00\t ")
	f.Fuzz(func(t *testing.T, name, value string) {
		if !ValidName(name) {
			return
		}
		wire := AppendField([]byte("HTTP/1.1 204 No Content\r\n"), name, value)
		wire = append(wire, crlf...)
		var fields Fields
		fields.Reset()
		at := bytes.IndexByte(wire, '\n') + 1
		if err := fields.scan(wire, at, 1); err != nil {
			t.Fatalf("%q does not parse: %v", wire, err)
		}
		if len(fields.spans) != 1 {
			t.Fatalf("%q has %d fields", wire, len(fields.spans))
		}
		s := fields.spans[0]
		got := string(wire[s.value:s.valueEnd])
		if ValidValue(value) && got != value || ValidValue(value) != (got == value) && strings.TrimSpace(value) == value && !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("wrote %q, read %q", value, got)
		}
	})
}

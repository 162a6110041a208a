package h1

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

func newReader(src io.Reader) *Reader {
	r := new(Reader)
	r.Reset(src)
	return r
}

func TestReadHeadTakesOneHeadAtATime(t *testing.T) {
	const a, b = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "GET /b HTTP/1.1\r\n\r\n"
	sources := map[string]io.Reader{
		"at once":         strings.NewReader(a + "\r\n" + b),
		"one byte a time": iotest.OneByteReader(strings.NewReader(a + "\r\n" + b)),
		"end with data":   iotest.DataErrReader(strings.NewReader(a + "\r\n" + b)),
	}
	for name, src := range sources {
		t.Run(name, func(t *testing.T) {
			r := newReader(src)
			for _, want := range []string{a, b} {
				head, err := r.ReadRequestHead(Limits{})
				if err != nil || string(head) != want {
					t.Fatalf("got %q, %v, want %q", head, err, want)
				}
			}
			if _, err := r.ReadRequestHead(Limits{}); err != io.EOF {
				t.Errorf("at the end: %v, want io.EOF", err)
			}
			if !r.Release() {
				t.Error("an empty reader keeps its buffer")
			}
		})
	}
}

func TestReadHeadSaysHowItFailed(t *testing.T) {
	limits := Limits{HeadBytes: 100}
	long := strings.Repeat("a", 200)
	tests := []struct {
		name, in string
		want     error
	}{
		{"nothing", "", io.EOF},
		{"half a line", "GET / HT", io.ErrUnexpectedEOF},
		{"half a head", "GET / HTTP/1.1\r\nHost: a\r\n", io.ErrUnexpectedEOF},
		{"an empty line alone", "\r\n", io.EOF},
		{"two empty lines", "\r\n\r\nGET / HTTP/1.1\r\n\r\n", errManyEmpty},
		{"bare LF", "GET / HTTP/1.1\nHost: a\n\n", errBareLF},
		{"only LF", "\n", errBareLF},
		{"target without end", "GET /" + long, errTargetTooLong},
		{"fields without end", "GET / HTTP/1.1\r\nA: " + long, errHeadTooLarge},
		{"head over the limit", "GET / HTTP/1.1\r\nA: " + long + "\r\n\r\n", errHeadTooLarge},
	}
	for _, tt := range tests {
		for _, src := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
			if head, err := newReader(src).ReadRequestHead(limits); err != tt.want {
				t.Errorf("%s: got %q, %v, want %v", tt.name, head, err, tt.want)
			}
		}
	}
	if _, err := newReader(strings.NewReader("\r\nHTTP/1.1 200 OK\r\n\r\n")).ReadResponseHead(limits); err != errManyEmpty {
		t.Errorf("empty line before a response: %v", err)
	}
}

func TestReadHeadGoesOnAfterATimeout(t *testing.T) {
	r := newReader(io.MultiReader(strings.NewReader("GET / HT"), timeoutOnce(), strings.NewReader("TP/1.1\r\n\r\n")))
	if _, err := r.ReadRequestHead(Limits{}); !errors.Is(err, os.ErrDeadlineExceeded) || !r.Midway() {
		t.Fatalf("got %v, midway %v", err, r.Midway())
	}
	if head, err := r.ReadRequestHead(Limits{}); string(head) != "GET / HTTP/1.1\r\n\r\n" {
		t.Errorf("got %q, %v", head, err)
	}
}

// timeoutOnce is a source that times out once and then ends.
func timeoutOnce() io.Reader { return &timeoutReader{} }

type timeoutReader struct{ done bool }

func (r *timeoutReader) Read([]byte) (int, error) {
	if r.done {
		return 0, io.EOF
	}
	r.done = true
	return 0, os.ErrDeadlineExceeded
}

// Invariant 5.
func TestScanLooksAtNoByteTwice(t *testing.T) {
	var s headScan
	head := []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	for n := range len(head) {
		end, err := s.scan(head[:n], 100, true)
		if end != 0 || err != nil || s.at != n {
			t.Fatalf("after %d bytes: end %d, %v, looked at %d", n, end, err, s.at)
		}
		clear(head[:max(0, n-1)]) // whoever looks again finds something else; only the byte before a LF matters
		for i := range max(0, n-1) {
			head[i] = 'x'
		}
	}
	if end, err := s.scan(head, 100, true); end != len(head) || err != nil {
		t.Errorf("complete head: %d, %v, want %d", end, err, len(head))
	}
}

func TestReaderHoldsNoBufferWhenReleased(t *testing.T) {
	r := newReader(strings.NewReader("abc"))
	if err := r.Fill(); err != nil {
		t.Fatal(err)
	}
	if r.Release() {
		t.Error("a buffer with three bytes in it is released")
	}
	r.Discard(3)
	if !r.Release() || r.buf != nil {
		t.Error("an empty buffer is kept")
	}
}

func TestLargeHeadIsReadAndItsBufferNotKept(t *testing.T) {
	head := "GET / HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("b", 60_000) + "\r\n\r\n"
	r := newReader(strings.NewReader(head + "rest"))
	got, err := r.ReadRequestHead(Limits{})
	if err != nil || string(got) != head {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	if string(r.Buffered()) != "rest" {
		t.Errorf("buffered %q", r.Buffered())
	}
	r.Discard(4)
	r.Release()
	if r.buf != nil {
		t.Errorf("%d bytes are kept", len(r.buf))
	}
}

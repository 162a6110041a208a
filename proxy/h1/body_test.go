package h1

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func newBody(src io.Reader, f Framing) (*Body, *Reader) {
	r := newReader(src)
	b := new(Body)
	b.Reset(r, f, Limits{})
	return b, r
}

func TestBodyReadsItsOwnBytesOnly(t *testing.T) {
	tests := []struct {
		name    string
		framing Framing
		in      string
		want    string
		rest    string
		trailer http.Header
	}{
		{"none", noBody, "next", "", "next", nil},
		{"sized", Framing{Sized, 5}, "hellonext", "hello", "next", nil},
		{"until close", untilClose, "hello", "hello", "", nil},
		{"chunked", chunked, "5\r\nhello\r\n0\r\n\r\nnext", "hello", "next", nil},
		{"chunks", chunked, "1\r\nh\r\n004\r\nello\r\n0\r\n\r\nnext", "hello", "next", nil},
		{"no chunk but the last", chunked, "0\r\n\r\nnext", "", "next", nil},
		{"capital digits", chunked, "A\r\n0123456789\r\n0\r\n\r\nnext", "0123456789", "next", nil},
		{"extensions", chunked, "5;a=b;c=\"d e\"\r\nhello\r\n0;x\r\n\r\nnext", "hello", "next", nil},
		{"space before an extension", chunked, "5 \t;a\r\nhello\r\n0\r\n\r\nnext", "hello", "next", nil},
		{"trailer", chunked, "5\r\nhello\r\n0\r\nx-sum: 1\r\nX-Sum: 2\r\n\r\nnext", "hello", "next", http.Header{"X-Sum": {"1", "2"}}},
		{"forbidden trailer fields", chunked, "0\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nAuthorization: x\r\nX-Forwarded-For: x\r\nIf-Match: x\r\nX-Sum: 1\r\n\r\nnext", "", "next", http.Header{"X-Sum": {"1"}}},
	}
	for _, tt := range tests {
		for how, wrap := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "one byte a time": iotest.OneByteReader, "data with error": iotest.DataErrReader,
		} {
			t.Run(tt.name+" "+how, func(t *testing.T) {
				b, r := newBody(wrap(strings.NewReader(tt.in)), tt.framing)
				got, err := io.ReadAll(b)
				if err != nil || string(got) != tt.want {
					t.Fatalf("got %q, %v, want %q", got, err, tt.want)
				}
				if !b.Done() || b.BytesRead() != int64(len(tt.want)) || b.Remaining() != 0 {
					t.Errorf("done %v, read %d, remaining %d", b.Done(), b.BytesRead(), b.Remaining())
				}
				if diff := cmp.Diff(tt.trailer, b.Trailer()); diff != "" {
					t.Errorf("Trailer (-want +got):\n%s", diff)
				}
				if rest, _ := io.ReadAll(r); string(rest) != tt.rest {
					t.Errorf("rest %q, want %q", rest, tt.rest)
				}
			})
		}
	}
}

// Invariants 1 and 4.
func TestBodyRefuses(t *testing.T) {
	tests := []struct {
		name, in string
		want     error
	}{
		{"no size", "\r\nhello\r\n0\r\n\r\n", errChunkSize},
		{"no hexadecimal", "g\r\n", errChunkSize},
		{"sign", "+5\r\nhello\r\n", errChunkSize},
		{"0x", "0x5\r\nhello\r\n", errChunkSize},
		{"space before", " 5\r\nhello\r\n", errChunkSize},
		{"space after", "5 \r\nhello\r\n", errChunkSize},
		{"underscore", "1_0\r\nhello\r\n", errChunkSize},
		{"too many digits", "0000000000000005\r\nhello\r\n", errChunkSizeLarge},
		{"overflow", "fffffffffffffffff\r\n", errChunkSizeLarge},
		{"bare LF after the size", "5\nhello\r\n0\r\n\r\n", errBareLF},
		{"bare CR in an extension", "5;a\rb\r\nhello\r\n", errChunkExtension},
		{"NUL in an extension", "5;a\x00\r\nhello\r\n", errChunkExtension},
		{"long extension", "5;" + strings.Repeat("a", chunkLineBytes) + "\r\nhello\r\n", errChunkLineLong},
		{"line without end", strings.Repeat("0", 2*chunkLineBytes), errChunkLineLong},
		{"data longer than the size", "5\r\nhello!\r\n0\r\n\r\n", errChunkEnd},
		{"bare LF after the data", "5\r\nhello\n0\r\n\r\n", errChunkEnd},
		{"CR and no LF after the data", "5\r\nhello\rx", errChunkEnd},
		{"bare LF for the end", "0\r\n\n", errBareLF},
		{"bare LF in the trailer", "0\r\nA: b\n\r\n", errBareLF},
		{"folded trailer", "0\r\nA: b\r\n c\r\n\r\n", errFold},
		{"trailer without a colon", "0\r\nA\r\n\r\n", errNoColon},
		{"NUL in the trailer", "0\r\nA: \x00\r\n\r\n", errFieldValue},
		{"large trailer", "0\r\nA: " + strings.Repeat("b", DefaultTrailerBytes) + "\r\n\r\n", errTrailerTooLarge},
		{"many trailers", "0\r\n" + strings.Repeat("A: b\r\n", DefaultFields+1) + "\r\n", errManyFields},
		{"extensions for nothing", strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\nx\r\n", 100), errChunkOverhead},
		{"end within the size", "5", io.ErrUnexpectedEOF},
		{"end within the data", "5\r\nhel", io.ErrUnexpectedEOF},
		{"end behind the data", "5\r\nhello", io.ErrUnexpectedEOF},
		{"end before the last chunk", "5\r\nhello\r\n", io.ErrUnexpectedEOF},
		{"end before the empty line", "0\r\n", io.ErrUnexpectedEOF},
		{"end within the trailer", "0\r\nA: b\r\n", io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		for how, wrap := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "one byte a time": iotest.OneByteReader,
		} {
			t.Run(tt.name+" "+how, func(t *testing.T) {
				b, _ := newBody(wrap(strings.NewReader(tt.in)), chunked)
				got, err := io.ReadAll(b)
				if err != tt.want {
					t.Errorf("got %q, %v, want %v", got, err, tt.want)
				}
				if b.Done() || b.Trailer() != nil {
					t.Errorf("done %v, trailer %v", b.Done(), b.Trailer())
				}
				if _, again := b.Read(make([]byte, 1)); again != err {
					t.Errorf("the next Read: %v, want %v again", again, err)
				}
			})
		}
	}
	b, _ := newBody(strings.NewReader("hel"), Framing{Sized, 5})
	if got, err := io.ReadAll(b); err != io.ErrUnexpectedEOF || string(got) != "hel" {
		t.Errorf("short sized body: %q, %v", got, err)
	}
}

func TestOneByteChunksAreAnHonestStream(t *testing.T) {
	b, _ := newBody(strings.NewReader(strings.Repeat("1\r\nx\r\n", 20_000)+LastChunk), chunked)
	if got, err := io.ReadAll(b); err != nil || len(got) != 20_000 {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestEndOfBodyComesWithItsLastBytes(t *testing.T) {
	for in, f := range map[string]Framing{"hello": {Sized, 5}, "5\r\nhello\r\n0\r\n\r\n": chunked} {
		b, r := newBody(strings.NewReader(in), f)
		if err := r.Fill(); err != nil {
			t.Fatal(err)
		}
		if n, err := b.Read(make([]byte, 100)); n != 5 || err != io.EOF {
			t.Errorf("%q: got %d, %v, want 5 and io.EOF", in, n, err)
		}
	}
}

func TestBodyGoesOnAfterATimeout(t *testing.T) {
	b, _ := newBody(io.MultiReader(strings.NewReader("5\r\nhe"), timeoutOnce(), strings.NewReader("llo\r"), timeoutOnce(), strings.NewReader("\n0\r\n\r\n")), chunked)
	var got []byte
	timeouts := 0
	for !b.Done() {
		p := make([]byte, 10)
		n, err := b.Read(p)
		got = append(got, p[:n]...)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			timeouts++
		} else if err != nil && err != io.EOF {
			t.Fatal(err)
		}
	}
	if string(got) != "hello" || timeouts != 2 {
		t.Errorf("got %q after %d time-outs", got, timeouts)
	}
}

func TestDirectHandsOutTheRest(t *testing.T) {
	b, r := newBody(strings.NewReader("hello worldnext"), Framing{Sized, 11})
	r.buf = make([]byte, 8)
	if err := r.Fill(); err != nil {
		t.Fatal(err)
	}
	buffered, src, n, ok := b.Direct()
	if string(buffered) != "hello wo" || n != 3 || !ok {
		t.Fatalf("got %q and %d more, %v", buffered, n, ok)
	}
	b.Took(int64(len(buffered)))
	rest, err := io.ReadAll(io.LimitReader(src, n))
	if err != nil || string(rest) != "rld" {
		t.Fatalf("got %q, %v", rest, err)
	}
	b.Took(n)
	if !b.Done() || b.BytesRead() != 11 {
		t.Errorf("done %v, read %d", b.Done(), b.BytesRead())
	}
}

func TestBodyCanBeUsedAgain(t *testing.T) {
	b, r := newBody(strings.NewReader("0\r\nA: b\r\n\r\n"+"1\r\nx\r\n0\r\nC: d\r\n\r\n"), chunked)
	if _, err := io.ReadAll(b); err != nil {
		t.Fatal(err)
	}
	b.Reset(r, chunked, Limits{})
	if b.Trailer() != nil || b.Done() || b.BytesRead() != 0 {
		t.Error("Reset leaves something behind")
	}
	got, err := io.ReadAll(b)
	if diff := cmp.Diff(http.Header{"C": {"d"}}, b.Trailer()); err != nil || string(got) != "x" || diff != "" {
		t.Errorf("got %q, %v, trailer %v", got, err, b.Trailer())
	}
}

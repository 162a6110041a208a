package h1

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAppend(t *testing.T) {
	tests := []struct{ got, want string }{
		{string(AppendRequestLine(nil, "GET", "/a?b")), "GET /a?b HTTP/1.1\r\n"},
		{string(AppendStatusLine(nil, 1, 200)), "HTTP/1.1 200 OK\r\n"},
		{string(AppendStatusLine(nil, 0, 200)), "HTTP/1.0 200 OK\r\n"},
		{string(AppendStatusLine(nil, 1, 404)), "HTTP/1.1 404 Not Found\r\n"},
		{string(AppendStatusLine(nil, 1, 777)), "HTTP/1.1 777 status code 777\r\n"},
		{string(AppendField(nil, "A", "b")), "A: b\r\n"},
		{string(AppendField(nil, "A", " b\t")), "A: b\r\n"},
		{string(AppendField(nil, "A", "b\r\nC: d\x00\x7f\te")), "A: b  C: d  \te\r\n"},
		{string(AppendFields(nil, http.Header{"A": {"b", "c"}, "D e": {"f"}, "": {"g"}, "H\r\nI": {"j"}})), "A: b\r\nA: c\r\n"},
		{string(AppendLength(nil, 0)), "Content-Length: 0\r\n"},
		{string(AppendChunk(nil, []byte("0123456789"))), "a\r\n0123456789\r\n"},
		{string(AppendChunk(nil, nil)), ""},
		{string(AppendTrailer(nil, nil)), LastChunk},
		{string(AppendTrailer(nil, http.Header{"A": {"b"}, "Content-Length": {"5"}})), "0\r\nA: b\r\n\r\n"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestValid(t *testing.T) {
	for s, want := range map[string]bool{"": true, "a b": true, "a\tb": true, " a": false, "a ": false, "a\n": false, "\x7f": false, "\xff": true} {
		if got := ValidValue(s); got != want {
			t.Errorf("ValidValue(%q) = %v, want %v", s, got, want)
		}
	}
	for s, want := range map[string]bool{"": false, "/": true, "/a b": false, "/#": false, "/\xff": false, "/|": true} {
		if got := ValidTarget(s); got != want {
			t.Errorf("ValidTarget(%q) = %v, want %v", s, got, want)
		}
	}
	if ValidName("") || ValidName("a:") || !ValidName("X-a") || ValidMethod("G T") || !ValidMethod("GET") {
		t.Error("ValidName or ValidMethod")
	}
}

// Every byte at every place of the eight that are looked at together.
func TestValidValueAgreesByteByByte(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			b := []byte("abcdefgh ~\tmnopqrst!")
			b[at] = byte(c)
			if got, want := validValue(b), validBytes(b); got != want {
				t.Fatalf("byte %#x at %d: %v, want %v", c, at, got, want)
			}
		}
	}
}

func TestChunksComeBack(t *testing.T) {
	var wire []byte
	for _, s := range []string{"hello", "", " ", strings.Repeat("x", 5000)} {
		wire = AppendChunk(wire, []byte(s))
	}
	wire = AppendTrailer(wire, http.Header{"X-Sum": {"1"}})
	b, _ := newBody(strings.NewReader(string(wire)), chunked)
	got, err := io.ReadAll(b)
	if want := "hello " + strings.Repeat("x", 5000); err != nil || string(got) != want {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if diff := cmp.Diff(http.Header{"X-Sum": {"1"}}, b.Trailer()); diff != "" {
		t.Error(diff)
	}
}

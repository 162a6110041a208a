package h1

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseResponseReadsWhatIsThere(t *testing.T) {
	var m Response
	err := ParseResponse([]byte("HTTP/1.1 404 Not here\r\nserver: x\r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\nTransfer-Encoding: chunked\r\n\r\n"), "GET", &m, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Status != 404 || m.Reason != "Not here" || m.Minor != 1 || m.Framing != chunked || m.Close {
		t.Errorf("got %+v", m)
	}
	want := http.Header{"Server": {"x"}, "Set-Cookie": {"a=b", "c=d"}}
	if diff := cmp.Diff(want, m.Header); diff != "" {
		t.Errorf("Header (-want +got):\n%s", diff)
	}
}

func TestParseResponseStatusLine(t *testing.T) {
	good := map[string]struct {
		status int
		reason string
		close  bool
	}{
		"HTTP/1.1 200 OK":   {200, "OK", true}, // no framing: until the end of the connection
		"HTTP/1.1 200 ":     {200, "", true},
		"HTTP/1.1 200":      {200, "", true},
		"HTTP/1.0 204 OK":   {204, "OK", true},
		"HTTP/1.1 204 a\tb": {204, "a\tb", false},
		"HTTP/1.1 599 \xff": {599, "\xff", true},
	}
	for line, want := range good {
		var m Response
		err := ParseResponse([]byte(line+"\r\n\r\n"), "GET", &m, Limits{})
		if err != nil || m.Status != want.status || m.Reason != want.reason || m.Close != want.close {
			t.Errorf("%q: %d %q close %v, %v, want %+v", line, m.Status, m.Reason, m.Close, err, want)
		}
	}
	for _, line := range []string{
		"", "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 20", "HTTP/1.1 2000", "HTTP/1.1  200", "HTTP/1.1 +20 OK", "HTTP/1.1 099 A",
		"HTTP/1.1 600 A", "HTTP/1.1 999 A", "HTTP/1.1\t200 OK", "HTTP/1.1 200\tOK", "HTTP/1.1 200 O\x00K", "HTTP/1.1 200 O\rK",
		"http/1.1 200 OK", "HTTP/2.0 200 OK", "HTTP/1.2 200 OK", "ICY 200 OK", "HTTP/11 200 OK", " HTTP/1.1 200 OK",
	} {
		var m Response
		if err := ParseResponse([]byte(line+"\r\n\r\n"), "GET", &m, Limits{}); err == nil {
			t.Errorf("%q is accepted as %d %q", line, m.Status, m.Reason)
		}
	}
}

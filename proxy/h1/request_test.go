package h1

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parseRequest(t *testing.T, head string) *Request {
	t.Helper()
	var m Request
	if err := ParseRequest([]byte(head), &m, Limits{}); err != nil {
		t.Fatalf("ParseRequest(%q): %v", head, err)
	}
	return &m
}

func TestParseRequestReadsWhatIsThere(t *testing.T) {
	m := parseRequest(t, "POST /a%20b/c?x=1&y HTTP/1.1\r\nhOsT: api.example:8080\r\nx-tenant-ID: acme\r\n"+
		"content-length: 12\r\nAccept: a\r\naccept:\t b \t\r\nX-Empty:\r\nX-Own-name: \xc3\xa9\r\nconnection: Close, x-tenant-id\r\n\r\n")
	if m.Method != "POST" || m.Target != "/a%20b/c?x=1&y" || m.Host != "api.example:8080" || m.Minor != 1 || !m.Close {
		t.Errorf("got %q %q host %q minor %d close %v", m.Method, m.Target, m.Host, m.Minor, m.Close)
	}
	if m.URL.Path != "/a b/c" || m.URL.RawQuery != "x=1&y" {
		t.Errorf("URL = %+v", m.URL)
	}
	if want := (Framing{Sized, 12}); m.Framing != want {
		t.Errorf("Framing = %v, want %v", m.Framing, want)
	}
	want := http.Header{
		"X-Tenant-Id": {"acme"}, "Content-Length": {"12"}, "Accept": {"a", "b"}, "X-Empty": {""},
		"X-Own-Name": {"\xc3\xa9"}, "Connection": {"Close, x-tenant-id"},
	}
	if diff := cmp.Diff(want, m.Header); diff != "" {
		t.Errorf("Header (-want +got):\n%s", diff)
	}
	if want := KnownHost | KnownContentLength | KnownConnection; m.Known&(KnownDate<<1-1) != want {
		t.Errorf("Known = %b, want %b", m.Known, want)
	}
	if want := ConnClose | ConnOther; m.Connection != want {
		t.Errorf("Connection = %b, want %b", m.Connection, want)
	}
}

// Invariant 1.
func TestParseRequestRefuses(t *testing.T) {
	const host = "Host: a\r\n"
	tests := []struct {
		name, head string
		status     int
	}{
		{"no line end", "GET / HTTP/1.1", 400},
		{"bare LF after the request line", "GET / HTTP/1.1\n" + host + "\r\n", 400},
		{"bare LF after a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
		{"bare LF at the end", "GET / HTTP/1.1\r\n" + host + "\n", 400},
		{"bare CR in a value", "GET / HTTP/1.1\r\n" + host + "A: b\rc\r\n\r\n", 400},
		{"CR CR LF", "GET / HTTP/1.1\r\n" + host + "A: b\r\r\n\r\n", 400},
		{"NUL in a value", "GET / HTTP/1.1\r\n" + host + "A: b\x00c\r\n\r\n", 400},
		{"control character in a long value", "GET / HTTP/1.1\r\n" + host + "A: 0123456789\x1f0123456789\r\n\r\n", 400},
		{"DEL in a value", "GET / HTTP/1.1\r\n" + host + "A: 0123456789\x7f\r\n\r\n", 400},
		{"folded field", "GET / HTTP/1.1\r\n" + host + "A: b\r\n c\r\n\r\n", 400},
		{"folded with a tab", "GET / HTTP/1.1\r\n" + host + "A: b\r\n\tc\r\n\r\n", 400},
		{"first field folded", "GET / HTTP/1.1\r\n " + host + "\r\n", 400},
		{"space before the colon", "GET / HTTP/1.1\r\n" + host + "Transfer-Encoding : chunked\r\n\r\n", 400},
		{"tab before the colon", "GET / HTTP/1.1\r\n" + host + "A\t: b\r\n\r\n", 400},
		{"empty name", "GET / HTTP/1.1\r\n" + host + ": b\r\n\r\n", 400},
		{"no colon", "GET / HTTP/1.1\r\n" + host + "A\r\n\r\n", 400},
		{"NUL in a name", "GET / HTTP/1.1\r\n" + host + "A\x00: b\r\n\r\n", 400},
		{"non-ASCII in a name", "GET / HTTP/1.1\r\n" + host + "\xc3\xa9: b\r\n\r\n", 400},
		{"separator in a name", "GET / HTTP/1.1\r\n" + host + "A(: b\r\n\r\n", 400},
		{"bytes after the empty line", "GET / HTTP/1.1\r\n" + host + "\r\nx", 400},

		{"empty method", " / HTTP/1.1\r\n" + host + "\r\n", 400},
		{"method with a separator", "GE(T / HTTP/1.1\r\n" + host + "\r\n", 400},
		{"two spaces", "GET  / HTTP/1.1\r\n" + host + "\r\n", 400},
		{"space at the end", "GET / HTTP/1.1 \r\n" + host + "\r\n", 400},
		{"tab as a separator", "GET\t/ HTTP/1.1\r\n" + host + "\r\n", 400},
		{"no target", "GET HTTP/1.1\r\n" + host + "\r\n", 400},
		{"space in the target", "GET /a b HTTP/1.1\r\n" + host + "\r\n", 400},
		{"fragment", "GET /a#b HTTP/1.1\r\n" + host + "\r\n", 400},
		{"non-ASCII target", "GET /\xc3\xa9 HTTP/1.1\r\n" + host + "\r\n", 400},
		{"control character in the target", "GET /\x01 HTTP/1.1\r\n" + host + "\r\n", 400},
		{"bad percent-encoding", "GET /%zz HTTP/1.1\r\n" + host + "\r\n", 400},
		{"relative target", "GET a HTTP/1.1\r\n" + host + "\r\n", 400},
		{"no version", "GET /\r\n" + host + "\r\n", 400},
		{"version in lower case", "GET / http/1.1\r\n" + host + "\r\n", 400},
		{"version with two digits", "GET / HTTP/1.10\r\n" + host + "\r\n", 400},
		{"version without a dot", "GET / HTTP/1,1\r\n" + host + "\r\n", 400},
		{"HTTP/1.2", "GET / HTTP/1.2\r\n" + host + "\r\n", 505},
		{"HTTP/2.0", "GET / HTTP/2.0\r\n" + host + "\r\n", 505},

		{"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
		{"two Hosts", "GET / HTTP/1.1\r\n" + host + host + "\r\n", 400},
		{"two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\n" + host + host + "\r\n", 400},
		{"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
		{"Host with user information", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400},
		{"Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
		{"Host list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
		{"absolute-form of another host", "GET http://b/ HTTP/1.1\r\n" + host + "\r\n", 400},
		{"absolute-form without a host", "GET http:///x HTTP/1.1\r\n" + host + "\r\n", 400},
		{"absolute-form with user information", "GET http://u@a/ HTTP/1.1\r\n" + host + "\r\n", 400},
		{"absolute-form of another scheme", "GET ftp://a/ HTTP/1.1\r\n" + host + "\r\n", 400},
		{"absolute-form without Host", "GET http://a/ HTTP/1.1\r\n\r\n", 400},
		{"GET *", "GET * HTTP/1.1\r\n" + host + "\r\n", 400},
		{"authority-form", "GET a:80 HTTP/1.1\r\n" + host + "\r\n", 400},
		{"CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501},

		{"HTTP/1.0 with Transfer-Encoding", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"too many fields", "GET / HTTP/1.1\r\n" + host + strings.Repeat("A: b\r\n", DefaultFields) + "\r\n", 431},
		{"too large", "GET / HTTP/1.1\r\n" + host + "A: " + strings.Repeat("b", DefaultHeadBytes) + "\r\n\r\n", 431},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m Request
			err := ParseRequest([]byte(tt.head), &m, Limits{})
			e, ok := err.(*Error)
			if !ok || e.Status != tt.status {
				t.Errorf("ParseRequest = %v, want an error of status %d", err, tt.status)
			}
		})
	}
}

func TestParseRequestAccepts(t *testing.T) {
	tests := []struct {
		name, head, host, path string
		form                   TargetForm
		close                  bool
	}{
		{"HTTP/1.0 without Host", "GET /a HTTP/1.0\r\n\r\n", "", "/a", OriginForm, true},
		{"HTTP/1.0 kept alive", "GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "", "/a", OriginForm, false},
		{"absolute-form", "GET http://A.example:80/x?y HTTP/1.1\r\nHost: a.example:80\r\n\r\n", "A.example:80", "/x", AbsoluteForm, false},
		{"absolute-form without a path", "GET http://a?y HTTP/1.1\r\nHost: a\r\n\r\n", "a", "", AbsoluteForm, false},
		{"asterisk-form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "a", "*", AsteriskForm, false},
		{"IPv6", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "[::1]:80", "/", OriginForm, false},
		{"two slashes", "GET //a/b HTTP/1.1\r\nHost: a\r\n\r\n", "a", "//a/b", OriginForm, false},
		{"method of its own", "PURGE / HTTP/1.1\r\nHost: a\r\n\r\n", "a", "/", OriginForm, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := parseRequest(t, tt.head)
			if m.Host != tt.host || m.URL.Path != tt.path || m.Form != tt.form || m.Close != tt.close {
				t.Errorf("host %q path %q form %d close %v, want %q %q %d %v",
					m.Host, m.URL.Path, m.Form, m.Close, tt.host, tt.path, tt.form, tt.close)
			}
		})
	}
}

func TestResetForgetsEverything(t *testing.T) {
	m := parseRequest(t, "POST http://a/?b HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, x\r\nContent-Length: 5\r\nExpect: x\r\n\r\n")
	kept := m.Header["Expect"]
	m.Reset()
	if kept[0] != "" {
		t.Errorf("a value slice still holds %q after Reset", kept[0])
	}
	var fresh Request
	fresh.Reset()
	if len(m.Header) != 0 || len(m.values) != 0 || len(m.spans) != 0 {
		t.Errorf("after Reset: header %v, %d values, %d spans", m.Header, len(m.values), len(m.spans))
	}
	m.Fields, fresh.Fields = Fields{Known: m.Known, Connection: m.Connection, hosts: m.hosts, host: m.host,
		lengths: m.lengths, length: m.length, codings: m.codings, coding: m.coding}, Fields{}
	if diff := cmp.Diff(fresh, *m, cmp.AllowUnexported(Request{}, Fields{})); diff != "" {
		t.Errorf("a reset request differs from a new one (-new +reset):\n%s", diff)
	}
}

func TestResetDropsGrownStorage(t *testing.T) {
	var m Request
	var head strings.Builder
	head.WriteString("GET / HTTP/1.1\r\nHost: a\r\n")
	for i := range 100 {
		head.WriteString("X-" + strings.Repeat("a", i+1) + ": b\r\n")
	}
	head.WriteString("\r\n")
	if err := ParseRequest([]byte(head.String()), &m, Limits{}); err != nil {
		t.Fatal(err)
	}
	m.Reset()
	if cap(m.values) > keepValues || cap(m.spans) > keepFields {
		t.Errorf("Reset keeps %d values and %d spans", cap(m.values), cap(m.spans))
	}
}

func TestAppendingToAValueLeavesTheNextAlone(t *testing.T) {
	m := parseRequest(t, "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-B: 2\r\n\r\n")
	m.Header.Add("X-A", "3")
	if got := m.Header.Get("X-B"); got != "2" {
		t.Errorf("X-B = %q, want 2", got)
	}
}

func TestErrorsQuoteNothing(t *testing.T) {
	var m Request
	err := ParseRequest([]byte("GET /secret\x01 HTTP/1.1\r\n\r\n"), &m, Limits{})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}

func TestValidHost(t *testing.T) {
	for _, s := range []string{"a", "a.b:80", "A_b-c.d~", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[2001:db8::1]:443", "[::ffff:1.2.3.4]", "a."} {
		if !ValidHost(s) {
			t.Errorf("ValidHost(%q) = false", s)
		}
	}
	for _, s := range []string{"", ":80", "a:", "a:b", "a:65536", "a:000080", "a:80:80", "a b", "a@b", "a/b", "a?b", "a#b", "a\\b",
		"a%20", "a,b", "[::1", "::1", "[::1]x", "[::1]:", "[]", "[a]", "[::1%25lo]", "[v1.a]", "é", "a\x00", strings.Repeat("a", 256)} {
		if ValidHost(s) {
			t.Errorf("ValidHost(%q) = true", s)
		}
	}
}

package h1

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRemoveHopByHop(t *testing.T) {
	h := http.Header{
		"Connection": {"close, X-Once,,  x-twice ", "keep-alive"}, "X-Once": {"1"}, "X-Twice": {"1", "2"},
		"Keep-Alive": {"a"}, "Proxy-Connection": {"a"}, "Te": {"trailers"}, "Trailer": {"X"}, "Upgrade": {"h2c"},
		"Transfer-Encoding": {"chunked"}, "Proxy-Authenticate": {"a"}, "Proxy-Authorization": {"a"},
		"Accept": {"a"}, "X-Connection": {"a"}, "Date": {"d"}, "Pragma": {"p"}, "Expect": {"e"},
	}
	RemoveHopByHop(h)
	want := http.Header{"Accept": {"a"}, "X-Connection": {"a"}, "Date": {"d"}, "Pragma": {"p"}, "Expect": {"e"}}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFieldsKnowWhetherThereIsSomethingToRemove(t *testing.T) {
	m := parseRequest(t, "GET / HTTP/1.1\r\nHost: a\r\nAccept: a\r\nExpect: e\r\n\r\n")
	if m.Has(HopByHop) {
		t.Errorf("Known = %b", m.Known)
	}
	m = parseRequest(t, "GET / HTTP/1.1\r\nHost: a\r\nAccept: a\r\nTE: trailers\r\nconnection: te, accept\r\n\r\n")
	m.RemoveHopByHop()
	if len(m.Header) != 0 {
		t.Errorf("Header = %v", m.Header)
	}
}

func TestHasToken(t *testing.T) {
	values := []string{"a, B c", ",,d ,\te"}
	for token, want := range map[string]bool{"a": true, "A": true, "b": false, "B c": true, "d": true, "E": true, "": false, "a,": false} {
		if got := HasToken(values, token); got != want {
			t.Errorf("HasToken(%q) = %v, want %v", token, got, want)
		}
	}
}

func TestInternedNames(t *testing.T) {
	for i, name := range names {
		if http.CanonicalHeaderKey(name) != name {
			t.Errorf("%s is not canonical", name)
		}
		if lookup([]byte(name)) != i || lookup([]byte(lowerNames[i])) != i {
			t.Errorf("%s is not found", name)
		}
	}
	for bit, name := range map[Known]string{KnownHost: "Host", KnownTE: "Te", KnownExpect: "Expect", KnownPragma: "Pragma", KnownDate: "Date"} {
		if bit != 1<<lookup([]byte(name)) {
			t.Errorf("the constant of %s is at another place", name)
		}
	}
}

func TestCanonicalName(t *testing.T) {
	for _, name := range []string{"", "a", "content-TYPE", "x-request-ID", "x--y", "-a-", "a_b-c", "1-2x", "bad name", "b\xc3\xa9", "etag", "WWW-authenticate"} {
		if got, want := CanonicalName([]byte(name)), http.CanonicalHeaderKey(name); got != want {
			t.Errorf("CanonicalName(%q) = %q, want %q", name, got, want)
		}
	}
}

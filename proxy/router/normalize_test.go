package router

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestNormalize(t *testing.T) {
	for _, tt := range []struct {
		raw, want string
		err       error
	}{
		{"/", "/", nil},
		{"", "/", nil},
		{"/a/b", "/a/b", nil},
		{"/a/b/", "/a/b/", nil},
		{"/a-b_c.d~e!$&'()*+,;=:@f", "/a-b_c.d~e!$&'()*+,;=:@f", nil},
		{"/.well-known/x", "/.well-known/x", nil},
		{"/.../a", "/.../a", nil},
		{"/..a/.b", "/..a/.b", nil},
		{"/a%20b", "/a%20b", nil},
		{"/%7Euser/%61%2D", "/~user/a-", nil},
		{"/%c3%a9", "/%C3%A9", nil},
		{"/caf\u00e9", "/caf%C3%A9", nil},
		{`/a b"<>^{|}[]` + "`", "/a%20b%22%3C%3E%5E%7B%7C%7D%5B%5D%60", nil},
		{"/a?b#c", "/a%3Fb%23c", nil},
		// Reserved characters keep their spelling (RFC 3986 §2.2).
		{"/%40/@/%3b/;", "/%40/@/%3B/;", nil},
		// Encoded percent signs are data, decoded by nobody twice.
		{"/%252e%252e/", "/%252e%252e/", nil},
		// Dot segments.
		{"/./a/./b/.", "/a/b/", nil},
		{"/a/b/../c", "/a/c", nil},
		{"/a/b/..", "/a/", nil},
		{"/a/..", "/", nil},
		{"/..", "/", nil},
		{"/../../etc", "/etc", nil},
		{"/a/%2e%2E/b", "/b", nil},
		{"/a/%2e./b", "/b", nil},
		{"/a/.%2e", "/", nil},
		{"/%2e", "/", nil},
		// Repeated slashes, merged before the dots see them.
		{"//", "/", nil},
		{"//a///b//", "/a/b/", nil},
		{"/a//../b", "/b", nil},
		// Refusals.
		{"/a%2Fb", "/a%2Fb", ErrEncodedSlash},
		{"/a%2f%5cb", "/a%2F%5Cb", ErrEncodedSlash},
		{`/a\b`, "/a%5Cb", ErrEncodedSlash},
		{"/x/../a%2fb/%7E", "/a%2Fb/~", ErrEncodedSlash},
		{"/a%2F..%2Fb", "", ErrHiddenDotSegment},
		{`/a/..\b`, "", ErrHiddenDotSegment},
		{"/a%5C%2e", "", ErrHiddenDotSegment},
		{"/a/..;x=1/b", "", ErrHiddenDotSegment},
		{"/.;/b", "", ErrHiddenDotSegment},
		{"/%2e%2e%3b/b", "", ErrHiddenDotSegment},
		{"/..%3B/b", "", ErrHiddenDotSegment},
		{"/a/.%3B", "", ErrHiddenDotSegment},
		{"/a\x00", "", ErrControlCharacter},
		{"/a%00", "", ErrControlCharacter},
		{"/a%0d%0Ab", "", ErrControlCharacter},
		{"/a\x7f", "", ErrControlCharacter},
		{"/a\tb", "", ErrControlCharacter},
		{"/%", "", ErrMalformedEscape},
		{"/%4", "", ErrMalformedEscape},
		{"/%4/1", "", ErrMalformedEscape},
		{"/%zz", "", ErrMalformedEscape},
		{"/%%41", "", ErrMalformedEscape},
		{"*", "", ErrNotAbsolute},
		{"a/b", "", ErrNotAbsolute},
	} {
		got, err := Normalize(tt.raw)
		if got != tt.want || err != tt.err {
			t.Errorf("Normalize(%q) = %q, %v; want %q, %v", tt.raw, got, err, tt.want, tt.err)
		}
	}
}

func TestStripTakesSegmentsOff(t *testing.T) {
	for _, tt := range []struct{ path, prefix, want string }{
		{"/api/items/3", "/api", "/items/3"},
		{"/api/", "/api", "/"},
		{"/api", "/api", "/"},
		{"/api/v1/items/", "/api/v1", "/items/"},
		{"/api/v1", "/api/v1", "/"},
		{"/%40me/items", "/@me", "/items"},
		{"/caf%C3%A9/a/b", "/café/a", "/b"},
		{"/a/b", "", "/a/b"},
		{"/a", "/a/b/c", "/"},
		{"", "/a", "/"},
	} {
		if got := Strip(tt.path, tt.prefix); got != tt.want {
			t.Errorf("Strip(%q, %q) = %q, want %q", tt.path, tt.prefix, got, tt.want)
		}
	}
}

func TestNormalizeReturnsNormalPathsWithoutAllocation(t *testing.T) {
	skipUnderRace(t)
	for _, path := range []string{"/", "/api/orgs/7/items/3", "/.well-known/openid-configuration", "/caf%C3%A9/a%20b/", "/a;v=1/b@c"} {
		if n := testing.AllocsPerRun(100, func() { _, _ = Normalize(path) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", path, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = Normalize("/a//b/../%7e") }); n > 1 {
		t.Errorf("%v allocations for a path that is not normal, want at most 1", n)
	}
}

// clean is path.Clean with the closing slash kept, over decoded segments: what
// an upstream that decodes after splitting makes of a path.
func clean(raw string) (segments []string, ok bool) {
	parts := strings.Split(raw, "/")[1:]
	for i, part := range parts {
		segment, err := url.PathUnescape(part)
		if err != nil {
			return nil, false
		}
		switch segment {
		case "..":
			segments = segments[:max(0, len(segments)-1)]
		case ".", "":
		default:
			segments = append(segments, segment)
			continue
		}
		if i == len(parts)-1 {
			segments = append(segments, "")
		}
	}
	return segments, true
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{
		"/", "/a/b/", "/a/../b", "/%2e%2E/%7euser", "//a//", "/a%2Fb", "/a%5c..", "/..;/x", "/%c3%a9\xff", "/%zz", "/\\", "*", "/%00", "/a/.", "/.%2", "/%2F%2e",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		path, err := Normalize(raw)
		if err != nil && err != ErrEncodedSlash {
			if path != "" {
				t.Fatalf("%q: path %q with %v", raw, path, err)
			}
			return
		}
		if again, err2 := Normalize(path); again != path || err2 != err {
			t.Fatalf("%q → %q, %v → %q, %v: not idempotent", raw, path, err, again, err2)
		}
		if raw == "" {
			return
		}
		want, ok := clean(raw)
		if !ok {
			t.Fatalf("%q: accepted a malformed escape", raw)
		}
		got, ok := clean(path)
		if !ok || !slices.Equal(got, want) {
			t.Fatalf("%q → %q: segments %q, want %q", raw, path, got, want)
		}
		if parts := strings.Split(path, "/"); len(parts)-1 != len(want) || parts[0] != "" {
			t.Fatalf("%q → %q still has segments to resolve; want %q", raw, path, want)
		}
		for i := range len(path) {
			switch c := path[i]; {
			case c <= ' ' || c >= 0x7f || strings.IndexByte("\"#<>?[\\]^`{|}", c) >= 0:
				t.Fatalf("%q → %q: byte %q", raw, path, c)
			case c == '%':
				escape := path[i : i+3]
				if decoded, err := url.PathUnescape(escape); err != nil || escape != strings.ToUpper(escape) ||
					strings.Trim(strings.ToLower(decoded), "abcdefghijklmnopqrstuvwxyz0123456789-._~") == "" {
					t.Fatalf("%q → %q: escape %s", raw, path, escape)
				}
			}
		}
	})
}

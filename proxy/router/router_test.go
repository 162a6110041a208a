package router

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func mustCompile(t testing.TB, specs []Spec) *Router {
	t.Helper()
	r, err := Compile(specs)
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	return r
}

// paths makes specs that differ only in their path.
func paths(patterns ...string) []Spec {
	specs := make([]Spec, len(patterns))
	for i, p := range patterns {
		specs[i].Path = p
	}
	return specs
}

// match returns the index that a caller without tenant gets, or the outcome.
func match(r *Router, host, path, method string, h http.Header) string {
	var m Match
	outcome := r.Match(host, path, method, h, &m)
	if outcome != Found {
		return outcome.String()
	}
	i, ok := m.Select("", "")
	if !ok {
		return "not selected"
	}
	return fmt.Sprint(i)
}

func TestPathPatterns(t *testing.T) {
	for _, tt := range []struct {
		patterns []string
		want     map[string]string
	}{
		{[]string{"/docs"}, map[string]string{
			"/docs": "0", "/docs/": "NotFound", "/docs/a": "NotFound", "/doc": "NotFound", "/": "NotFound", "/Docs": "NotFound",
		}},
		{[]string{"/docs/"}, map[string]string{"/docs": "NotFound", "/docs/": "0", "/docs//": "NotFound"}},
		{[]string{"/docs/*"}, map[string]string{
			"/docs": "0", "/docs/": "0", "/docs/a": "0", "/docs/a/b/": "0", "/docsx": "NotFound", "/": "NotFound",
		}},
		{[]string{"/*"}, map[string]string{"/": "0", "/a": "0", "/a/b": "0", "*": "NotFound", "": "NotFound", "a": "NotFound"}},
		{[]string{"/"}, map[string]string{"/": "0", "/a": "NotFound"}},
		{[]string{"/orgs/{org}/items/*"}, map[string]string{
			"/orgs/7/items": "0", "/orgs/7/items/3": "0", "/orgs//items": "NotFound", "/orgs/7/8/items": "NotFound", "/orgs/7": "NotFound",
		}},
		{[]string{"/{name}"}, map[string]string{"/a": "0", "/": "NotFound", "/a/": "NotFound", "/%2F": "0"}},
		// Literals are compared decoded: an upstream would serve both spellings.
		{[]string{"/@me", "/caf%C3%A9", "/{other}"}, map[string]string{
			"/@me": "0", "/%40me": "0", "/%40m%65": "0", "/caf%c3%a9": "1", "/café": "1", "/caf%C3%A8": "2", "/%4": "2", "/%zz": "2",
		}},
		// Literal before parameter before *, from the left, with backtracking.
		{[]string{"/*", "/a/*", "/a/b", "/{x}/b", "/a/{y}/c", "/a/b/{z}/d"}, map[string]string{
			"/a/b": "2", "/c/b": "3", "/a/c": "1", "/a/b/c": "4", "/a/b/c/d": "5", "/a/b/c/e": "1", "/c/b/c": "0", "/a": "1", "/c": "0",
		}},
		// An exact pattern wins over the prefix that it is.
		{[]string{"/a/*", "/a"}, map[string]string{"/a": "1", "/a/": "0", "/a/b": "0"}},
		// More than a few literals make a map.
		{[]string{"/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8", "/%39"}, map[string]string{
			"/0": "0", "/8": "8", "/9": "9", "/%39": "9", "/%3": "NotFound", "/10": "NotFound",
		}},
	} {
		// Precedence must not hang on the order of definition.
		for _, reversed := range []bool{false, true} {
			specs := paths(tt.patterns...)
			if reversed {
				slices.Reverse(specs)
			}
			r := mustCompile(t, specs)
			for path, want := range tt.want {
				got := match(r, "h", path, "GET", nil)
				if reversed && len(got) == 1 {
					got = fmt.Sprint(len(specs) - 1 - int(got[0]-'0'))
				}
				if got != want {
					t.Errorf("%q, reversed %t: %q goes to %s, want %s", tt.patterns, reversed, path, got, want)
				}
			}
		}
	}
}

func TestHosts(t *testing.T) {
	r := mustCompile(t, []Spec{
		{Host: "*", Path: "/*"},
		{Host: "*.example.com", Path: "/*"},
		{Host: "*.eu.example.com", Path: "/*"},
		{Host: "API.example.com.", Path: "/*"},
		{Host: "[::1]", Path: "/*"},
		{Host: "127.0.0.1", Path: "/*"},
		{Host: "api.example.com", Path: "/only"},
	})
	for host, want := range map[string]string{
		"api.example.com":        "3",
		"API.EXAMPLE.com":        "3",
		"api.example.com:8080":   "3",
		"api.example.com.":       "3",
		"api.example.com.:443":   "3",
		"other.example.com":      "1",
		"a.b.example.com":        "1",
		"a.eu.example.com":       "2",
		"eu.example.com":         "1",
		"example.com":            "0",
		".example.com":           "0",
		"notexample.com":         "0",
		"[::1]:8080":             "4",
		"[::1]":                  "4",
		"[::1]x":                 "0",
		"[::1":                   "0",
		"127.0.0.1:80":           "5",
		"":                       "0",
		":80":                    "0",
		"\x00\xff":               "0",
		strings.Repeat("a", 300): "0",
	} {
		if got := match(r, host, "/x", "GET", nil); got != want {
			t.Errorf("host %q goes to %s, want %s", host, got, want)
		}
	}
	if got := match(r, "api.example.com", "/only", "GET", nil); got != "6" {
		t.Errorf("longer path of one host goes to %s, want 6", got)
	}
}

func TestHostFallsBackWhenItsTreeHasNoMatch(t *testing.T) {
	r := mustCompile(t, []Spec{
		{Host: "api.example.com", Path: "/v1/*", Methods: []string{"GET"}},
		{Host: "*.example.com", Path: "/v2/*"},
		{Path: "/*", Methods: []string{"GET", "POST"}},
	})
	for _, tt := range []struct{ method, path, want string }{
		{"GET", "/v1/x", "0"}, {"POST", "/v1/x", "2"}, {"GET", "/v2/x", "1"}, {"GET", "/v3", "2"}, {"PUT", "/v3", "MethodNotAllowed"},
	} {
		if got := match(r, "api.example.com", tt.path, tt.method, nil); got != tt.want {
			t.Errorf("%s %s goes to %s, want %s", tt.method, tt.path, got, tt.want)
		}
	}
}

func TestMethods(t *testing.T) {
	r := mustCompile(t, []Spec{
		{Path: "/items"},
		{Path: "/items", Methods: []string{"GET"}},
		{Path: "/items", Methods: []string{"POST", "PURGE"}},
		{Path: "/heads", Methods: []string{"GET"}},
		{Path: "/heads", Methods: []string{"HEAD"}},
		{Path: "/read", Methods: []string{"GET"}},
		{Path: "/read", Methods: []string{"DELETE"}, Headers: map[string]string{"X-Confirm": "yes"}},
	})
	for _, tt := range []struct{ method, path, want string }{
		{"GET", "/items", "1"}, {"HEAD", "/items", "1"}, {"POST", "/items", "2"}, {"PURGE", "/items", "2"},
		{"PUT", "/items", "0"}, {"get", "/items", "0"},
		{"GET", "/heads", "3"}, {"HEAD", "/heads", "4"},
		{"POST", "/read", "MethodNotAllowed"}, {"DELETE", "/read", "MethodNotAllowed"}, {"", "/read", "MethodNotAllowed"},
	} {
		if got := match(r, "h", tt.path, tt.method, nil); got != tt.want {
			t.Errorf("%s %s goes to %s, want %s", tt.method, tt.path, got, tt.want)
		}
	}
}

func TestAllowListsMethodsOfEveryPatternThatMatches(t *testing.T) {
	r := mustCompile(t, []Spec{
		{Path: "/a/b", Methods: []string{"GET"}},
		{Path: "/a/*", Methods: []string{"POST", "GET"}},
		{Path: "/a/{x}", Methods: []string{"DELETE"}, Headers: map[string]string{"X-Confirm": "*"}},
		{Path: "/b", Methods: []string{"GET"}},
	})
	var m Match
	for _, tt := range []struct {
		header http.Header
		want   string
	}{
		{nil, "GET, HEAD, POST"},
		{http.Header{"X-Confirm": {""}}, "DELETE, GET, HEAD, POST"},
	} {
		if got := r.Match("h", "/a/b", "PUT", tt.header, &m); got != MethodNotAllowed || m.Allow() != tt.want {
			t.Errorf("header %v: %v, Allow %q; want MethodNotAllowed, %q", tt.header, got, m.Allow(), tt.want)
		}
	}
	if r.Match("h", "/a/b", "POST", nil, &m); m.Allow() != "" {
		t.Errorf("Allow %q after a match, want none", m.Allow())
	}
}

func TestHeaders(t *testing.T) {
	r := mustCompile(t, []Spec{
		{Path: "/"},
		{Path: "/", Headers: map[string]string{"x-version": "2"}},
		{Path: "/", Headers: map[string]string{"X-Version": "2", "X-Beta": "*"}},
		{Path: "/", Headers: map[string]string{"X-Version": "2"}, Methods: []string{"GET"}},
	})
	for _, tt := range []struct {
		header http.Header
		want   string
	}{
		{nil, "0"},
		{http.Header{"X-Version": {"1"}}, "0"},
		{http.Header{"X-Version": {"1", "2"}}, "3"},
		{http.Header{"X-Beta": {"on"}}, "0"},
		{http.Header{"X-Version": {"2"}, "X-Beta": {""}}, "2"},
		{http.Header{"X-Version": {"2"}, "X-Beta": {}}, "3"},
	} {
		if got := match(r, "h", "/", "GET", tt.header); got != tt.want {
			t.Errorf("%v goes to %s, want %s", tt.header, got, tt.want)
		}
	}
}

func TestSelectPrefersTenantThenTierThenNeither(t *testing.T) {
	r := mustCompile(t, []Spec{
		{Path: "/*"},
		{Path: "/*", Tiers: []string{"premium", "enterprise"}},
		{Path: "/*", Tenants: []string{"acme"}},
		{Path: "/*", Tenants: []string{"acme", "bolt"}, Tiers: []string{"premium"}},
		{Path: "/only", Tenants: []string{"acme"}},
		{Path: "/closed", Host: "closed", Tenants: []string{"acme"}},
	})
	for _, tt := range []struct {
		path, tenant, tier string
		want               int
	}{
		{"/x", "", "", 0},
		{"/x", "other", "standard", 0},
		{"/x", "other", "premium", 1},
		{"/x", "acme", "standard", 2},
		{"/x", "acme", "premium", 3},
		{"/x", "bolt", "enterprise", 1},
		{"/only", "acme", "", 4},
		{"/only", "bolt", "", 0}, // as if /only did not exist
	} {
		var m Match
		if got := r.Match("h", tt.path, "GET", nil, &m); got != Found {
			t.Fatalf("%s: %v", tt.path, got)
		}
		if got, ok := m.Select(tt.tenant, tt.tier); !ok || got != tt.want {
			t.Errorf("%s for %q, %q: %d %t, want %d", tt.path, tt.tenant, tt.tier, got, ok, tt.want)
		}
	}
	var m Match
	r.Match("h", "/only", "GET", nil, &m)
	if want := []int{4, 3, 2, 1, 0}; !slices.Equal(m.Candidates(), want) {
		t.Errorf("candidates %v, want %v", m.Candidates(), want)
	}
	closed := mustCompile(t, []Spec{{Path: "/", Tenants: []string{"acme"}}})
	if outcome := closed.Match("h", "/", "GET", nil, &m); outcome != Found {
		t.Fatalf("%v", outcome)
	}
	if i, ok := m.Select("", ""); ok || i != -1 {
		t.Errorf("a stranger gets route %d, want none", i)
	}
}

func TestParams(t *testing.T) {
	r := mustCompile(t, paths("/orgs/{org}/items/{item}", "/orgs/{org}/files/*", "/plain"))
	var m Match
	for path, want := range map[string][]Param{
		"/orgs/7/items/a%2Fb": {{"org", "7"}, {"item", "a%2Fb"}},
		"/orgs/7/files/a/b/":  {{"org", "7"}, {"*", "a/b/"}},
		"/orgs/7/files":       {{"org", "7"}, {"*", ""}},
		"/plain":              nil,
	} {
		r.Match("h", path, "GET", nil, &m)
		if m.Params() != nil {
			t.Errorf("%s: parameters before Select: %v", path, m.Params())
		}
		m.Select("", "")
		if got := m.Params(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	r.Match("h", "/orgs/7/items/9", "GET", nil, &m)
	m.Select("", "")
	if v, ok := m.Param("item"); v != "9" || !ok {
		t.Errorf("item %q %t, want 9", v, ok)
	}
	if v, ok := m.Param("none"); ok {
		t.Errorf("a parameter that the pattern has not: %q", v)
	}
	m.Reset()
	if m.Params() != nil || len(m.Candidates()) != 0 || m.router != nil || m.path != "" {
		t.Errorf("a reset match still holds %+v", m)
	}
}

func TestCompileNamesTheFault(t *testing.T) {
	ok := Spec{Path: "/ok"}
	for _, tt := range []struct {
		spec  Spec
		field string
		word  string
	}{
		{Spec{Path: ""}, "path", "begin with /"},
		{Spec{Path: "a"}, "path", "begin with /"},
		{Spec{Path: "/a//b"}, "path", "empty segment"},
		{Spec{Path: "/a/../b"}, "path", "dot segments"},
		{Spec{Path: "/%2E/b"}, "path", "dot segments"},
		{Spec{Path: "/*/b"}, "path", "last segment"},
		{Spec{Path: "/a*"}, "path", "whole segments"},
		{Spec{Path: "/a{b}"}, "path", "whole segments"},
		{Spec{Path: "/{}"}, "path", "no parameter"},
		{Spec{Path: "/{a-b}"}, "path", "no parameter"},
		{Spec{Path: "/{a"}, "path", "no parameter"},
		{Spec{Path: "/{1}"}, "path", "no parameter"},
		{Spec{Path: "/{a}/{a}"}, "path", "twice"},
		{Spec{Path: "/%4"}, "path", "malformed"},
		{Spec{Path: "/%00"}, "path", "control"},
		{Spec{Path: "/a?b"}, "path", "query"},
		{Spec{Path: "/" + strings.Repeat("a", 300)}, "path", "longer than"},
		{Spec{Path: strings.Repeat("/a", 65)}, "path", "segments"},
		{Spec{Path: "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}/{k}/{l}/{m}/{n}/{o}/{p}/*"}, "path", "parameters"},
		{Spec{Path: "/", Host: "a.com:80"}, "host", "without port"},
		{Spec{Path: "/", Host: "*.*.com"}, "host", "first label"},
		{Spec{Path: "/", Host: "a..com"}, "host", "no host name"},
		{Spec{Path: "/", Host: "*."}, "host", "no host name"},
		{Spec{Path: "/", Host: "bücher.example"}, "host", "xn--"},
		{Spec{Path: "/", Host: "[1.2.3]"}, "host", "IPv6"},
		{Spec{Path: "/", Host: strings.Repeat("a.", 150) + "com"}, "host", "longer"},
		{Spec{Path: "/", Methods: []string{"get"}}, "methods", "write GET"},
		{Spec{Path: "/", Methods: []string{"GE T"}}, "methods", "no method"},
		{Spec{Path: "/", Methods: []string{""}}, "methods", "no method"},
		{Spec{Path: "/", Headers: map[string]string{"a b": ""}}, "headers", "no field name"},
		{Spec{Path: "/", Headers: map[string]string{"host": "x"}}, "headers", "matched by host"},
		{Spec{Path: "/", Headers: map[string]string{"x-a": "1", "X-A": "2"}}, "headers", "twice"},
		{Spec{Path: "/", Tenants: []string{""}}, "tenants", "empty"},
		{Spec{Path: "/", Tiers: []string{"a", ""}}, "tiers", "empty"},
	} {
		_, err := Compile([]Spec{ok, tt.spec})
		var fault *SpecError
		if !errors.As(err, &fault) || fault.Index != 1 || fault.Field != tt.field || !strings.Contains(err.Error(), tt.word) {
			t.Errorf("%+v: %v; want %s of route 1, with %q", tt.spec, err, tt.field, tt.word)
		}
	}
}

func TestCompileReportsEveryFaultOnItsOwn(t *testing.T) {
	_, err := Compile([]Spec{{Path: "a", Host: ":"}, {Path: "/"}, {Path: "/", Methods: []string{"get"}}})
	var got []string
	for _, fault := range err.(interface{ Unwrap() []error }).Unwrap() {
		fault := fault.(*SpecError)
		got = append(got, fmt.Sprint(fault.Index, fault.Field))
	}
	if want := []string{"0host", "0path", "2methods"}; !slices.Equal(got, want) {
		t.Errorf("faults %q, want %q", got, want)
	}
}

func TestCompileRefusesRoutesThatNoRequestTellsApart(t *testing.T) {
	for _, tt := range []struct {
		a, b Spec
		same bool
	}{
		{Spec{Path: "/a"}, Spec{Path: "/a"}, true},
		{Spec{Path: "/{a}"}, Spec{Path: "/{b}"}, true},
		{Spec{Path: "/a", Host: "x.COM"}, Spec{Path: "/a", Host: "X.com."}, true},
		{Spec{Path: "/@"}, Spec{Path: "/%40"}, true},
		{Spec{Path: "/a", Methods: []string{"GET", "PUT"}}, Spec{Path: "/a", Methods: []string{"POST", "GET"}}, true},
		{Spec{Path: "/a", Tenants: []string{"x", "y"}}, Spec{Path: "/a", Tenants: []string{"y", "z"}}, true},
		{Spec{Path: "/a", Headers: map[string]string{"x": "1"}}, Spec{Path: "/a", Headers: map[string]string{"X": "1"}}, true},

		{Spec{Path: "/a"}, Spec{Path: "/a/"}, false},
		{Spec{Path: "/a"}, Spec{Path: "/a", Host: "x"}, false},
		{Spec{Path: "/a"}, Spec{Path: "/a", Methods: []string{"GET"}}, false},
		{Spec{Path: "/a", Methods: []string{"HEAD"}}, Spec{Path: "/a", Methods: []string{"GET"}}, false},
		{Spec{Path: "/a", Tenants: []string{"x"}}, Spec{Path: "/a", Tenants: []string{"y"}}, false},
		{Spec{Path: "/a", Tenants: []string{"x"}}, Spec{Path: "/a", Tiers: []string{"x"}}, false},
		{Spec{Path: "/a", Tenants: []string{"x"}, Tiers: []string{"s"}}, Spec{Path: "/a", Tenants: []string{"x"}, Tiers: []string{"p"}}, false},
		{Spec{Path: "/a", Headers: map[string]string{"x": "1"}}, Spec{Path: "/a", Headers: map[string]string{"x": "*"}}, false},
	} {
		_, err := Compile([]Spec{tt.a, tt.b})
		var fault *SpecError
		if got := errors.As(err, &fault); got != tt.same || got && fault.Index != 1 {
			t.Errorf("%+v and %+v: %v, want refused %t", tt.a, tt.b, err, tt.same)
		}
	}
}

// A search only descends, so it is enough that nothing is below two parents.
func TestInvariant2_ASearchVisitsEachNodeOnce(t *testing.T) {
	// Every path of a's and parameters: the worst case for backtracking.
	const depth = 9
	var specs []Spec
	for bits := range 1 << depth {
		var b strings.Builder
		for i := range depth {
			if bits>>i&1 == 0 {
				b.WriteString("/a")
			} else {
				fmt.Fprintf(&b, "/{p%d}", i)
			}
		}
		specs = append(specs, Spec{Path: b.String() + "/end"})
	}
	r := mustCompile(t, specs)
	seen := make(map[*node]bool)
	var visit func(n *node)
	visit = func(n *node) {
		if n == nil {
			return
		}
		if seen[n] {
			t.Fatal("a node has two parents")
		}
		seen[n] = true
		visit(n.param)
		for _, c := range n.literals.few {
			visit(c.node)
		}
		for _, c := range n.literals.many {
			visit(c)
		}
	}
	visit(r.any)
	if want := 1<<(depth+1) - 1 + 1<<depth; len(seen) != want {
		t.Errorf("%d nodes, want %d", len(seen), want)
	}
	if got := match(r, "h", strings.Repeat("/a", depth)+"/none", "GET", nil); got != "NotFound" {
		t.Errorf("goes to %s, want NotFound", got)
	}
	if got := match(r, "h", strings.Repeat("/a", depth)+"/end", "GET", nil); got != "0" {
		t.Errorf("goes to %s, want 0", got)
	}
}

func ExampleRouter() {
	r, err := Compile([]Spec{
		{Path: "/api/items/*"},
		{Path: "/api/items/{id}/history", Tiers: []string{"enterprise"}},
	})
	if err != nil {
		panic(err)
	}
	var m Match // reused from request to request
	fmt.Println(r.Match("api.example.com", "/api/items/7/history", http.MethodGet, nil, &m), m.Candidates())
	i, ok := m.Select("acme", "enterprise") // once the caller is known
	id, _ := m.Param("id")
	fmt.Println(i, ok, id)
	// Output:
	// Found [1 0]
	// 1 true 7
}

package router

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// The oracle scans all routes by the rules of the package doc. It shares no
// code with the router and cares for nothing but clarity.

func oracleHost(pattern, host string) (rank int) {
	host = strings.TrimSuffix(strings.ToLower(strings.Split(host, ":")[0]), ".")
	suffix, wildcard := strings.CutPrefix(pattern, "*")
	switch {
	case pattern == "":
		return 1
	case wildcard && strings.HasSuffix(host, suffix) && len(host) > len(suffix):
		return 1 + len(suffix)
	case pattern == host:
		return 1000
	}
	return 0
}

// oraclePath returns the kinds of the pattern's segments along the path, as
// letters that sort by precedence, or nothing.
func oraclePath(pattern, path string) string {
	ps, ss := strings.Split(pattern, "/")[1:], strings.Split(path, "/")[1:]
	var kinds strings.Builder
	for i, p := range ps {
		if p == "*" {
			return kinds.String() + "c"
		}
		if i == len(ss) {
			return ""
		}
		if p != "" && p[0] == '{' {
			if ss[i] == "" {
				return ""
			}
			kinds.WriteByte('b')
			continue
		}
		want, _ := url.PathUnescape(p)
		got, err := url.PathUnescape(ss[i])
		if err != nil || got != want {
			return ""
		}
		kinds.WriteByte('a')
	}
	if len(ps) != len(ss) {
		return ""
	}
	return kinds.String() + "a"
}

func oracleMethod(methods []string, method string) int {
	switch {
	case len(methods) == 0:
		return 1
	case slices.Contains(methods, method):
		return 3
	case method == "HEAD" && slices.Contains(methods, "GET"):
		return 2
	}
	return 0
}

func oracleHeaders(want map[string]string, h http.Header) bool {
	for name, value := range want {
		got := h.Values(name)
		if len(got) == 0 || value != "*" && !slices.Contains(got, value) {
			return false
		}
	}
	return true
}

func oracleAudience(s *Spec) int {
	return 2*min(1, len(s.Tenants)) + min(1, len(s.Tiers))
}

func oracleServes(s *Spec, tenant, tier string) bool {
	return (len(s.Tenants) == 0 || slices.Contains(s.Tenants, tenant)) && (len(s.Tiers) == 0 || slices.Contains(s.Tiers, tier))
}

type request struct {
	host, path, method, tenant, tier string
	header                           http.Header
}

// oracle returns the routes that match whoever calls, best first.
func oracle(specs []Spec, q request) []int {
	var found []int
	for i := range specs {
		s := &specs[i]
		if oracleHost(s.Host, q.host) > 0 && oraclePath(s.Path, q.path) != "" &&
			oracleMethod(s.Methods, q.method) > 0 && oracleHeaders(s.Headers, q.header) {
			found = append(found, i)
		}
	}
	slices.SortFunc(found, func(i, j int) int {
		a, b := &specs[i], &specs[j]
		return cmp.Or(
			cmp.Compare(oracleHost(b.Host, q.host), oracleHost(a.Host, q.host)),
			cmp.Compare(oraclePath(a.Path, q.path), oraclePath(b.Path, q.path)),
			cmp.Compare(len(b.Headers), len(a.Headers)),
			cmp.Compare(oracleMethod(b.Methods, q.method), oracleMethod(a.Methods, q.method)),
			cmp.Compare(oracleAudience(b), oracleAudience(a)),
			cmp.Compare(i, j),
		)
	})
	return found
}

// generator makes small worlds in which routes often meet.
type generator struct{ *rand.Rand }

func pick[T any](g generator, from ...T) T { return from[g.IntN(len(from))] }

func (g generator) subset(from ...string) []string {
	var s []string
	for _, v := range from {
		if g.IntN(2) == 0 {
			s = append(s, v)
		}
	}
	return s
}

func (g generator) spec() Spec {
	var path strings.Builder
	names := []string{"{x}", "{y}", "{z}", "{w}"}
	for i := range g.IntN(4) {
		path.WriteString("/" + pick(g, "a", "b", "@", "c%C3%A9", names[i]))
	}
	path.WriteString(pick(g, "/*", "/", "/a", "/{end}"))
	s := Spec{
		Host: pick(g, "", "", "", "a.com", "b.a.com", "*.a.com", "*.b.a.com"),
		Path: path.String(),
	}
	if g.IntN(2) == 0 {
		s.Methods = g.subset("GET", "HEAD", "POST", "PURGE")
	}
	switch g.IntN(6) {
	case 0:
		s.Headers = map[string]string{"X": "1"}
	case 1:
		s.Headers = map[string]string{"y": "*"}
	case 2:
		s.Headers = map[string]string{"X": pick(g, "1", "*"), "Y": "2"}
	}
	if g.IntN(3) == 0 {
		s.Tenants = g.subset("t", "u")
	}
	if g.IntN(3) == 0 {
		s.Tiers = g.subset("s", "p")
	}
	return s
}

func (g generator) request() request {
	var path strings.Builder
	for range 1 + g.IntN(5) {
		path.WriteString("/" + pick(g, "a", "a", "b", "@", "%40", "%61", "cé", "c%c3%a9", "", "%zz"))
	}
	q := request{
		host:   pick(g, "a.com", "A.com:80", "b.a.com.", "c.b.a.com", "d.c.b.A.com", "x", ""),
		path:   path.String(),
		method: pick(g, "GET", "HEAD", "POST", "PURGE", "PUT"),
		tenant: pick(g, "", "t", "u", "v"),
		tier:   pick(g, "", "s", "p", "q"),
	}
	switch g.IntN(5) {
	case 0:
		q.header = http.Header{"X": {"0", "1"}}
	case 1:
		q.header = http.Header{"X": {"1"}, "Y": {"2"}}
	case 2:
		q.header = http.Header{"Y": {"3"}}
	}
	return q
}

// compileTellable compiles specs without those that repeat others.
func compileTellable(t *testing.T, specs []Spec) (*Router, []Spec) {
	r, err := Compile(specs)
	if err == nil {
		return r, specs
	}
	refused := make(map[int]bool)
	for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
		var fault *SpecError
		if !errors.As(err, &fault) {
			t.Fatalf("%v is no SpecError", err)
		}
		refused[fault.Index] = true
	}
	var rest []Spec
	for i := range specs {
		if !refused[i] {
			rest = append(rest, specs[i])
		}
	}
	return mustCompile(t, rest), rest
}

func checkAgainstOracle(t *testing.T, r *Router, specs []Spec, q request, m *Match) {
	t.Helper()
	var want []int
	for _, i := range oracle(specs, q) {
		want = append(want, i)
		if oracleAudience(&specs[i]) == 0 {
			break
		}
	}
	outcome := r.Match(q.host, q.path, q.method, q.header, m)
	if !slices.Equal(m.Candidates(), want) {
		t.Fatalf("%+v over %+v:\ncandidates %v, want %v", q, specs, m.Candidates(), want)
	}
	if (outcome == Found) != (len(want) > 0) {
		t.Fatalf("%+v over %+v:\noutcome %v with candidates %v", q, specs, outcome, want)
	}
	selected := -1
	for _, i := range oracle(specs, q) {
		if oracleServes(&specs[i], q.tenant, q.tier) {
			selected = i
			break
		}
	}
	if got, ok := m.Select(q.tenant, q.tier); got != selected || ok != (selected >= 0) {
		t.Fatalf("%+v over %+v:\nselected %d %t, want %d", q, specs, got, ok, selected)
	}
	if selected >= 0 {
		checkParams(t, specs[selected].Path, q.path, m.Params())
	}
	var allow []string
	if len(want) == 0 {
		for _, method := range []string{"GET", "HEAD", "POST", "PURGE"} {
			other := q
			other.method = method
			if len(oracle(specs, other)) > 0 {
				allow = append(allow, method)
			}
		}
	}
	if got := m.Allow(); got != strings.Join(allow, ", ") || (outcome == MethodNotAllowed) != (got != "") {
		t.Fatalf("%+v over %+v:\noutcome %v, Allow %q, want %q", q, specs, outcome, got, allow)
	}
}

func checkParams(t *testing.T, pattern, path string, got []Param) {
	t.Helper()
	segments := strings.Split(path, "/")
	var want []Param
	for i, p := range strings.Split(pattern, "/") {
		switch {
		case p == "*":
			want = append(want, Param{"*", strings.Join(segments[min(i, len(segments)):], "/")})
		case strings.HasPrefix(p, "{"):
			want = append(want, Param{strings.Trim(p, "{}"), segments[i]})
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%s over %s: parameters %v, want %v", path, pattern, got, want)
	}
}

// FuzzRouter compares worlds of random routes with the oracle (invariant 1).
func FuzzRouter(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, uint8(10*seed), "/a/b", "GET")
	}
	f.Fuzz(func(t *testing.T, seed uint64, size uint8, path, method string) {
		g := generator{rand.New(rand.NewPCG(seed, 0))}
		specs := make([]Spec, size%64)
		for i := range specs {
			specs[i] = g.spec()
		}
		r, specs := compileTellable(t, specs)
		var m Match
		for range 50 {
			checkAgainstOracle(t, r, specs, g.request(), &m)
		}
		// Any bytes are safe; and where the oracle has a say, it agrees.
		r.Match(path, path, method, http.Header{method: {path}}, &m)
		if strings.HasPrefix(path, "/") && method != "" {
			checkAgainstOracle(t, r, specs, request{host: "a.com", path: path, method: method}, &m)
		}
	})
}

func TestInvariant1_AgreesWithOracle(t *testing.T) {
	for seed := range uint64(300) {
		g := generator{rand.New(rand.NewPCG(seed, 1))}
		specs := make([]Spec, 1+g.IntN(60))
		for i := range specs {
			specs[i] = g.spec()
		}
		r, specs := compileTellable(t, specs)
		var m Match
		for range 100 {
			checkAgainstOracle(t, r, specs, g.request(), &m)
		}
	}
}

package router

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// Spec is one route as it was configured. The zero value of a field other than
// Path means any.
type Spec struct {
	Host    string            // name, *.name, or empty for any
	Path    string            // /exact, /prefix/*, with {name} for single segments
	Methods []string          // in upper case unless an extension is spelt otherwise
	Headers map[string]string // field name to value; * for any value
	Tenants []string
	Tiers   []string
}

// SpecError is a fault in one spec.
type SpecError struct {
	Index int    // position in the argument of Compile
	Field string // "host", "path", "methods", "headers", "tenants", "tiers"; empty for the spec as a whole
	Err   error
}

func (e *SpecError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("route %d: %v", e.Index, e.Err)
	}
	return fmt.Sprintf("route %d: %s: %v", e.Index, e.Field, e.Err)
}

func (e *SpecError) Unwrap() error { return e.Err }

// Router is a compiled set of routes.
type Router struct {
	routes   []*route
	exact    map[string]*node // by name in lower case
	wildcard map[string]*node // by what follows "*."
	any      *node
}

// Compile builds a Router; the indexes that matching returns are positions in
// specs. It returns every fault it finds, each a [*SpecError], joined.
func Compile(specs []Spec) (*Router, error) {
	r := &Router{
		routes:   make([]*route, len(specs)),
		exact:    make(map[string]*node),
		wildcard: make(map[string]*node),
		any:      new(node),
	}
	var faults []error
	var leaves []*leaf
	for i := range specs {
		rt, wrong := parseRoute(i, &specs[i])
		if len(wrong) > 0 {
			faults = append(faults, wrong...)
			continue
		}
		r.routes[i] = rt
		l := r.tree(rt.host).leaf(rt.path)
		if len(l.routes) == 0 {
			leaves = append(leaves, l)
		}
		l.routes = append(l.routes, rt)
	}
	for _, l := range leaves {
		faults = append(faults, l.compile()...)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return r, nil
}

// tree returns the tree of a host pattern, made when it is new.
func (r *Router) tree(h hostPattern) *node {
	if h.name == "" {
		return r.any
	}
	trees := r.exact
	if h.wildcard {
		trees = r.wildcard
	}
	n := trees[h.name]
	if n == nil {
		n = new(node)
		trees[h.name] = n
	}
	return n
}

// Outcome is the answer of [Router.Match].
type Outcome int

const (
	NotFound         Outcome = iota // no route for this host, path and header
	MethodNotAllowed                // there is one, but for other methods: see [Match.Allow]
	Found                           // there are candidates: see [Match.Select]
)

func (o Outcome) String() string {
	switch o {
	case NotFound:
		return "NotFound"
	case MethodNotAllowed:
		return "MethodNotAllowed"
	case Found:
		return "Found"
	}
	return fmt.Sprintf("Outcome(%d)", int(o))
}

// Match finds the routes that could answer a request and leaves them in m,
// whose former content is lost. host may carry a port; path is escaped and
// normal (see [Normalize]), though any bytes are safe; h has canonical keys
// and may be nil. m must not be nil; it keeps path, but nothing of h.
func (r *Router) Match(host, path, method string, h http.Header, m *Match) Outcome {
	m.router, m.path, m.selected = r, path, -1
	m.candidates, m.allow = m.candidates[:0], m.allow[:0]
	if path == "" || path[0] != '/' {
		return NotFound
	}
	s := search{path: path, method: method, header: h, m: m}
	if !r.matchHost(host, &s) {
		s.walk(r.any, 1)
	}
	switch {
	case len(m.candidates) > 0:
		return Found
	case len(m.allow) > 0:
		return MethodNotAllowed
	}
	return NotFound
}

// matchHost searches the trees that are bound to a host, the most specific
// first, and reports whether the search is over.
func (r *Router) matchHost(host string, s *search) (done bool) {
	if len(r.exact)+len(r.wildcard) == 0 {
		return false
	}
	var buf [maxHost]byte
	name := canonicalHost(host, &buf)
	if len(name) == 0 {
		return false
	}
	if n := r.exact[string(name)]; n != nil && s.walk(n, 1) {
		return true
	}
	if len(r.wildcard) == 0 {
		return false
	}
	for i, c := range name {
		if c != '.' || i == 0 {
			continue
		}
		if n := r.wildcard[string(name[i+1:])]; n != nil && s.walk(n, 1) {
			return true
		}
	}
	return false
}

// route is a compiled Spec.
type route struct {
	index   int
	host    hostPattern
	path    pathPattern
	methods []string // sorted, each once; nil for any
	headers []headerMatcher
	tenants map[string]struct{}
	tiers   map[string]struct{}
}

// audience ranks how narrowly a route names its callers; 0 is everybody.
func (rt *route) audience() int {
	rank := 0
	if rt.tenants != nil {
		rank += 2
	}
	if rt.tiers != nil {
		rank++
	}
	return rank
}

// serves reports whether the route is meant for callers of this tenant and tier.
func (rt *route) serves(tenant, tier string) bool {
	if rt.tenants != nil {
		if _, ok := rt.tenants[tenant]; !ok {
			return false
		}
	}
	if rt.tiers != nil {
		if _, ok := rt.tiers[tier]; !ok {
			return false
		}
	}
	return true
}

// methodRank says how closely the route names a method: 0 not at all, then
// any, GET in place of HEAD, and by name.
func (rt *route) methodRank(method string) int {
	switch {
	case rt.methods == nil:
		return 1
	case slices.Contains(rt.methods, method):
		return 3
	case method == http.MethodHead && slices.Contains(rt.methods, http.MethodGet):
		return 2
	}
	return 0
}

// headerMatcher is a condition on one field.
type headerMatcher struct {
	name    string // canonical
	value   string
	present bool // any value will do
}

func (rt *route) headersMatch(h http.Header) bool {
	for i := range rt.headers {
		hm := &rt.headers[i]
		values := h[hm.name]
		if hm.present {
			if len(values) == 0 {
				return false
			}
		} else if !slices.Contains(values, hm.value) {
			return false
		}
	}
	return true
}

package router

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// node is one position in the tree of a host: the path so far. The trees are
// per segment, so a node's depth is its position in the path, and a search,
// which only ever goes to children, cannot come to a node twice.
type node struct {
	literals children
	param    *node
	end      *leaf // the path ends here
	rest     *leaf // the pattern ends with * here
}

// leaf returns the leaf of a pattern below n, made when it is new.
func (n *node) leaf(p pathPattern) *leaf {
	for _, seg := range p.segments {
		if seg.kind == literalSegment {
			n = n.literals.add(seg.text)
			continue
		}
		if n.param == nil {
			n.param = new(node)
		}
		n = n.param
	}
	l := &n.end
	if p.rest {
		l = &n.rest
	}
	if *l == nil {
		*l = new(leaf)
	}
	return *l
}

// children are the literal segments below a node, by their decoded text.
type children struct {
	few  []child          // while there are at most fewChildren
	many map[string]*node // then
}

type child struct {
	text string
	node *node
}

// fewChildren is where a map begins to beat comparing one by one; with
// segments of different lengths that is later than with equal ones
// (BenchmarkChildren).
const fewChildren = 4

func (c *children) get(text string) *node {
	if c.many != nil {
		return c.many[text]
	}
	for i := range c.few {
		if c.few[i].text == text {
			return c.few[i].node
		}
	}
	return nil
}

func (c *children) add(text string) *node {
	if n := c.get(text); n != nil {
		return n
	}
	n := new(node)
	switch {
	case c.many != nil:
		c.many[text] = n
	case len(c.few) < fewChildren:
		c.few = append(c.few, child{text, n})
	default:
		c.many = make(map[string]*node, 2*fewChildren)
		for _, old := range c.few {
			c.many[old.text] = old.node
		}
		c.many[text] = n
		c.few = nil
	}
	return n
}

// leaf holds the routes of one host and path pattern, sorted for each method
// that they name, because the order among them differs by method.
type leaf struct {
	routes []*route // in the order of definition
	named  []methodRoutes
	others []*route // for methods that no route names
}

type methodRoutes struct {
	method string
	routes []*route // best first
}

// compile sorts the leaf's routes and returns the ambiguities among them.
func (l *leaf) compile() (faults []error) {
	var methods []string
	for _, rt := range l.routes {
		methods = append(methods, rt.methods...)
	}
	if slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	for _, method := range slices.Compact(methods) {
		l.named = append(l.named, methodRoutes{method, l.serving(method)})
	}
	l.others = l.serving("")
	return l.ambiguities()
}

// serving returns the routes that serve a method, best first.
func (l *leaf) serving(method string) []*route {
	var routes []*route
	for _, rt := range l.routes {
		if rt.methodRank(method) > 0 {
			routes = append(routes, rt)
		}
	}
	slices.SortFunc(routes, func(a, b *route) int {
		return cmp.Or(
			cmp.Compare(len(b.headers), len(a.headers)),
			cmp.Compare(b.methodRank(method), a.methodRank(method)),
			cmp.Compare(b.audience(), a.audience()),
			cmp.Compare(a.index, b.index),
		)
	})
	return routes
}

// ambiguities finds routes that some request matches equally: the same
// headers, and a method and an audience in common. Which of them answered
// would hang on the order of definition alone, and one could never be reached
// by those callers; that is a mistake, so it is refused.
func (l *leaf) ambiguities() (faults []error) {
	type condition struct{ headers, method, tenant, tier string }
	seen := make(map[condition]*route)
	everybody := map[string]struct{}{"": {}}
	for _, rt := range l.routes {
		methods, tenants, tiers := rt.methods, rt.tenants, rt.tiers
		if methods == nil {
			methods = []string{""}
		}
		if tenants == nil {
			tenants = everybody
		}
		if tiers == nil {
			tiers = everybody
		}
		headers := rt.headerKey()
		var rival *route
		for _, method := range methods {
			for tenant := range tenants {
				for tier := range tiers {
					c := condition{headers, method, tenant, tier}
					if other := seen[c]; other == nil {
						seen[c] = rt
					} else if rival == nil || other.index < rival.index {
						rival = other
					}
				}
			}
		}
		if rival != nil {
			faults = append(faults, &SpecError{Index: rt.index,
				Err: fmt.Errorf("matches the same requests as route %d: give them different hosts, paths, methods, headers, tenants or tiers", rival.index)})
		}
	}
	return faults
}

// headerKey returns a text that is equal for equal conditions on headers.
func (rt *route) headerKey() string {
	var b strings.Builder
	for _, hm := range rt.headers {
		fmt.Fprintf(&b, "%q:%t:%q,", hm.name, hm.present, hm.value)
	}
	return b.String()
}

// search is one run through the trees.
type search struct {
	path   string
	method string
	header http.Header
	m      *Match
}

// walk searches below n for the rest of the path, which begins at pos, after a
// slash; past the end when no segment is left. It reports whether the search
// is over: a route open to everybody was found, so nothing behind it can win.
func (s *search) walk(n *node, pos int) (done bool) {
	if pos > len(s.path) {
		return s.collect(n.end) || s.collect(n.rest)
	}
	end := strings.IndexByte(s.path[pos:], '/')
	if end < 0 {
		end = len(s.path)
	} else {
		end += pos
	}
	segment := s.path[pos:end]
	if next := n.literal(segment); next != nil && s.walk(next, end+1) {
		return true
	}
	if n.param != nil && segment != "" && s.walk(n.param, end+1) {
		return true
	}
	return s.collect(n.rest)
}

// literal returns the child for an escaped segment, compared decoded.
func (n *node) literal(segment string) *node {
	if strings.IndexByte(segment, '%') < 0 {
		return n.literals.get(segment)
	}
	var buf [maxSegment]byte
	if decoded, ok := decodeSegment(segment, &buf); ok {
		// Not through get, which would make the conversion allocate.
		if n.literals.many != nil {
			return n.literals.many[string(decoded)]
		}
		for i := range n.literals.few {
			if n.literals.few[i].text == string(decoded) {
				return n.literals.few[i].node
			}
		}
	}
	return nil
}

// collect takes the leaf's routes that match method and header as candidates,
// and reports whether the last of them is open to everybody. While there is
// none, it notes the methods that would have matched.
func (s *search) collect(l *leaf) (done bool) {
	if l == nil {
		return false
	}
	routes := l.others
	for i := range l.named {
		if l.named[i].method == s.method {
			routes = l.named[i].routes
			break
		}
	}
	for _, rt := range routes {
		if len(rt.headers) > 0 && !rt.headersMatch(s.header) {
			continue
		}
		s.m.candidates = append(s.m.candidates, rt.index)
		if rt.tenants == nil && rt.tiers == nil {
			return true
		}
	}
	if len(s.m.candidates) == 0 {
		s.allow(l)
	}
	return false
}

// allow notes the methods for which the leaf has a route with this header.
func (s *search) allow(l *leaf) {
	for i := range l.named {
		method := l.named[i].method
		if slices.Contains(s.m.allow, method) {
			continue
		}
		if slices.ContainsFunc(l.named[i].routes, func(rt *route) bool { return rt.headersMatch(s.header) }) {
			s.m.allow = append(s.m.allow, method)
		}
	}
}

package router

import (
	"slices"
	"strings"
)

// Match holds the answer of [Router.Match]. The zero value is ready; reusing
// one spares allocations. Slices that its methods return are valid until the
// next call of Router.Match with it.
type Match struct {
	router     *Router
	path       string
	candidates []int    // best first
	allow      []string // methods of the routes that refused this one; each once
	selected   int      // what Select found last, else -1
	params     [maxParams]Param
}

// Param is a part of the path that a pattern names.
type Param struct {
	Name  string // of {name}; "*" for what a closing * stands for
	Value string // as in the path, still percent-encoded
}

// Candidates returns the indexes of all routes that could still answer, best
// first. Only the last may be open to every caller; the others name tenants or
// tiers. The caller must not change the slice.
func (m *Match) Candidates() []int { return m.candidates }

// Select returns the best candidate for a caller, whose tenant and tier are
// empty when unknown. ok is false when no candidate is meant for the caller.
func (m *Match) Select(tenant, tier string) (index int, ok bool) {
	for _, i := range m.candidates {
		if m.router.routes[i].serves(tenant, tier) {
			m.selected = i
			return i, true
		}
	}
	m.selected = -1
	return -1, false
}

// Params returns the path parameters of the route that Select found, in the
// order of its pattern; none before.
func (m *Match) Params() []Param {
	if m.router == nil || m.selected < 0 {
		return nil
	}
	pattern := &m.router.routes[m.selected].path
	params, rest := m.params[:0], m.path[1:]
	for _, seg := range pattern.segments {
		var value string
		value, rest, _ = strings.Cut(rest, "/")
		if seg.kind == paramSegment {
			params = append(params, Param{seg.text, value})
		}
	}
	if pattern.rest {
		params = append(params, Param{"*", rest})
	}
	return params
}

// Param returns the value of one path parameter of the selected route.
func (m *Match) Param(name string) (value string, ok bool) {
	for _, p := range m.Params() {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

// Allow returns the value of the Allow field after MethodNotAllowed (RFC 9110
// §15.5.6): the methods that routes for this host, path and header do serve,
// sorted; empty after other outcomes.
func (m *Match) Allow() string {
	if len(m.candidates) > 0 {
		return ""
	}
	slices.Sort(m.allow)
	return strings.Join(m.allow, ", ")
}

// Reset drops what the Match refers to, so that a pooled one keeps neither a
// request's path nor a retired Router alive. It keeps its memory.
func (m *Match) Reset() {
	clear(m.allow)
	clear(m.params[:])
	*m = Match{candidates: m.candidates[:0], allow: m.allow[:0], selected: -1}
}

package router

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
)

const (
	// maxHost is the longest name that DNS can hold, in bytes (RFC 1035
	// §2.3.4); a longer Host matches only routes for any.
	maxHost = 253
	// maxSegments bounds the depth of a tree, and with it the recursion.
	maxSegments = 64
	// maxSegment bounds a decoded literal segment, in bytes, so that a request's
	// segment can be decoded on the stack.
	maxSegment = 256
	// maxParams bounds the parameters of one pattern, with the closing *.
	maxParams = 16
)

type hostPattern struct {
	name     string // lower case; empty for any
	wildcard bool   // every name below it
}

type pathPattern struct {
	segments []segment
	rest     bool // ends with *
}

type segment struct {
	kind segmentKind
	text string // decoded literal, or name of the parameter
}

type segmentKind uint8

const (
	literalSegment segmentKind = iota
	paramSegment
)

// parseRoute checks a spec and returns all its faults.
func parseRoute(index int, s *Spec) (_ *route, faults []error) {
	fault := func(field string, err error) {
		if err != nil {
			faults = append(faults, &SpecError{Index: index, Field: field, Err: err})
		}
	}
	rt := &route{index: index}
	var err error
	rt.host, err = parseHost(s.Host)
	fault("host", err)
	rt.path, err = parsePath(s.Path)
	fault("path", err)
	rt.methods, err = parseMethods(s.Methods)
	fault("methods", err)
	rt.headers, err = parseHeaders(s.Headers)
	fault("headers", err)
	rt.tenants, err = parseNames(s.Tenants)
	fault("tenants", err)
	rt.tiers, err = parseNames(s.Tiers)
	fault("tiers", err)
	return rt, faults
}

func parseHost(host string) (hostPattern, error) {
	if host == "" || host == "*" {
		return hostPattern{}, nil
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		addr, err := netip.ParseAddr(host[1 : len(host)-1])
		if err != nil {
			return hostPattern{}, fmt.Errorf("%q is no IPv6 address", host)
		}
		return hostPattern{name: addr.String()}, nil
	}
	name, wildcard := strings.CutPrefix(host, "*.")
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	switch {
	case strings.ContainsRune(name, '*'):
		return hostPattern{}, fmt.Errorf("%q: * may only be the first label, as in *.example.com", host)
	case strings.ContainsRune(name, ':'):
		return hostPattern{}, fmt.Errorf("%q: a host without port; every port matches", host)
	case len(name) > maxHost:
		return hostPattern{}, fmt.Errorf("%q: longer than %d bytes", host, maxHost)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return hostPattern{}, fmt.Errorf("%q is no host name: labels of letters, digits, - and _, with international names in their xn-- form", host)
		}
	}
	return hostPattern{name: name, wildcard: wildcard}, nil
}

// canonicalHost writes the name in a Host field to buf as hostPattern holds
// it: lower case, without port, brackets and closing dot. It returns nothing
// for a value that no pattern can match.
func canonicalHost(host string, buf *[maxHost]byte) []byte {
	if host == "" {
		return nil
	}
	if host[0] == '[' {
		end := strings.IndexByte(host, ']')
		if end < 0 || len(host) > end+1 && host[end+1] != ':' {
			return nil
		}
		host = host[1:end]
	} else {
		if colon := strings.IndexByte(host, ':'); colon >= 0 {
			host = host[:colon]
		}
		host = strings.TrimSuffix(host, ".")
	}
	if len(host) > maxHost {
		return nil
	}
	for i := range len(host) {
		c := host[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	return buf[:len(host)]
}

func parsePath(path string) (pathPattern, error) {
	var p pathPattern
	if !strings.HasPrefix(path, "/") {
		return p, fmt.Errorf("%q does not begin with /", path)
	}
	texts := strings.Split(path[1:], "/")
	if len(texts) > maxSegments {
		return p, fmt.Errorf("more than %d segments", maxSegments)
	}
	params := 0
	for i, text := range texts {
		last := i == len(texts)-1
		if text == "*" {
			if !last {
				return p, fmt.Errorf("%q: * may only be the last segment; {name} stands for a single one", path)
			}
			p.rest = true
			params++
			break
		}
		seg, err := parseSegment(text, last)
		if err != nil {
			return p, fmt.Errorf("%q: %w", path, err)
		}
		if seg.kind == paramSegment {
			params++
			if slices.Contains(p.segments, seg) {
				return p, fmt.Errorf("%q: {%s} twice", path, seg.text)
			}
		}
		p.segments = append(p.segments, seg)
	}
	if params > maxParams {
		return p, fmt.Errorf("%q: more than %d parameters", path, maxParams)
	}
	return p, nil
}

func parseSegment(text string, last bool) (segment, error) {
	if inner, ok := strings.CutPrefix(text, "{"); ok {
		name, ok := strings.CutSuffix(inner, "}")
		if !ok || !isIdentifier(name) {
			return segment{}, fmt.Errorf("segment %q is no parameter: {name} of letters, digits and _", text)
		}
		return segment{paramSegment, name}, nil
	}
	var buf [maxSegment]byte
	decoded, ok := decodeSegment(text, &buf)
	switch {
	case len(text) > maxSegment:
		return segment{}, fmt.Errorf("a segment is longer than %d bytes", maxSegment)
	case !ok:
		return segment{}, fmt.Errorf("segment %q: %w", text, ErrMalformedEscape)
	case strings.ContainsAny(text, "*{}"):
		return segment{}, fmt.Errorf("segment %q: * and {name} stand for whole segments; write %%2A, %%7B, %%7D for the characters", text)
	case strings.ContainsAny(text, "?#\\"):
		return segment{}, fmt.Errorf("segment %q: a pattern has neither query, fragment nor backslash", text)
	case text == "" && !last:
		return segment{}, errors.New("empty segment; requests have none but the last")
	case string(decoded) == "." || string(decoded) == "..":
		return segment{}, fmt.Errorf("segment %q: requests have no dot segments", text)
	case slices.ContainsFunc(decoded, isControl):
		return segment{}, fmt.Errorf("segment %q: %w", text, ErrControlCharacter)
	}
	return segment{literalSegment, string(decoded)}, nil
}

func isIdentifier(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

func parseMethods(methods []string) ([]string, error) {
	if len(methods) == 0 {
		return nil, nil
	}
	for _, m := range methods {
		if !isToken(m) {
			return nil, fmt.Errorf("%q is no method", m)
		}
		if upper := strings.ToUpper(m); upper != m && slices.Contains(standardMethods, upper) {
			return nil, fmt.Errorf("%q: methods are told apart by case; write %s", m, upper)
		}
	}
	methods = slices.Clone(methods)
	slices.Sort(methods)
	return slices.Compact(methods), nil
}

var standardMethods = []string{
	http.MethodConnect, http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions,
	http.MethodPatch, http.MethodPost, http.MethodPut, http.MethodTrace,
}

func parseHeaders(headers map[string]string) ([]headerMatcher, error) {
	var matchers []headerMatcher
	for name, value := range headers {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case !isToken(name):
			return nil, fmt.Errorf("%q is no field name", name)
		case canonical == "Host":
			return nil, errors.New("the Host field is matched by host")
		case slices.ContainsFunc(matchers, func(hm headerMatcher) bool { return hm.name == canonical }):
			return nil, fmt.Errorf("%q twice", canonical)
		}
		matchers = append(matchers, headerMatcher{canonical, value, value == "*"})
	}
	slices.SortFunc(matchers, func(a, b headerMatcher) int { return cmp.Compare(a.name, b.name) })
	return matchers, nil
}

func parseNames(names []string) (map[string]struct{}, error) {
	if len(names) == 0 {
		return nil, nil
	}
	set := make(map[string]struct{}, len(names))
	for _, name := range names {
		if name == "" {
			return nil, errors.New("empty name")
		}
		set[name] = struct{}{}
	}
	return set, nil
}

// isToken reports whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		alphanumeric := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alphanumeric && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

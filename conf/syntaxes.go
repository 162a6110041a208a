package conf

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Texts with a syntax of their own. Each check returns nil, or what is wrong and
// what would be right, without quoting the text: the caller does, if it may.

// hostPort splits an address to listen on or to call. A listener may leave the
// host empty.
func hostPort(address string) (host string, port int, err *valueError) {
	wrong := func(message string) (string, int, *valueError) {
		return "", 0, &valueError{message, "write host:port, such as :8080, 127.0.0.1:8080 or [::1]:8080"}
	}
	if strings.Contains(address, "://") {
		return wrong("is a URL, not an address")
	}
	colon := strings.LastIndexByte(address, ':')
	if colon < 0 {
		return wrong("has no port")
	}
	host, digits := address[:colon], address[colon+1:]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
			return wrong("has no IPv6 address in its brackets")
		}
	} else if strings.Contains(host, ":") {
		return wrong("needs brackets around its IPv6 address")
	} else if host != "" && !validHost(host) {
		return wrong("has no host name or address before the port")
	}
	n, convErr := strconv.ParseUint(digits, 10, 16)
	if convErr != nil {
		return wrong("has no port number from 0 to 65535")
	}
	return host, int(n), nil
}

// validHost reports whether host is an IPv4 or IPv6 address or a host name
// (RFC 1123 §2.1, with the underscores that service names in clusters have).
func validHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	if len(host) > 253 {
		return false
	}
	numeric := true
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '-' || c == '_'
			if !letter && (c < '0' || c > '9') {
				return false
			}
			numeric = numeric && !letter
		}
	}
	return !numeric // 10.0.0.300 is a mistyped address, not a name
}

// webURL parses an absolute URL of one of the schemes. A file URL has no host,
// every other one has.
func webURL(text string, schemes ...string) (*url.URL, *valueError) {
	example := "write it as " + schemes[0] + "://host/…"
	u, err := url.Parse(text)
	if err != nil || strings.ContainsAny(text, " \t") {
		return nil, &valueError{"is not a URL", example}
	}
	known := false
	for _, s := range schemes {
		known = known || u.Scheme == s
	}
	switch {
	case u.Scheme == "" || u.Opaque != "":
		return nil, &valueError{"is not an absolute URL", example}
	case !known:
		return nil, &valueError{"has a scheme other than " + strings.Join(schemes, ", "), example}
	case u.Scheme == "file" && (u.Host != "" || u.Path == ""):
		return nil, &valueError{"is not a URL of a local file", "write file:///path, with three slashes"}
	case u.Scheme != "file" && !validHost(u.Hostname()):
		return nil, &valueError{"has no valid host", example}
	}
	if port := u.Port(); u.Scheme != "file" && (port != "" || strings.HasSuffix(u.Host, ":")) {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, &valueError{"has no valid port", "write a port from 1 to 65535, or none"}
		}
	}
	return u, nil
}

// token reports whether s is a token of RFC 9110 §5.6.2: a field name or a method.
func token(s string) bool {
	for _, c := range []byte(s) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || '0' <= c && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// fieldValue reports whether s may be the value of a header (RFC 9110 §5.5).
func fieldValue(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return strings.Trim(s, " \t") == s
}

// The bounds of a path pattern, which are the router's.
const (
	maxSegments = 64
	maxSegment  = 256
	maxParams   = 16
)

// pathPattern checks the path of a route: /exact, /prefix/* or with {segments}.
func pathPattern(path string) *valueError {
	if !strings.HasPrefix(path, "/") {
		return &valueError{"does not begin with a slash", "write /path from the root"}
	}
	if strings.ContainsAny(path, "?#") {
		return &valueError{"holds a query or a fragment", "write the path alone; both are no part of it"}
	}
	for _, c := range []byte(path) {
		if c <= ' ' || c == 0x7f || c == '\\' {
			return &valueError{"holds a character that no path has", "write it as it stands in a URL"}
		}
	}
	names := map[string]bool{}
	segments := strings.Split(path[1:], "/")
	if len(segments) > maxSegments {
		return &valueError{fmt.Sprintf("has more than %d segments", maxSegments), "write /prefix/* for everything below"}
	}
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == "" && !last:
			return &valueError{"has an empty segment", "write one slash instead of two"}
		case s == "." || s == "..":
			return &valueError{"has a dot segment", "write the path that it leads to"}
		case s == "*" && last:
		case strings.Contains(s, "*"):
			return &valueError{"has a * that is not its last segment", "write /prefix/* for everything below, or {name} for one segment"}
		case strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}"):
			name := s[1 : len(s)-1]
			if !variableName(name) {
				return &valueError{"has a segment without a proper name", "write letters, digits and _ in the braces, such as {id}"}
			}
			if names[name] {
				return &valueError{"names a segment twice", "give each segment its own name"}
			}
			if names[name] = true; len(names) > maxParams {
				return &valueError{fmt.Sprintf("has more than %d {segments}", maxParams), "write /prefix/* for everything below"}
			}
		case strings.ContainsAny(s, "{}"):
			return &valueError{"has braces that are no whole segment", "write /{name}/ between two slashes"}
		default:
			if decoded, err := url.PathUnescape(s); err != nil {
				return &valueError{"has a % that begins no escape", "write %25 for the character"}
			} else if decoded == "." || decoded == ".." {
				return &valueError{"has a dot segment", "write the path that it leads to"}
			} else if len(s) > maxSegment {
				return &valueError{fmt.Sprintf("has a segment longer than %d bytes", maxSegment), "shorten it"}
			}
		}
	}
	return nil
}

// hostPattern checks the host of a route: a name, or *.name.
func hostPattern(host string) *valueError {
	name := strings.TrimPrefix(host, "*.")
	if bare, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(bare, "]") {
		if a, err := netip.ParseAddr(bare[:len(bare)-1]); err == nil && a.Is6() {
			return nil
		}
	}
	switch {
	case host == "*":
		return nil
	case strings.Contains(name, "*"):
		return &valueError{"has a * that is not its first label", "write *.example.com for every name below example.com"}
	case strings.Contains(host, "/"):
		return &valueError{"is not a host name", "write it without scheme and path, such as api.example.com"}
	case strings.Contains(host, ":") && !validHost(host):
		return &valueError{"has a port", "write the host alone; routes hold on every port"}
	case !validHost(name), strings.HasSuffix(name, "."):
		return &valueError{"is not a host name", "write it as api.example.com or *.example.com"}
	case strings.ToLower(host) != host:
		return &valueError{"has capital letters", "write it in small letters"}
	}
	return nil
}

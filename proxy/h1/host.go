package h1

import "strings"

// ValidHost reports whether s can name the host of a request: a DNS name, an IPv4
// address or an IPv6 address in brackets, and perhaps a port (RFC 9110 §7.2).
//
// Stricter than the grammar of RFC 3986, which allows percent-encoding and
// sub-delims in names, zone ids and an empty port: no such host is served, and
// each is a way for two readers to see two hosts.
func ValidHost(s string) bool {
	host, port := s, ""
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 || !validIPv6(s[1:end]) {
			return false
		}
		if rest := s[end+1:]; rest != "" {
			return rest[0] == ':' && validPort(rest[1:])
		}
		return true
	}
	if colon := strings.IndexByte(s, ':'); colon >= 0 {
		host, port = s[:colon], s[colon+1:]
		if !validPort(port) {
			return false
		}
	}
	return len(host) > 0 && len(host) <= 255 && allOf(host, classHost)
}

// validIPv6 checks the letters and the number of colons, not the address: what
// matters here is that nothing else hides between the brackets.
func validIPv6(s string) bool {
	colons := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == ':':
			colons++
		case c != '.' && classes[c]&classHex == 0:
			return false
		}
	}
	return colons >= 2 && colons <= 7 && len(s) <= 45
}

func validPort(s string) bool {
	if len(s) == 0 || len(s) > 5 || !allOf(s, classDigit) {
		return false
	}
	n := 0
	for i := range len(s) {
		n = n*10 + int(s[i]-'0')
	}
	return n <= 65535
}

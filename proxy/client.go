package proxy

import (
	"net/http"
	"net/netip"
	"strings"

	"sluice/internal/netset"
)

// origin is where a request came from, after looking through trusted proxies.
type origin struct {
	peer    netip.Addr // other end of the connection
	client  netip.Addr // first address that no trusted proxy vouches past; the peer when nobody is trusted
	trusted bool       // the peer is a trusted proxy, so its forwarding headers hold
	scheme  string     // http or https, as the client spoke it
	host    string     // Host as the client sent it
}

// resolveOrigin finds the client of r. Forwarding headers count only when the
// peer is trusted, and then only as far as trusted hops reach: the list is read
// from its end, and the first address outside the trusted netset.Set is the
// client, because what stands before it is that client's own word (RFC 7239 §8.1).
// X-Forwarded-For is preferred to Forwarded when a proxy sent both.
func resolveOrigin(r *http.Request, peer netip.Addr, trusted netset.Set) origin {
	o := origin{peer: peer, client: peer, scheme: "http", host: r.Host}
	if r.TLS != nil {
		o.scheme = "https"
	}
	if !trusted.Contains(peer) {
		return o
	}
	o.trusted = true
	if list := r.Header["X-Forwarded-For"]; len(list) > 0 {
		o.client = lastUntrusted(list, peer, trusted, parseHop)
	} else if list := r.Header["Forwarded"]; len(list) > 0 {
		o.client = lastUntrusted(list, peer, trusted, forwardedFor)
	}
	if proto := lastElement(r.Header["X-Forwarded-Proto"]); proto == "http" || proto == "https" {
		o.scheme = proto
	}
	if host := lastElement(r.Header["X-Forwarded-Host"]); validHost(host) {
		o.host = host
	}
	return o
}

// lastUntrusted walks the hops of a list header from the nearest to the
// farthest. A hop that cannot be read ends the walk: what lies beyond is not
// vouched for.
func lastUntrusted(list []string, peer netip.Addr, trusted netset.Set, parse func(string) (netip.Addr, bool)) netip.Addr {
	client := peer
	for i := len(list) - 1; i >= 0; i-- {
		rest := list[i]
		for rest != "" {
			var hop string
			if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
				rest, hop = rest[:comma], rest[comma+1:]
			} else {
				rest, hop = "", rest
			}
			addr, ok := parse(strings.TrimSpace(hop))
			if !ok {
				return client
			}
			client = addr
			if !trusted.Contains(addr) {
				return client
			}
		}
	}
	return client
}

// parseHop reads one X-Forwarded-For element: an address, with or without a
// port, brackets or zone.
func parseHop(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	a, err := netip.ParseAddr(s)
	return a.Unmap().WithZone(""), err == nil
}

// forwardedFor reads the for parameter of one Forwarded element (RFC 7239 §4).
// Obfuscated and unknown identifiers are not addresses.
func forwardedFor(element string) (netip.Addr, bool) {
	for element != "" {
		var pair string
		pair, element, _ = strings.Cut(element, ";")
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if strings.EqualFold(name, "for") {
			return parseHop(strings.Trim(value, `"`))
		}
	}
	return netip.Addr{}, false
}

// lastElement returns the last element of a list header: the word of the
// nearest proxy, which is the one that is trusted.
func lastElement(list []string) string {
	if len(list) == 0 {
		return ""
	}
	s := list[len(list)-1]
	if comma := strings.LastIndexByte(s, ','); comma >= 0 {
		s = s[comma+1:]
	}
	return strings.TrimSpace(s)
}

// validHost reports whether s can stand in a Host field: no space, no
// separator, nothing that ends a header or a URL's authority.
func validHost(s string) bool {
	if s == "" || len(s) > 255+6 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '-', c == '_', c == ':', c == '[', c == ']':
		default:
			return false
		}
	}
	return true
}

// appendForwarded renders this hop for the Forwarded field (RFC 7239 §4):
// what a proxy saw, in its own words.
func appendForwarded(b []byte, peer netip.Addr, host, scheme string) []byte {
	b = append(b, "for="...)
	if peer.Is4() {
		b = peer.AppendTo(b)
	} else {
		b = append(b, `"[`...)
		b = peer.AppendTo(b)
		b = append(b, `]"`...)
	}
	b = append(b, `;host="`...)
	b = append(b, host...)
	b = append(b, `";proto=`...)
	return append(b, scheme...)
}

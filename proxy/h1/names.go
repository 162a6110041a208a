package h1

// Known is a set of field names that mean something to HTTP/1.1 itself.
type Known uint64

// The names that parsing takes note of, so that nobody looks them up in vain.
const (
	KnownHost Known = 1 << iota
	KnownContentLength
	KnownTransferEncoding
	KnownConnection
	KnownKeepAlive
	KnownProxyConnection
	KnownTE
	KnownTrailer
	KnownUpgrade
	KnownExpect
	KnownProxyAuthenticate
	KnownProxyAuthorization
	KnownPragma
	KnownDate
)

// HopByHop are the fields for the next hop alone (RFC 9110 §7.6.1), as far as
// they are known by name: what Connection nominates comes on top.
const HopByHop = KnownTransferEncoding | KnownConnection | KnownKeepAlive | KnownProxyConnection |
	KnownTE | KnownTrailer | KnownUpgrade | KnownProxyAuthenticate | KnownProxyAuthorization

// names are the interned names in canonical form. The first ones are in the
// order of the constants above; the place of each is its bit in a Known.
var names = [...]string{
	"Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Proxy-Connection", "Te",
	"Trailer", "Upgrade", "Expect", "Proxy-Authenticate", "Proxy-Authorization", "Pragma", "Date",

	"Accept", "Accept-Encoding", "Accept-Language", "Accept-Ranges", "Access-Control-Allow-Origin",
	"Access-Control-Request-Headers", "Access-Control-Request-Method", "Age", "Authorization",
	"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Range",
	"Content-Security-Policy", "Content-Type", "Cookie", "Etag", "Expires", "Forwarded", "If-Match",
	"If-Modified-Since", "If-None-Match", "Last-Modified", "Link", "Location", "Origin", "Priority",
	"Range", "Referer", "Retry-After", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site",
	"Sec-Websocket-Key", "Sec-Websocket-Version", "Server", "Set-Cookie", "Strict-Transport-Security",
	"Traceparent", "Tracestate", "User-Agent", "Vary", "Www-Authenticate", "X-Content-Type-Options",
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Id", "X-Tenant-Id",
}

// A Known has a bit for each name.
const _ = uint(64 - len(names))

const nameSlots = 512 // at most an eighth is taken, so that most looks are one comparison

// nameTable finds a name by its hash; the next slot is tried when one is taken.
// An entry is the place in names plus one; 0 is an empty slot.
var nameTable = func() (t [nameSlots]uint8) {
	for i, name := range names {
		slot := nameHash([]byte(name))
		for t[slot] != 0 {
			slot = (slot + 1) % nameSlots
		}
		t[slot] = uint8(i + 1)
	}
	return t
}()

// lowerNames are the names as HTTP/2 gateways and many libraries spell them.
var lowerNames = func() (l [len(names)]string) {
	for i, name := range names {
		b := []byte(name)
		for j := range b {
			b[j] = lowerASCII(b[j])
		}
		l[i] = string(b)
	}
	return l
}()

// nameHash mixes the length and three letters, whatever their case. b is not empty.
func nameHash(b []byte) uint {
	n := uint(len(b))
	return (n*37 + uint(b[0]|0x20)*7 + uint(b[n/2]|0x20)*61 + uint(b[n-1]|0x20)*131) % nameSlots
}

// lookup finds an interned name that is spelt canonically or in lower case.
// It returns the place in names, or -1.
func lookup(b []byte) int {
	for slot := nameHash(b); nameTable[slot] != 0; slot = (slot + 1) % nameSlots {
		if i := int(nameTable[slot]) - 1; string(b) == names[i] || string(b) == lowerNames[i] {
			return i
		}
	}
	return -1
}

// canonicalise brings the name b into canonical form where it stands: a letter
// that begins a word between hyphens is in upper case, every other in lower.
// It reports whether b is a field name (RFC 9110 §5.1: a token), and whether it changed.
func canonicalise(b []byte) (valid, changed bool) {
	upper := true
	for i, c := range b {
		if classes[c]&classToken == 0 {
			return false, changed
		}
		if letter := c | 0x20; 'a' <= letter && letter <= 'z' {
			want := letter
			if upper {
				want = letter &^ 0x20
			}
			if c != want {
				b[i], changed = want, true
			}
		}
		upper = c == '-'
	}
	return len(b) > 0, changed
}

// CanonicalName returns the name as it is in an [net/http.Header], from the
// interned table when it is a common one. A name that is no token is returned as it is.
func CanonicalName(name []byte) string {
	if len(name) == 0 {
		return ""
	}
	if i := lookup(name); i >= 0 {
		return names[i]
	}
	b := append(make([]byte, 0, 64), name...)
	if valid, _ := canonicalise(b); !valid {
		return string(name)
	}
	if i := lookup(b); i >= 0 {
		return names[i]
	}
	return string(b)
}

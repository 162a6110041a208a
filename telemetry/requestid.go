package telemetry

import (
	"math/rand/v2"
	"time"
)

// crockford is the alphabet of ULIDs: digits and letters in ASCII order,
// without I, L, O and U.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// requestIDLen is 10 characters of time and 16 of randomness, 5 bits each.
const requestIDLen = 26

// NewRequestID returns an id for a request that came at now: a ULID, whose
// text sorts by time to the millisecond. Two ids of one millisecond are equal
// with probability 2⁻⁸⁰. It makes one allocation, the string.
func NewRequestID(now time.Time) string {
	var b [requestIDLen]byte
	return string(AppendRequestID(b[:0], now))
}

// AppendRequestID appends what NewRequestID would return. It allocates nothing
// when dst has room.
func AppendRequestID(dst []byte, now time.Time) []byte {
	ms := uint64(now.UnixMilli())
	for shift := 45; shift >= 0; shift -= 5 {
		dst = append(dst, crockford[ms>>shift&31])
	}
	for range 2 { // 8 characters of 5 bits from each number
		r := rand.Uint64()
		for range 8 {
			dst = append(dst, crockford[r&31])
			r >>= 5
		}
	}
	return dst
}

// maxRequestID is the longest id taken from a client.
const maxRequestID = 128

// ValidRequestID reports whether an id that a client sent is kept: 1 to 128
// letters, digits or any of . _ : ~ + / = -. That admits UUIDs, ULIDs, base64
// and the ids of the common proxies, and nothing that a log, a header or a
// shell would read as more than a word.
func ValidRequestID(s string) bool {
	if len(s) == 0 || len(s) > maxRequestID {
		return false
	}
	for i := range len(s) {
		if !requestIDByte[s[i]] {
			return false
		}
	}
	return true
}

var requestIDByte = func() (t [256]bool) {
	for _, b := range []byte("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._:~+/=-") {
		t[b] = true
	}
	return t
}()

package h1

import "encoding/binary"

// Classes of bytes, one bit each.
const (
	classToken  = 1 << iota // tchar, RFC 9110 §5.6.2
	classTarget             // may stand in a request target
	classHost               // may stand in a host name
	classDigit
	classHex
)

// classes is the table of what each byte may be part of.
var classes = func() (t [256]uint8) {
	set := func(class uint8, chars string) {
		for i := range len(chars) {
			t[chars[i]] |= class
		}
	}
	const (
		digits = "0123456789"
		upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		lower  = "abcdefghijklmnopqrstuvwxyz"
	)
	set(classToken, "!#$%&'*+-.^_`|~"+digits+upper+lower)
	set(classHost, "-._~"+digits+upper+lower)
	set(classDigit, digits)
	set(classHex, digits+"abcdefABCDEF")
	// Visible ASCII but #, which begins a fragment: that is never sent (RFC 9112 §3.2),
	// and whoever splits at it sees another path than whoever does not.
	// Wider than RFC 3986, which also forbids "<>\^`{|}: browsers send some of them.
	for c := '!'; c <= '~'; c++ {
		if c != '#' {
			t[c] |= classTarget
		}
	}
	return t
}()

// allOf reports whether every byte of s is of the class.
func allOf[S string | []byte](s S, class uint8) bool {
	for i := range len(s) {
		if classes[s[i]]&class == 0 {
			return false
		}
	}
	return true
}

// isToken reports whether s is a token (RFC 9110 §5.6.2): not empty, tchars only.
func isToken[S string | []byte](s S) bool { return len(s) > 0 && allOf(s, classToken) }

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// validValue reports whether b may be a field value (RFC 9110 §5.5): visible
// characters, SP, HTAB and obs-text; no other control character, no DEL.
//
// Eight bytes are looked at together: a bearer token is 600 bytes long, and
// one at a time would cost as much as the rest of the head.
func validValue(b []byte) bool {
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ 0x7f*ones
		// A high bit is set where a byte is under 0x20 or is 0x7f. A borrow can
		// raise one more above a true one: never one alone, so a zero is sure.
		if ((x-0x20*ones)&^x|(del-ones)&^del)&highs != 0 && !validBytes(b[:8]) {
			return false
		}
		b = b[8:]
	}
	return validBytes(b)
}

func validBytes(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// trimOWS takes optional whitespace (RFC 9110 §5.6.3) off both ends.
func trimOWS[S string | []byte](s S) S {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// lowerASCII returns c in lower case when it is an ASCII letter.
func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// equalFold compares without regard to the case of ASCII letters. [strings.EqualFold]
// folds Unicode, which would let U+212A (the Kelvin sign) stand for a k.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lowerASCII(a[i]) != lowerASCII(b[i]) {
			return false
		}
	}
	return true
}

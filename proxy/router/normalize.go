package router

import (
	"errors"
	"strings"
)

// Faults that [Normalize] finds. All but ErrEncodedSlash come without a path.
var (
	// ErrEncodedSlash: %2F, %5C or a backslash in a segment. Some upstreams take
	// them for separators and some do not, so that a route's policy could be
	// evaded. The path that comes with it is normal but for that.
	ErrEncodedSlash = errors.New("encoded slash or backslash")
	// ErrHiddenDotSegment: a dot segment that only some upstreams see, behind an
	// encoded slash or before a path parameter (/..;/).
	ErrHiddenDotSegment = errors.New("hidden dot segment")
	// ErrControlCharacter: NUL or another control character, plain or encoded.
	ErrControlCharacter = errors.New("control character")
	// ErrMalformedEscape: % without two hexadecimal digits.
	ErrMalformedEscape = errors.New("malformed percent encoding")
	// ErrNotAbsolute: the path does not begin with a slash, such as OPTIONS *.
	ErrNotAbsolute = errors.New("path does not begin with a slash")
)

// byteClass says what a byte of a raw path means to Normalize.
type byteClass uint8

const (
	encodeByte  byteClass = iota // not allowed in a path (RFC 3986 §3.3): percent-encoded
	plainByte                    // sub-delims, ":" and "@": kept as they are, plain or encoded
	unreserved                   // plain even when it came encoded (RFC 3986 §6.2.2.2)
	controlByte                  // refused
	backslash                    // reported
	percentByte
	slashByte
)

var classes = func() (t [256]byteClass) {
	for c := range 256 {
		switch b := byte(c); {
		case isControl(b):
			t[c] = controlByte
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', strings.IndexByte("-._~", b) >= 0:
			t[c] = unreserved
		case strings.IndexByte("!$&'()*+,;=:@", b) >= 0:
			t[c] = plainByte
		}
	}
	t['\\'], t['%'], t['/'] = backslash, percentByte, slashByte
	return t
}()

func isControl(c byte) bool { return c < 0x20 || c == 0x7f }

// Normalize brings the escaped path of a request to the one form that is used
// for matching and for forwarding, so that sluice and an upstream cannot read
// it differently (RFC 3986 §6.2.2): unreserved characters are decoded, other
// escapes get upper-case digits, bytes that do not belong in a path are
// encoded, dot segments (%2e too) are resolved and repeated slashes merged. An
// empty path becomes "/". Characters that are reserved keep the spelling that
// they came with; the router compares segments decoded.
//
// A path that is normal already is returned as it is, without allocation.
func Normalize(rawPath string) (path string, err error) {
	if rawPath == "" {
		return "/", nil
	}
	if rawPath[0] != '/' {
		return "", ErrNotAbsolute
	}
	if isNormal(rawPath) {
		return rawPath, nil
	}
	return rewrite(rawPath)
}

// isNormal reports whether the path needs neither change nor report. It may
// be too careful, never too generous.
func isNormal(path string) bool {
	for i := 0; i < len(path); i++ {
		switch classes[path[i]] {
		case unreserved, plainByte:
		case slashByte:
			if i+1 == len(path) {
				return true
			}
			switch path[i+1] {
			case '/':
				return false
			case '.':
				if isDots(path[i+1:]) {
					return false
				}
			}
		case percentByte:
			if i+2 >= len(path) {
				return false
			}
			hi, lo := unhex(path[i+1]), unhex(path[i+2])
			if hi > 15 || lo > 15 || path[i+1] >= 'a' || path[i+2] >= 'a' {
				return false
			}
			switch classes[hi<<4|lo] {
			case unreserved, controlByte, backslash, slashByte:
				return false
			}
			i += 2
		default:
			return false
		}
	}
	return true
}

// isDots reports whether the text begins with a segment that is, or that some
// upstream could take for, a dot segment. Every escape counts, because what it
// hides is for rewrite to find out.
func isDots(text string) bool {
	dots := 0
	for dots < len(text) && text[dots] == '.' {
		dots++
	}
	return dots <= 2 && (dots == len(text) || text[dots] == '/' || text[dots] == ';' || text[dots] == '%')
}

// rewrite is Normalize for paths that are not normal.
func rewrite(raw string) (string, error) {
	// Encoding makes a byte three, so nothing grows beyond this, and most paths
	// fit on the stack.
	var stack [512]byte
	out := stack[:0]
	var slash bool
	for pos := 0; pos < len(raw); {
		pos++ // the slash
		end := strings.IndexByte(raw[pos:], '/')
		if end < 0 {
			end = len(raw)
		} else {
			end += pos
		}
		last := end == len(raw)
		start := len(out)
		var report bool
		var err error
		out, report, err = appendSegment(append(out, '/'), raw[pos:end])
		if err != nil {
			return "", err
		}
		pos = end
		segment := out[start+1:]
		switch {
		case string(segment) == ".." || string(segment) == "." || len(segment) == 0:
			if len(segment) == 2 {
				start = parent(out[:start])
			}
			out = out[:start]
			if last {
				out = append(out, '/')
			}
		case (segment[0] == '.' || report) && hidesDots(string(segment), report):
			return "", ErrHiddenDotSegment
		}
		slash = slash || report
	}
	if slash {
		return string(out), ErrEncodedSlash
	}
	return string(out), nil
}

// parent returns the length of the path without its last segment.
func parent(path []byte) int {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '/' {
			return i
		}
	}
	return 0
}

// appendSegment appends a raw segment in its normal form and reports whether
// it has an encoded slash or a backslash.
func appendSegment(out []byte, raw string) (_ []byte, slash bool, err error) {
	const upperHex = "0123456789ABCDEF"
	for i := 0; i < len(raw); i++ {
		c, escaped := raw[i], raw[i] == '%'
		if escaped {
			if i+2 >= len(raw) {
				return nil, false, ErrMalformedEscape
			}
			hi, lo := unhex(raw[i+1]), unhex(raw[i+2])
			if hi > 15 || lo > 15 {
				return nil, false, ErrMalformedEscape
			}
			c = hi<<4 | lo
			i += 2
		}
		class := classes[c]
		switch {
		case class == controlByte:
			return nil, false, ErrControlCharacter
		case class == unreserved, class == plainByte && !escaped:
			out = append(out, c)
			continue
		case class == backslash, class == slashByte:
			slash = true
		}
		out = append(out, '%', upperHex[c>>4], upperHex[c&15])
	}
	return out, slash, nil
}

// hidesDots reports whether a normal segment turns into a dot segment for an
// upstream that drops path parameters before it resolves dots, as servlet
// containers do, or that decodes slashes and backslashes before it splits.
func hidesDots(segment string, slashes bool) bool {
	if slashes {
		segment = strings.ReplaceAll(segment, "%5C", "%2F")
		for part := range strings.SplitSeq(segment, "%2F") {
			if part == "." || part == ".." || hidesDots(part, false) {
				return true
			}
		}
		return false
	}
	rest, ok := strings.CutPrefix(segment, ".")
	rest = strings.TrimPrefix(rest, ".")
	return ok && (strings.HasPrefix(rest, ";") || strings.HasPrefix(rest, "%3B"))
}

// Strip takes as many segments off the front of a normal path as prefix has,
// and returns "/" when nothing is left. It counts segments rather than bytes
// because a pattern's literal matches every spelling of itself: /@me is also
// /%40me. prefix has no closing slash; the path must match a pattern that
// begins with it.
func Strip(path, prefix string) string {
	pos := 0
	for range strings.Count(prefix, "/") {
		next := strings.IndexByte(path[min(pos+1, len(path)):], '/')
		if next < 0 {
			return "/"
		}
		pos += 1 + next
	}
	return path[pos:]
}

// unhex returns the value of a hexadecimal digit, or more than 15.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

// decodeSegment decodes an escaped segment into buf. ok is false when an
// escape is malformed or the text does not fit.
func decodeSegment(segment string, buf *[maxSegment]byte) (decoded []byte, ok bool) {
	n := 0
	for i := 0; i < len(segment); i++ {
		c := segment[i]
		if c == '%' {
			if i+2 >= len(segment) {
				return nil, false
			}
			hi, lo := unhex(segment[i+1]), unhex(segment[i+2])
			if hi > 15 || lo > 15 {
				return nil, false
			}
			c = hi<<4 | lo
			i += 2
		}
		if n == len(buf) {
			return nil, false
		}
		buf[n] = c
		n++
	}
	return buf[:n], true
}

package proof

import (
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"golang.org/x/net/html"
)

// trait is a property of a text that decides whether a transformation can
// change it.
type trait uint32

const (
	hasUpper trait = 1 << iota
	hasSpace       // one of \t \n \v \f \r and space
	hasPercent
	hasPlus
	hasAmp
	hasBackslash
	hasQuote // ' " ^
	hasSlash
	hasParen
	hasComma // , ;
	hasStar
	hasHash
	hasDash
	hasLess
	hasNUL
	hasHigh // a byte outside ASCII
	hasDot
	hasColon
)

// traitOf is the trait of each byte, 0 for those that no transformation minds.
var traitOf = func() (t [256]trait) {
	for c := 'A'; c <= 'Z'; c++ {
		t[c] |= hasUpper
	}
	for c := 0x80; c < 0x100; c++ {
		t[c] |= hasHigh
	}
	for set, f := range map[string]trait{
		"\t\n\v\f\r ": hasSpace, "%": hasPercent, "+": hasPlus, "&": hasAmp, `\`: hasBackslash, `'"^`: hasQuote,
		"/": hasSlash, "(": hasParen, ",;": hasComma, "*": hasStar, "#": hasHash, "-": hasDash, "<": hasLess,
		"\x00": hasNUL, ".": hasDot, ":": hasColon,
	} {
		for i := range len(set) {
			t[set[i]] |= f
		}
	}
	return t
}()

// traitsOf returns the traits of s.
func traitsOf(s string) trait {
	var f trait
	for i := 0; i < len(s); i++ {
		f |= traitOf[s[i]]
	}
	return f
}

// transformation is one of the engine's, written again so that a proof need not
// run the engine. Each gives byte for byte what the engine's gives: a fuzz
// target runs both.
type transformation struct {
	name string
	// minds are the traits without which the result is the text itself; 0: the
	// text always has to be worked on.
	minds trait
	// all demands every trait in minds and not just one.
	all bool
	// apply returns the new text, whose bytes are in b or in s.
	apply func(b []byte, s string) string
}

// transformations by their name in lower case. What is not here is not known,
// and a rule that uses it is not proved.
var transformations = func() map[string]*transformation {
	m := make(map[string]*transformation)
	for _, t := range []*transformation{
		{name: "lowercase", minds: hasUpper | hasHigh, apply: lowerCase},
		{name: "urldecodeuni", minds: hasPercent | hasPlus, apply: urlDecodeUni},
		{name: "urldecode", minds: hasPercent | hasPlus, apply: urlDecode},
		{name: "htmlentitydecode", minds: hasAmp, apply: func(_ []byte, s string) string { return html.UnescapeString(s) }},
		{name: "jsdecode", minds: hasBackslash, apply: jsDecode},
		{name: "cssdecode", minds: hasBackslash, apply: cssDecode},
		{name: "utf8tounicode", minds: hasHigh, apply: utf8ToUnicode},
		{name: "removenulls", minds: hasNUL, apply: func(_ []byte, s string) string { return strings.ReplaceAll(s, "\x00", "") }},
		{name: "cmdline", minds: hasUpper | hasQuote | hasBackslash | hasSpace | hasComma | hasSlash | hasParen, apply: cmdLine},
		{name: "normalizepath", minds: hasSlash | hasDot, apply: normalizePath},
		{name: "normalisepath", minds: hasSlash | hasDot, apply: normalizePath},
		{name: "normalizepathwin", minds: hasSlash | hasBackslash | hasDot | hasColon | hasSpace, apply: normalizePathWin},
		{name: "normalisepathwin", minds: hasSlash | hasBackslash | hasDot | hasColon | hasSpace, apply: normalizePathWin},
		{name: "removewhitespace", minds: hasSpace | hasHigh, apply: removeWhitespace},
		{name: "compresswhitespace", minds: hasSpace | hasHigh, apply: compressWhitespace},
		{name: "replacecomments", minds: hasSlash | hasStar, all: true, apply: replaceComments},
		{name: "removecommentschar", minds: hasSlash | hasStar | hasLess | hasDash | hasHash, apply: removeCommentsChar},
		{name: "base64decode", apply: base64Decode},
		{name: "length", apply: func(_ []byte, s string) string { return strconv.Itoa(len(s)) }},
		{name: "trim", minds: hasSpace, apply: func(_ []byte, s string) string { return strings.Trim(s, asciiSpace) }},
		{name: "trimleft", minds: hasSpace, apply: func(_ []byte, s string) string { return strings.TrimLeft(s, asciiSpace) }},
		{name: "trimright", minds: hasSpace, apply: func(_ []byte, s string) string { return strings.TrimRight(s, asciiSpace) }},
	} {
		m[t.name] = t
	}
	return m
}()

const asciiSpace = " \t\n\r\f\v"

// touches reports whether the transformation can change a text of these traits.
func (t *transformation) touches(f trait) bool {
	switch {
	case t.minds == 0:
		return true
	case t.all:
		return f&t.minds == t.minds
	}
	return f&t.minds != 0
}

// text is b as a string without a copy: b is not written to any more.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func lowerCase(b []byte, s string) string {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= utf8.RuneSelf {
			return strings.ToLower(s)
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return text(b)
}

// hexValue is the value of a hexadecimal digit, 0xff for any other byte.
var hexValue = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range byte(10) {
		t['0'+i] = i
	}
	for i := range byte(6) {
		t['a'+i], t['A'+i] = 10+i, 10+i
	}
	return t
}()

// hexPair returns the byte that two hexadecimal digits at s[i] mean.
func hexPair(s string, i int) (byte, bool) {
	if i+1 >= len(s) {
		return 0, false
	}
	hi, lo := hexValue[s[i]], hexValue[s[i+1]]
	return hi<<4 | lo, hi|lo < 16
}

func urlDecode(b []byte, s string) string {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '+':
			b = append(b, ' ')
		case '%':
			if v, ok := hexPair(s, i+1); ok {
				b = append(b, v)
				i += 2
				continue
			}
			b = append(b, c)
		default:
			b = append(b, c)
		}
	}
	return text(b)
}

// urlDecodeUni knows %uXXXX beside %XX.
func urlDecodeUni(b []byte, s string) string {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			b = append(b, ' ')
		case c != '%':
			b = append(b, c)
		case i+1 < len(s) && (s[i+1] == 'u' || s[i+1] == 'U'):
			hi, ok := hexPair(s, i+2)
			lo, ok2 := hexPair(s, i+4)
			if !ok || !ok2 {
				b = append(b, c, s[i+1])
				i++
				continue
			}
			b = append(b, bestFit()[uint16(hi)<<8|uint16(lo)])
			i += 5
		default:
			if v, ok := hexPair(s, i+1); ok {
				b = append(b, v)
				i += 2
				continue
			}
			b = append(b, c)
		}
	}
	return text(b)
}

// bestFit is the byte that the engine makes of each %uXXXX. It is asked for
// once: the table is the engine's own, and so cannot differ from it.
var bestFit = sync.OnceValue(func() *[1 << 16]byte {
	var in strings.Builder
	for r := range 1 << 16 {
		in.WriteString("%u")
		for shift := 12; shift >= 0; shift -= 4 {
			in.WriteByte("0123456789abcdef"[r>>shift&15])
		}
	}
	out := oracle([]string{"urlDecodeUni"}, in.String())
	if len(out) != 1<<16 {
		panic("BUG: the engine decodes %u escapes to something else than one byte each")
	}
	return (*[1 << 16]byte)([]byte(out))
})

func utf8ToUnicode(b []byte, s string) string {
	for _, r := range s {
		if r < utf8.RuneSelf {
			b = append(b, byte(r))
			continue
		}
		b = append(b, '%', 'u')
		for limit := rune(0x1000); r < limit; limit >>= 4 {
			b = append(b, '0')
		}
		b = strconv.AppendUint(b, uint64(r), 16)
	}
	return text(b)
}

// jsDecode resolves the escapes of JavaScript strings.
func jsDecode(b []byte, s string) string {
	for i := 0; i < len(s); {
		c := s[i]
		if c != '\\' || i+1 >= len(s) {
			b = append(b, c)
			i++
			continue
		}
		e := s[i+1]
		if e == 'u' && i+2 < len(s) && s[i+2] == '{' {
			j := i + 3
			code := uint32(0)
			for ; j < len(s) && j < i+9 && hexValue[s[j]] < 16; j++ {
				code = code<<4 | uint32(hexValue[s[j]])
			}
			if j > i+3 && j < len(s) && s[j] == '}' {
				v := byte(code)
				if code >= 0xff01 && code <= 0xff5e {
					v += 0x20
				}
				b = append(b, v)
				i = j + 1
				continue
			}
		}
		if e == 'u' {
			hi, ok := hexPair(s, i+2)
			lo, ok2 := hexPair(s, i+4)
			if ok && ok2 {
				if hi == 0xff && lo > 0 && lo < 0x5f {
					lo += 0x20
				}
				b = append(b, lo)
				i += 6
				continue
			}
		}
		if e == 'x' {
			if v, ok := hexPair(s, i+2); ok {
				b = append(b, v)
				i += 4
				continue
			}
		}
		if '0' <= e && e <= '7' {
			v, j := int(e-'0'), 1
			for ; j < 3 && i+1+j < len(s) && '0' <= s[i+1+j] && s[i+1+j] <= '7' && v<<3|int(s[i+1+j]-'0') < 256; j++ {
				v = v<<3 | int(s[i+1+j]-'0')
			}
			b = append(b, byte(v))
			i += 1 + j
			continue
		}
		switch e {
		case 'a':
			e = '\a'
		case 'b':
			e = '\b'
		case 'f':
			e = '\f'
		case 'n':
			e = '\n'
		case 'r':
			e = '\r'
		case 't':
			e = '\t'
		case 'v':
			e = '\v'
		}
		b = append(b, e)
		i += 2
	}
	return text(b)
}

// cssDecode resolves the escapes of CSS.
func cssDecode(b []byte, s string) string {
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			b = append(b, s[i])
			i++
			continue
		}
		if i++; i == len(s) {
			break
		}
		j, code := i, rune(0)
		for ; j < len(s) && j < i+6 && hexValue[s[j]] < 16; j++ {
			code = code<<4 | rune(hexValue[s[j]])
		}
		switch {
		case j > i:
			if code == 0 {
				code = utf8.RuneError
			}
			if code >= 0xff01 && code <= 0xff5e {
				code -= 0xfee0
			}
			b = utf8.AppendRune(b, code)
			if j < len(s) && strings.IndexByte(asciiSpace, s[j]) >= 0 {
				j++
			}
			i = j
		case s[i] == '\n':
			i++
		default:
			b = append(b, s[i])
			i++
		}
	}
	return text(b)
}

// cmdLine undoes what shells ignore.
func cmdLine(b []byte, s string) string {
	space := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case '"', '\'', '\\', '^':
		case ' ', ',', ';', '\t', '\r', '\n':
			if !space {
				b = append(b, ' ')
				space = true
			}
		case '/', '(':
			if space {
				b = b[:len(b)-1]
			}
			space = false
			b = append(b, c)
		default:
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			b = append(b, c)
			space = false
		}
	}
	return text(b)
}

func normalizePath(_ []byte, s string) string {
	if s == "" {
		return s
	}
	clean := filepath.Clean(s)
	switch {
	case clean == ".":
		return ""
	case s[len(s)-1] == '/':
		return clean + "/"
	}
	return clean
}

func normalizePathWin(b []byte, s string) string {
	s = normalizePath(nil, strings.ReplaceAll(s, `\`, "/"))
	s = cutStream(s)
	return trimComponents(b, s)
}

// cutStream takes the name of an NTFS stream off the last component.
func cutStream(s string) string {
	drive, slash := "", ""
	if len(s) >= 2 && s[1] == ':' && (s[0]|0x20 >= 'a' && s[0]|0x20 <= 'z') {
		drive, s = s[:2], s[2:]
	}
	if strings.HasSuffix(s, "/") {
		slash, s = "/", s[:len(s)-1]
	}
	last := strings.LastIndexByte(s, '/') + 1
	if colon := strings.IndexByte(s[last:], ':'); colon >= 0 {
		s = s[:last+colon]
	}
	return drive + s + slash
}

// trimComponents takes the dots and spaces off the end of each component,
// except from those that are dots alone.
func trimComponents(b []byte, s string) string {
	allDots := func(c string) bool { return strings.Trim(c, ".") == "" }
	change := false
	for c := range strings.SplitSeq(s, "/") {
		if n := len(c); n > 0 && (c[n-1] == '.' || c[n-1] == ' ') && !allDots(c) {
			change = true
		}
	}
	if !change {
		return s
	}
	wrote := false
	for c := range strings.SplitSeq(s, "/") {
		if !allDots(c) {
			if c = strings.TrimRight(c, ". "); c == "" {
				continue
			}
		}
		if wrote {
			b = append(b, '/')
		}
		b = append(b, c...)
		wrote = true
	}
	return text(b)
}

func removeWhitespace(b []byte, s string) string {
	i := 0
	for ; i < len(s) && s[i] < utf8.RuneSelf; i++ {
		if c := s[i]; traitOf[c]&hasSpace == 0 {
			b = append(b, c)
		}
	}
	if i == len(s) {
		return text(b)
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}

func compressWhitespace(b []byte, s string) string {
	within := false
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == ' ' || '\t' <= r && r <= '\r' || r == 0x85 || r == 0xa0 || s[i] == 0xa0:
			if !within {
				b = append(b, ' ')
			}
			within = true
		default:
			b = append(b, s[i:i+size]...)
			within = false
		}
		i += size
	}
	return text(b)
}

func replaceComments(b []byte, s string) string {
	for {
		i := strings.Index(s, "/*")
		if i < 0 {
			return text(append(b, s...))
		}
		b = append(append(b, s[:i]...), ' ')
		s = s[i+2:]
		end := strings.Index(s, "*/")
		if end < 0 {
			return text(b)
		}
		s = s[end+2:]
	}
}

func removeCommentsChar(b []byte, s string) string {
	for i := 0; i < len(s); {
		rest := s[i:]
		switch {
		case strings.HasPrefix(rest, "/*"), strings.HasPrefix(rest, "*/"):
			i += 2
		case strings.HasPrefix(rest, "<!--"):
			i += 4
		case strings.HasPrefix(rest, "-->"):
			i += 3
		case strings.HasPrefix(rest, "--"):
			i += 2
		case s[i] == '#':
			i++
		default:
			b = append(b, s[i])
			i++
		}
	}
	return text(b)
}

// base64Values are the values of the standard alphabet, 0xff for other bytes.
var base64Values = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range len(alphabet) {
		t[alphabet[i]] = byte(i)
	}
	return t
}()

// base64Decode decodes up to the first byte that is in no alphabet; line ends
// are passed over.
func base64Decode(b []byte, s string) string {
	x, n := uint32(0), 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\r' || c == '\n' {
			continue
		}
		v := base64Values[c]
		if v == 0xff {
			break
		}
		x = x<<6 | uint32(v)
		if n++; n == 4 {
			b = append(b, byte(x>>16), byte(x>>8), byte(x))
			x, n = 0, 0
		}
	}
	switch n {
	case 2:
		b = append(b, byte(x>>4))
	case 3:
		b = append(b, byte(x>>10), byte(x>>2))
	}
	return text(b)
}

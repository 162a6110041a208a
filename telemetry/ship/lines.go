package ship

import (
	"bytes"
	"iter"
	"time"
	"unicode/utf8"
)

// each yields the lines without their line feeds, with their numbers.
func each(lines []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for i := 0; len(lines) > 0; i++ {
			line, rest, _ := bytes.Cut(lines, []byte{'\n'})
			if !yield(i, line) {
				return
			}
			lines = rest
		}
	}
}

// lineTime returns the time of a line, which is its first field; now, when it is not.
func lineTime(line []byte) time.Time {
	const head = `{"time":"`
	if bytes.HasPrefix(line, []byte(head)) {
		if end := bytes.IndexByte(line[len(head):], '"'); end > 0 {
			if t, err := time.Parse(time.RFC3339, string(line[len(head):len(head)+end])); err == nil {
				return t
			}
		}
	}
	return time.Now()
}

// lineStatus returns the HTTP status of a line, or 0.
func lineStatus(line []byte) int {
	const key = `,"status":`
	i := bytes.Index(line, []byte(key))
	if i < 0 || len(line) < i+len(key)+3 {
		return 0
	}
	n := 0
	for _, c := range line[i+len(key) : i+len(key)+3] {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// appendEscaped appends s, which is JSON and so has no controls, as the inside of
// a JSON string.
func appendEscaped(dst, s []byte) []byte {
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20:
			dst = append(dst, ' ')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// fields yields the fields of a flat JSON object: name and value as they are
// written, strings without their quotes. It stops at what it does not understand.
func fields(line []byte) iter.Seq2[[]byte, value] {
	return func(yield func([]byte, value) bool) {
		i := 0
		skip := func() {
			for i < len(line) && (line[i] == ' ' || line[i] == ',' || line[i] == '{' || line[i] == ':') {
				i++
			}
		}
		for skip(); i < len(line) && line[i] == '"'; skip() {
			name, end := quotedAt(line, i)
			if end < 0 {
				return
			}
			i = end
			skip()
			if i >= len(line) {
				return
			}
			var v value
			switch line[i] {
			case '"':
				v.text, end = quotedAt(line, i)
				v.quoted = true
			case '[', '{':
				v.text, end = nestedAt(line, i)
			default:
				end = i
				for end < len(line) && line[end] != ',' && line[end] != '}' {
					end++
				}
				v.text = line[i:end]
			}
			if end < 0 || !yield(name, v) {
				return
			}
			i = end
		}
	}
}

type value struct {
	text   []byte
	quoted bool
}

func quotedAt(line []byte, i int) (inside []byte, end int) {
	for end = i + 1; end < len(line); end++ {
		switch line[end] {
		case '\\':
			end++
		case '"':
			return line[i+1 : end], end + 1
		}
	}
	return nil, -1
}

func nestedAt(line []byte, i int) (all []byte, end int) {
	depth := 0
	for end = i; end < len(line); end++ {
		switch line[end] {
		case '"':
			_, e := quotedAt(line, end)
			if e < 0 {
				return nil, -1
			}
			end = e - 1
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				return line[i : end+1], end + 1
			}
		}
	}
	return nil, -1
}

// unquote resolves the escapes of a JSON string's inside.
func unquote(s []byte) string {
	if bytes.IndexByte(s, '\\') < 0 {
		return string(s)
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 >= len(s) {
			b = append(b, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n':
			b = append(b, '\n')
		case 't':
			b = append(b, '\t')
		case 'r':
			b = append(b, '\r')
		case 'u':
			var u rune
			if i+4 < len(s) {
				for _, c := range s[i+1 : i+5] {
					u = u<<4 | rune(unhex(c))
				}
				i += 4
			}
			b = utf8.AppendRune(b, u)
		default:
			b = append(b, s[i])
		}
	}
	return string(b)
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0
}

package redact

import "bytes"

// maxNested is how deep JSON within JSON strings is looked into.
const maxNested = 3

// jsonState is where a document is read, from one piece to the next.
type jsonState struct {
	stack    []byte // of { and [
	key      bool   // the next string is a name
	verdict  verdict
	pair     verdict // on the value of {"name": "password", "value": …}
	dropping int     // depth of the container that goes; 0: none
	nested   int     // how many strings this document is in
	name     [16]byte
	nameLen  int
}

func (j *jsonState) reset() { *j = jsonState{stack: j.stack[:0]} }

// stepJSON appends what is whole of src, and returns how much that was. final
// says that nothing follows. At what is no JSON the rest becomes text.
func (s *Stream) stepJSON(dst, src []byte, final bool) ([]byte, int) {
	j := &s.json
	i := 0
	for i < len(src) {
		switch c := src[i]; c {
		case ' ', '\t', '\n', '\r':
			dst = s.keep(dst, src[i:i+1])
			i++
		case '{', '[':
			if j.dropping == 0 && (j.verdict == secret || j.verdict == plural) && s.r.on.has(Field) {
				j.dropping = len(j.stack) + 1
			}
			j.stack = append(j.stack, c)
			j.key = c == '{'
			if j.key {
				j.pair = unknown
			}
			if j.dropping == 0 && c == '{' {
				j.verdict = unknown
			}
			dst = s.keep(dst, src[i:i+1])
			i++
		case '}', ']':
			if len(j.stack) == 0 {
				return s.broken(dst, src, i)
			}
			if len(j.stack) == j.dropping {
				j.dropping = 0
				dst = append(dst, '"')
				dst = s.r.mark(dst, Field, nil)
				dst = append(dst, '"')
			} else {
				dst = s.keep(dst, src[i:i+1])
			}
			j.stack = j.stack[:len(j.stack)-1]
			j.verdict, j.key = unknown, false
			i++
		case ',':
			j.key = len(j.stack) > 0 && j.stack[len(j.stack)-1] == '{'
			if j.key {
				j.verdict = unknown
			}
			dst = s.keep(dst, src[i:i+1])
			i++
		case ':':
			dst = s.keep(dst, src[i:i+1])
			i++
		case '"':
			end := stringEnd(src, i)
			if end < 0 {
				if !final {
					return dst, i
				}
				return s.unterminated(dst, src, i)
			}
			dst = s.jsonString(dst, src[i+1:end-1])
			i = end
		default:
			end := i
			for end < len(src) && (class[src[end]]&cWord != 0 || src[end] == '.' || src[end] == '+') {
				end++
			}
			if end == i {
				return s.broken(dst, src, i)
			}
			if end == len(src) && !final {
				return dst, i
			}
			var ok bool
			if dst, ok = s.jsonScalar(dst, src[i:end]); !ok {
				return s.broken(dst, src, i)
			}
			i = end
		}
	}
	return dst, i
}

// keep appends unless it is within a container that goes.
func (s *Stream) keep(dst, b []byte) []byte {
	if s.json.dropping > 0 {
		return dst
	}
	return append(dst, b...)
}

// broken makes the rest of the body text.
func (s *Stream) broken(dst, src []byte, i int) ([]byte, int) {
	if s.json.dropping > 0 {
		dst = append(dst, '"')
		dst = s.r.mark(dst, Field, nil)
		dst = append(dst, '"')
		s.json.dropping = 0
	}
	s.form = formText
	return dst, i
}

// unterminated handles a string that never ends.
func (s *Stream) unterminated(dst, src []byte, i int) ([]byte, int) {
	if s.json.dropping > 0 {
		return dst, len(src)
	}
	dst = append(dst, '"')
	if v := s.json.verdict; !s.json.key && (v == secret || v == plural || v == doubtful) {
		return s.r.mark(dst, Field, src[i+1:]), len(src)
	}
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	d.out = s.r.text(d.out[:0], d.unquote(src[i+1:]), s.r.on)
	return appendQuoted(dst, d.out), len(src)
}

// stringEnd returns where the string that begins at i ends, behind its quote, or -1.
func stringEnd(src []byte, i int) int {
	for at := i + 1; ; {
		n := bytes.IndexByte(src[at:], '"')
		if n < 0 {
			return -1
		}
		at += n
		slashes := 0
		for k := at - 1; k > i && src[k] == '\\'; k-- {
			slashes++
		}
		at++
		if slashes%2 == 0 {
			return at
		}
	}
}

// jsonString appends a string, a name or a value, with its quotes.
func (s *Stream) jsonString(dst, raw []byte) []byte {
	j := &s.json
	text, d := raw, (*decoder)(nil)
	if bytes.IndexByte(raw, '\\') >= 0 {
		d = decoders.Get().(*decoder)
		defer decoders.Put(d)
		text = d.unquote(raw)
	}
	if j.key {
		j.key = false
		if j.dropping > 0 {
			return dst
		}
		j.verdict = s.r.names.of(text)
		j.nameLen = copy(j.name[:], text)
		if len(text) > len(j.name) {
			j.nameLen = 0
		}
		if string(j.name[:j.nameLen]) == "value" && j.pair != unknown {
			j.verdict = j.pair
		}
		return s.quoted(dst, raw, text, d, unknown)
	}
	if j.dropping > 0 {
		return dst
	}
	switch string(j.name[:j.nameLen]) {
	case "name", "key", "field", "header", "id":
		if len(text) <= maxName {
			if j.pair = s.r.names.of(text); j.pair != secret && j.pair != doubtful {
				j.pair = unknown
			}
		}
		return s.quoted(dst, raw, text, d, opaque)
	}
	return s.quoted(dst, raw, text, d, j.verdict)
}

// quoted appends text, which is raw decoded, in quotes: raw as it is when nothing
// is taken from it.
func (s *Stream) quoted(dst, raw, text []byte, d *decoder, v verdict) []byte {
	dst = append(dst, '"')
	switch {
	case s.json.nested < maxNested && len(text) > 1 && (text[0] == '{' || text[0] == '[') && v != secret && v != safe:
		inner := s.r.stream(formJSON)
		inner.json.nested = s.json.nested + 1
		out, n := inner.stepJSON(nil, text, true)
		if inner.form == formText {
			out = s.r.text(out, text[n:], s.r.on)
		}
		dst = appendQuoted(dst, out)
		inner.Release()
	case d == nil:
		dst = s.r.byName(dst, text, v)
	default:
		d.out = s.r.byName(d.out[:0], text, v)
		if bytes.Equal(d.out, text) {
			dst = append(dst, raw...)
		} else {
			dst = appendQuoted(dst, d.out)
		}
	}
	return append(dst, '"')
}

// jsonScalar appends a number or a literal. A number that goes becomes a string.
func (s *Stream) jsonScalar(dst, raw []byte) ([]byte, bool) {
	j := &s.json
	switch string(raw) {
	case "true", "false", "null":
		return s.keep(dst, raw), true
	}
	if class[raw[0]]&cDigit == 0 && raw[0] != '-' {
		return dst, false
	}
	if j.dropping > 0 {
		return dst, true
	}
	start := len(dst)
	dst = append(dst, '"')
	if j.verdict == plural || j.verdict == opaque || j.verdict == identifier {
		dst = s.r.byName(dst, raw, unknown)
	} else {
		dst = s.r.byName(dst, raw, j.verdict)
	}
	if bytes.Equal(dst[start+1:], raw) {
		return append(dst[:start], raw...), true
	}
	return append(dst, '"'), true
}

package redact

import (
	"bytes"
	"unicode/utf8"
)

// Where the parts of a text came from matters for how a value is written.

// byName appends the value of a name with verdict v.
func (r *Redactor) byName(dst, value []byte, v verdict) []byte {
	on := r.on
	switch v {
	case secret, plural:
		if on.has(Field) {
			return r.markField(dst, value)
		}
	case doubtful:
		if on.has(Field) && couldBeCredential(value) {
			return r.mark(dst, Field, value)
		}
	case safe:
		on = 0
	case opaque:
		on &^= 1 << Entropy
	case identifier:
		if on.has(Entropy) {
			on = on&^(1<<Entropy) | 1<<ident
		}
	}
	return r.text(dst, value, on)
}

// markField marks a value that goes for its name. A mailbox stays known as one.
func (r *Redactor) markField(dst, value []byte) []byte {
	if len(value) == 0 {
		return dst
	}
	word := 0
	for word < len(value) && class[value[word]]&cWord != 0 {
		word++
	}
	if word > 0 && r.on.has(Email) && mailbox(value, 0, word) == len(value) {
		return r.mark(dst, Email, value)
	}
	return r.mark(dst, Field, value)
}

// Header appends the value of a header field, redacted.
func (r *Redactor) Header(dst []byte, name string, value []byte) []byte {
	switch name {
	case "Referer", "Location", "Content-Location", "Origin", "Link", "Refresh":
		return r.URL(dst, value)
	case "User-Agent":
		return r.Secrets(dst, value)
	}
	var buf [maxName]byte
	return r.byName(dst, value, r.names.of(append(buf[:0], name[max(0, len(name)-maxName):]...)))
}

// URL appends a URL, its query and fragment redacted as such.
func (r *Redactor) URL(dst, src []byte) []byte {
	end := bytes.IndexAny(src, "?#")
	if end < 0 {
		return r.Path(dst, src)
	}
	dst = r.Path(dst, src[:end])
	dst = append(dst, src[end])
	rest := src[end+1:]
	if hash := bytes.IndexByte(rest, '#'); hash >= 0 {
		dst = r.Query(dst, rest[:hash])
		dst = append(dst, '#')
		rest = rest[hash+1:]
	}
	return r.Query(dst, rest)
}

// Query appends a query string, without its question mark, or a form of that kind.
func (r *Redactor) Query(dst, src []byte) []byte {
	for len(src) > 0 {
		end := bytes.IndexAny(src, "&;")
		if end < 0 {
			return r.pair(dst, src)
		}
		dst = r.pair(dst, src[:end])
		dst = append(dst, src[end])
		src = src[end+1:]
	}
	return dst
}

// pair appends name=value, of a form. A part that nothing was taken from stays as it
// was written, percent signs and all.
func (r *Redactor) pair(dst, src []byte) []byte {
	eq := bytes.IndexByte(src, '=')
	if eq < 0 {
		return r.decoded(dst, src, unknown)
	}
	dst = r.decoded(dst, src[:eq], safeName)
	dst = append(dst, '=')
	d := decoders.Get().(*decoder)
	v := r.names.of(d.unescape(src[:eq]))
	decoders.Put(d)
	return r.decoded(dst, src[eq+1:], v)
}

// safeName asks for the detectors that find things in names.
const safeName = opaque

// decoded appends a percent-encoded value of a name with verdict v.
func (r *Redactor) decoded(dst, src []byte, v verdict) []byte {
	if bytes.IndexByte(src, '%') < 0 && bytes.IndexByte(src, '+') < 0 {
		return r.byName(dst, src, v)
	}
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	plain := d.unescape(src)
	d.out = r.byName(d.out[:0], plain, v)
	if bytes.Equal(d.out, plain) {
		// It may have been encoded twice.
		if bytes.IndexByte(plain, '%') >= 0 && !bytes.Equal(plain, src) {
			twice := decoders.Get().(*decoder)
			defer decoders.Put(twice)
			again := twice.unescape(plain)
			twice.out = r.byName(twice.out[:0], again, v)
			if !bytes.Equal(twice.out, again) {
				return append(dst, twice.out...)
			}
		}
		if v == safe {
			return append(dst, src...)
		}
		// A plus sign is a blank in a form, but belongs to a phone number in most
		// of what people type.
		return r.scan(dst, src, r.on&(1<<Phone))
	}
	return append(dst, d.out...)
}

// Path appends a path, redacted segment by segment. What follows a name such as
// token goes when it is none of a language's words.
func (r *Redactor) Path(dst, src []byte) []byte {
	if r.CleanPath(src) {
		return append(dst, src...)
	}
	v := unknown
	for {
		end := bytes.IndexByte(src, '/')
		segment := src
		if end >= 0 {
			segment = src[:end]
		}
		of := v
		if of == secret && !mixed(segment) {
			of = unknown
		}
		if of == doubtful {
			of = unknown
		}
		if bytes.HasSuffix(segment, []byte(":")) && end >= 0 && len(src) > end+1 && src[end+1] == '/' {
			// The scheme of a URL, with what is before its path.
			rest := src[end+2:]
			n := bytes.IndexByte(rest, '/')
			if n < 0 {
				return r.text(dst, src, r.on)
			}
			dst = r.text(dst, src[:end+2+n], r.on)
			src = rest[n:]
			continue
		}
		dst = r.decodedSegment(dst, segment, of)
		if end < 0 {
			return dst
		}
		dst = append(dst, '/')
		v = unknown
		if len(segment) > 0 {
			v = r.names.of(segment)
		}
		src = src[end+1:]
	}
}

func (r *Redactor) decodedSegment(dst, src []byte, v verdict) []byte {
	if bytes.IndexByte(src, '%') >= 0 {
		return r.decoded(dst, src, v)
	}
	return r.byName(dst, src, v)
}

// CleanPath reports whether nothing would be taken out of the path. Most have
// nothing, and this costs a fraction of looking for it. It may say no wrongly.
func (r *Redactor) CleanPath(p []byte) bool {
	if len(r.patterns) > 0 {
		return false
	}
	run, digits, dots, letters, start, before := 0, 0, 0, 0, 0, 0
	for i := 0; i <= len(p); i++ {
		if i == len(p) || p[i] == '/' {
			// What follows a name such as token is looked at unless it is a word.
			if digits > 0 && start > before+1 && r.names.of(p[before:start-1]) == secret {
				return false
			}
			before, start = start, i+1
			run, digits, dots, letters = 0, 0, 0, 0
			continue
		}
		run++
		switch k := class[p[i]]; {
		case k&cDigit != 0:
			digits++
		case k&cLetter != 0:
			letters++
		case p[i] == '.':
			dots++
		case p[i] != '_' && p[i] != '-':
			return false
		}
		switch {
		case run >= 15 && (digits > 0 || run >= minRandom && letters == run): // keys and account numbers
			return false
		case digits >= 9, dots >= 3 && digits > 3: // numbers and addresses
			return false
		case digits >= 6 && letters > 0: // national ids
			return false
		}
	}
	return true
}

// decoder holds what a value is decoded into.
type decoder struct{ plain, out []byte }

// unescape returns src with percent escapes and plus signs resolved (a form's
// encoding); valid until the next call. A broken escape stays as it is.
func (d *decoder) unescape(src []byte) []byte {
	b := d.plain[:0]
	for i := 0; i < len(src); i++ {
		c := src[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(src):
			hi, lo := unhex(src[i+1]), unhex(src[i+2])
			if hi < 16 && lo < 16 {
				c = hi<<4 | lo
				i += 2
			}
		}
		b = append(b, c)
	}
	d.plain = b
	return b
}

// unquote returns the text of the inside of a JSON string; valid until the next
// call. A broken escape stays as it is.
func (d *decoder) unquote(src []byte) []byte {
	b := d.plain[:0]
	for i := 0; i < len(src); i++ {
		c := src[i]
		if c != '\\' || i+1 >= len(src) {
			b = append(b, c)
			continue
		}
		i++
		switch src[i] {
		case 'n':
			b = append(b, '\n')
		case 't':
			b = append(b, '\t')
		case 'r':
			b = append(b, '\r')
		case 'b', 'f':
			b = append(b, ' ')
		case 'u':
			if u, ok := hex4(src[i+1:]); ok {
				b = utf8.AppendRune(b, u)
				i += 4
				continue
			}
			b = append(b, '\\', 'u')
		default:
			b = append(b, src[i])
		}
	}
	d.plain = b
	return b
}

func hex4(s []byte) (u rune, ok bool) {
	if len(s) < 4 {
		return 0, false
	}
	for _, c := range s[:4] {
		h := unhex(c)
		if h > 15 {
			return 0, false
		}
		u = u<<4 | rune(h)
	}
	return u, true
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0xff
}

// appendQuoted appends s as the inside of a JSON string.
func appendQuoted(dst, s []byte) []byte {
	const hexDigits = "0123456789abcdef"
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

package redact

import (
	"bytes"
	"mime"
	"strings"
	"sync"
)

// maxUnit is the longest string, field or line that is looked at; a longer one
// goes as a whole.
const maxUnit = 16 << 10

var decoders = sync.Pool{New: func() any { return new(decoder) }}

type form uint8

const (
	formText form = iota
	formJSON
	formQuery
	formMultipart
	formBinary // is not shown
)

// Stream redacts a body that comes in pieces. Get one by [Redactor.Stream], write the
// pieces, Finish, and Release it.
type Stream struct {
	r     *Redactor
	form  form
	pend  []byte // the beginning of a unit that is not whole yet
	out   []byte
	limit int
	size  int64
	cut   bool // limit was reached
	skip  bool // within a unit that is too long
	slash bool // a backslash ended the last piece, within skip
	json  jsonState
	parts multipart
}

// Stream returns a redactor of a body of that media type, as in a Content-Type
// header, which keeps at most limit bytes of what it writes. Types that are
// not text keep nothing.
func (r *Redactor) Stream(contentType string, limit int) *Stream {
	s := r.stream(formOf(contentType))
	s.limit = limit
	if s.form == formMultipart {
		_, params, err := mime.ParseMediaType(contentType)
		if s.parts.start(params["boundary"]); err != nil || params["boundary"] == "" {
			s.form = formText
		}
	}
	return s
}

func (r *Redactor) stream(f form) *Stream {
	s := r.streams.Get().(*Stream)
	s.form, s.limit = f, maxUnit
	return s
}

func formOf(contentType string) form {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.TrimSpace(media)
	lower := func(s string) bool { return len(media) >= len(s) && strings.EqualFold(media[:len(s)], s) }
	contains := func(s string) bool {
		for i := 0; i+len(s) <= len(media); i++ {
			if strings.EqualFold(media[i:i+len(s)], s) {
				return true
			}
		}
		return false
	}
	switch {
	case media == "":
		return formText
	case contains("json"):
		return formJSON
	case lower("application/x-www-form-urlencoded"):
		return formQuery
	case lower("multipart/"):
		return formMultipart
	case lower("text/"), contains("xml"), contains("javascript"), contains("yaml"), contains("graphql"), lower("application/problem"):
		return formText
	}
	return formBinary
}

// Write takes a piece. It never fails.
func (s *Stream) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	if s.cut || s.form == formBinary {
		return len(p), nil
	}
	if len(s.pend) > 0 {
		s.pend = append(s.pend, p...)
		n := s.step(s.pend, false)
		s.pend = append(s.pend[:0], s.pend[n:]...)
	} else {
		n := s.step(p, false)
		s.pend = append(s.pend, p[n:]...)
	}
	s.bound()
	return len(p), nil
}

func (s *Stream) bound() {
	if len(s.out) >= s.limit {
		s.out, s.cut, s.pend = s.out[:s.limit], true, s.pend[:0]
	}
}

// step redacts the units of src that are whole and returns how much of it they are.
func (s *Stream) step(src []byte, final bool) int {
	done := 0
	for {
		if s.skip {
			n, ended := s.skipUnit(src[done:])
			done += n
			if !ended {
				return len(src)
			}
			s.skip = false
		}
		was := s.form
		var n int
		switch s.form {
		case formJSON:
			s.out, n = s.stepJSON(s.out, src[done:], final)
		case formQuery:
			s.out, n = s.stepQuery(s.out, src[done:], final)
		case formMultipart:
			s.out, n = s.stepMultipart(s.out, src[done:], final)
		default:
			s.out, n = s.stepText(s.out, src[done:], final)
		}
		done += n
		if s.form != was {
			continue
		}
		if len(src)-done <= maxUnit || final {
			return done
		}
		s.out = s.tooLong(s.out)
		s.skip, s.slash = true, false
		if s.form == formJSON {
			done++ // its quote
		}
	}
}

// tooLong appends the mark of a unit that is not looked at.
func (s *Stream) tooLong(dst []byte) []byte {
	if s.form == formJSON {
		if s.json.dropping > 0 {
			return dst
		}
		dst = append(dst, '"')
		dst = s.r.mark(dst, Long, nil)
		s.json.key = false
		return append(dst, '"')
	}
	return s.r.mark(dst, Long, nil)
}

// skipUnit returns how much of src belongs to a unit that is too long, and whether
// that ends in src.
func (s *Stream) skipUnit(src []byte) (n int, ended bool) {
	switch s.form {
	case formJSON:
		for i, c := range src {
			switch {
			case s.slash:
				s.slash = false
			case c == '\\':
				s.slash = true
			case c == '"':
				return i + 1, true
			}
		}
		return len(src), false
	case formQuery:
		n = bytes.IndexByte(src, '&')
	default:
		n = bytes.IndexByte(src, '\n')
	}
	if n < 0 {
		return len(src), false
	}
	return n, true
}

func (s *Stream) stepQuery(dst, src []byte, final bool) ([]byte, int) {
	done := 0
	for {
		end := bytes.IndexByte(src[done:], '&')
		if end < 0 {
			if final {
				return s.r.pair(dst, src[done:]), len(src)
			}
			return dst, done
		}
		dst = s.r.pair(dst, src[done:done+end])
		dst = append(dst, '&')
		done += end + 1
	}
}

// stepText redacts whole lines, and a private key with all of its lines.
func (s *Stream) stepText(dst, src []byte, final bool) ([]byte, int) {
	end := len(src)
	if !final {
		end = bytes.LastIndexByte(src, '\n') + 1
		const pem = "PRIVATE KEY-----"
		if k := bytes.LastIndex(src, []byte(pem)); k >= 0 && bytes.LastIndex(src[:k], []byte("-----BEGIN ")) > bytes.LastIndex(src[:k], []byte("-----END ")) {
			end = min(end, bytes.LastIndexByte(src[:k], '\n')+1)
		}
	}
	return s.r.text(dst, src[:end], s.r.on), end
}

// Finish returns the body, redacted, valid until Release; how large it was as it
// came; and whether what is returned is all of it. whole says that the body came
// to its end: what is left of one that did not is not shown, as half a secret
// is not known as one.
func (s *Stream) Finish(whole bool) (body []byte, size int64, all bool) {
	if !s.cut && s.form != formBinary {
		if whole {
			n := s.step(s.pend, true)
			if n < len(s.pend) { // became text on the way
				s.out = s.r.text(s.out, s.pend[n:], s.r.on)
			}
		} else if len(s.pend) > 0 || s.skip {
			s.cut = true
		}
		s.pend = s.pend[:0]
		if s.form == formJSON && s.json.dropping > 0 {
			s.out = append(s.out, '"')
			s.out = s.r.mark(s.out, Field, nil)
			s.out = append(s.out, '"')
		}
		s.bound()
	}
	return s.out, s.size, !s.cut && s.form != formBinary
}

// Release gives the stream back. It must not be used after.
func (s *Stream) Release() {
	const most = 256 << 10
	if cap(s.pend) > most || cap(s.out) > most {
		s.pend, s.out = nil, nil
	}
	s.pend, s.out, s.size = s.pend[:0], s.out[:0], 0
	s.cut, s.skip, s.slash = false, false, false
	s.json.reset()
	s.parts = multipart{delimiter: s.parts.delimiter[:0]}
	s.r.streams.Put(s)
}

// Body appends a body of that media type, redacted.
func (r *Redactor) Body(dst []byte, contentType string, body []byte) []byte {
	s := r.Stream(contentType, 1<<62)
	s.Write(body) //nolint:errcheck // it never fails
	out, _, _ := s.Finish(true)
	dst = append(dst, out...)
	s.Release()
	return dst
}

// JSON appends a JSON document, redacted.
func (r *Redactor) JSON(dst, body []byte) []byte { return r.Body(dst, "application/json", body) }

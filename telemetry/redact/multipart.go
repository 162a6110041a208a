package redact

import "bytes"

// multipart is where a body of several parts is read (RFC 7578, RFC 2046 §5.1).
type multipart struct {
	delimiter []byte // --boundary
	inBody    bool
	kind      partKind
	marked    bool // the mark of this part has been written
}

type partKind uint8

const (
	partText partKind = iota
	partSecret
	partBinary
	partDoubtful
)

func (m *multipart) start(boundary string) {
	m.delimiter = append(append(m.delimiter[:0], "--"...), boundary...)
}

// stepMultipart redacts whole lines, by the part that they are in.
func (s *Stream) stepMultipart(dst, src []byte, final bool) ([]byte, int) {
	done := 0
	for done < len(src) {
		n := bytes.IndexByte(src[done:], '\n')
		if n < 0 {
			if !final {
				return dst, done
			}
			n = len(src) - done - 1
		}
		dst = s.partLine(dst, src[done:done+n+1])
		done += n + 1
	}
	return dst, done
}

func (s *Stream) partLine(dst, line []byte) []byte {
	m := &s.parts
	if bytes.HasPrefix(line, m.delimiter) {
		m.inBody, m.kind, m.marked = false, partText, false
		return append(dst, line...)
	}
	if !m.inBody {
		text := bytes.TrimRight(line, "\r\n")
		if len(text) == 0 {
			m.inBody = true
			return append(dst, line...)
		}
		s.partHeader(text)
		return s.r.text(dst, line, s.r.on&^(1<<Entropy))
	}
	text := bytes.TrimRight(line, "\r\n")
	switch {
	case m.kind == partText, len(text) == 0:
		return s.r.text(dst, line, s.r.on)
	case m.kind == partDoubtful && !couldBeCredential(text):
		return s.r.text(dst, line, s.r.on)
	case m.marked:
		return dst
	}
	m.marked = true
	if m.kind == partBinary {
		dst = append(dst, "[binary]"...)
	} else {
		dst = s.r.markField(dst, text)
	}
	return append(dst, line[len(text):]...)
}

// partHeader notes what a field of a part's header says of its body.
func (s *Stream) partHeader(line []byte) {
	m := &s.parts
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return
	}
	switch string(fold(make([]byte, 0, 32), name[:min(len(name), 32)])) {
	case "contentdisposition":
		if v := parameter(value, `name=`); v != nil {
			switch s.r.names.of(v) {
			case secret, plural:
				m.kind = partSecret
			case doubtful:
				m.kind = partDoubtful
			}
		}
		if bytes.Contains(value, []byte("filename")) && m.kind != partSecret {
			m.kind = partBinary // unless its type says that it is text
		}
	case "contenttype":
		f := formOf(string(bytes.TrimSpace(value)))
		switch {
		case m.kind == partSecret:
		case f == formBinary || f == formMultipart:
			m.kind = partBinary
		case m.kind == partBinary:
			m.kind = partText
		}
	}
}

// parameter returns the value of a header's parameter, or nil.
func parameter(value []byte, name string) []byte {
	for at := 0; ; {
		i := bytes.Index(value[at:], []byte(name))
		if i < 0 {
			return nil
		}
		at += i + len(name)
		if before := at - len(name) - 1; before >= 0 && class[value[before]]&cWord != 0 || at >= len(value) {
			continue
		}
		v := value[at:]
		if v[0] == '"' {
			v = v[1:]
			if end := bytes.IndexByte(v, '"'); end >= 0 {
				v = v[:end]
			}
			return v
		}
		if end := bytes.IndexAny(v, "; \t"); end >= 0 {
			v = v[:end]
		}
		return v
	}
}

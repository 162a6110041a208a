package h1

import "bytes"

// headScan looks for the end of a head in a buffer that grows, and looks at no byte twice.
type headScan struct {
	line    int  // where the line begins that is not complete yet
	at      int  // how far has been looked for its end
	lines   int  // complete lines
	skipped bool // an empty line before the head was passed over
}

// scan returns the length of the head that b begins with, its empty line
// included, or 0 while it is not complete. b must begin with what it began with
// the last time. Lines end in CRLF: a bare LF, which RFC 9112 §2.2 lets a
// recipient take for one, is refused, because not every recipient does.
func (s *headScan) scan(b []byte, limit int, request bool) (int, error) {
	for {
		if len(b) == s.at {
			break
		}
		i := bytes.IndexByte(b[s.at:], '\n')
		if i < 0 {
			s.at = len(b)
			break
		}
		lf := s.at + i
		if lf == s.line || b[lf-1] != '\r' {
			return 0, errBareLF
		}
		if lf-1 == s.line {
			if s.lines == 0 {
				return 0, errManyEmpty
			}
			if lf >= limit {
				return 0, errHeadTooLarge
			}
			return lf + 1, nil
		}
		s.lines++
		s.line, s.at = lf+1, lf+1
	}
	if len(b) < limit {
		return 0, nil
	}
	if s.lines == 0 && request {
		return 0, errTargetTooLong
	}
	return 0, errHeadTooLarge
}

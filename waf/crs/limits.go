package crs

import "bytes"

// Limits are what a request may hold. What is beyond is refused before the
// engine sees it: an engine that cuts off at a limit lets through what stands
// behind it.
type Limits struct {
	Body       int // bytes of an inspected body
	Arguments  int // in query and body together
	NameLength int // bytes of an argument's name, with its path
	Depth      int // of nested JSON
	Parts      int // of a multipart body
	Work       int // see DefaultWork
}

// DefaultLimits hold where the configuration says nothing.
var DefaultLimits = Limits{Body: 1 << 20, Arguments: 1000, NameLength: 512, Depth: 32, Parts: 100, Work: DefaultWork}

// DefaultWork bounds the cost of one request: bytes looked at, weighed by what
// looking costs, so that the answer is the same on every machine. A unit is 2 to
// 4 ns of a core, and so the whole at most about 20 ms (BenchmarkDear). It is
// enough for some 100 KB of prose in one value.
const DefaultWork = 5 << 20

// excess is the limit that a request goes beyond, "" for none.
type excess string

// depthOf reports whether a JSON text nests deeper than limit. It runs before
// anything recursive does.
func tooDeep(b []byte, limit int) bool {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			if depth++; depth > limit {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}

// countJSON returns at most how many values a JSON text can hold.
func countJSON(b []byte) int {
	n := 1
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case ',', '[':
			n++
		}
	}
	return n
}

// structure checks what can be counted without reading values.
func (l *Limits) structure(r *Request, kind Kind) excess {
	if len(r.Body) > l.Body {
		return "body"
	}
	args := countSeparators(queryOf(r.Target))
	switch kind {
	case KindJSON:
		if tooDeep(r.Body, l.Depth) {
			return "depth"
		}
		args += countJSON(r.Body)
	case KindForm, KindText:
		args += bytes.Count(r.Body, []byte{'&'}) + min(1, len(r.Body))
	case KindMultipart:
		// Every part begins with a delimiter, which begins with two dashes on a
		// line of its own.
		if bytes.Count(r.Body, []byte("\n--"))+1 > l.Parts+1 {
			return "parts"
		}
	}
	if args > l.Arguments {
		return "arguments"
	}
	return ""
}

func queryOf(target string) string {
	for i := range len(target) {
		if target[i] == '?' {
			return target[i+1:]
		}
	}
	return ""
}

func countSeparators(query string) int {
	if query == "" {
		return 0
	}
	n := 1
	for i := range len(query) {
		if query[i] == '&' {
			n++
		}
	}
	return n
}

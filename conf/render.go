package conf

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// excerptWidth is how much of a long line an excerpt shows.
const excerptWidth = 100

// Render writes ps as a compiler does: each with the line of source that it is
// about, what to write instead under it, and a closing line that counts them.
// Secrets in source are masked. With color it uses ANSI escapes.
func (ps Problems) Render(w io.Writer, source []byte, color bool) error {
	source = bytes.TrimPrefix(source, byteOrderMark)
	masks := secretSpans(source)
	lines := strings.Split(string(source), "\n")
	paint := painter(color)
	var b strings.Builder
	for _, p := range ps {
		b.Reset()
		word := paint(ansiRed, p.Severity.String())
		if p.Severity == SeverityWarning {
			word = paint(ansiYellow, p.Severity.String())
		}
		line := p.Position.Line
		if line < 1 || line > len(lines) || strings.TrimSpace(lines[line-1]) == "" {
			fmt.Fprintf(&b, "%s: %s: %s", paint(ansiBold, p.Position.String()), word, p.headline())
			if p.Hint != "" {
				b.WriteString("; " + p.Hint)
			}
			b.WriteByte('\n')
		} else {
			e := newExcerpt(strings.TrimSuffix(lines[line-1], "\r"), p.Position.Column, masks[line])
			number := fmt.Sprint(line)
			fmt.Fprintf(&b, "%s: %s: %s\n", paint(ansiBold, p.Position.String()), word, p.headline())
			fmt.Fprintf(&b, "  %s %s\n", paint(ansiDim, number+" |"), e.text)
			caret := strings.TrimRight(strings.Repeat("^", e.length)+" "+p.Hint, " ")
			fmt.Fprintf(&b, "  %s %s%s\n", paint(ansiDim, strings.Repeat(" ", len(number))+" |"), strings.Repeat(" ", e.start), paint(ansiGreen, caret))
		}
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
	}
	if s := ps.Summary(); s != "" {
		if _, err := fmt.Fprintln(w, s); err != nil {
			return err
		}
	}
	return nil
}

const (
	ansiBold   = "1"
	ansiDim    = "2"
	ansiRed    = "1;31"
	ansiGreen  = "32"
	ansiYellow = "1;33"
)

func painter(color bool) func(code, text string) string {
	if !color {
		return func(_, text string) string { return text }
	}
	return func(code, text string) string { return "\x1b[" + code + "m" + text + "\x1b[0m" }
}

// excerpt is one line of source, ready to be shown.
type excerpt struct {
	text   string
	start  int // of the carets, in characters of text
	length int // of the carets, at least 1
}

// span is a stretch of a line in characters, from 0; a negative end is the line's.
type span struct{ start, end int }

func newExcerpt(line string, column int, masks []span) excerpt {
	runes := []rune(line)
	at := min(max(column-1, 0), len(runes))
	end := min(at+tokenLength(runes[at:]), len(runes))
	if m, ok := maskAt(masks, at, len(runes)); ok {
		end = max(end, m.end)
	}
	var shown []rune
	place := make([]int, len(runes)+1) // of each character of line, in shown
	for i := 0; i < len(runes); {
		if m, ok := maskAt(masks, i, len(runes)); ok {
			for ; i < m.end; i++ {
				place[i] = len(shown)
			}
			shown = append(shown, []rune(redacted)...)
			continue
		}
		place[i] = len(shown)
		shown = append(shown, visible(runes[i]))
		i++
	}
	place[len(runes)] = len(shown)
	e := excerpt{start: place[at], length: max(place[end]-place[at], 1)}
	e.cut(shown)
	return e
}

// cut keeps the part of shown around the carets.
func (e *excerpt) cut(shown []rune) {
	from, to := 0, len(shown)
	if to > excerptWidth {
		from = max(0, min(e.start-excerptWidth/2, to-excerptWidth))
		to = from + excerptWidth
		e.length = max(1, min(e.length, to-e.start))
	}
	head, tail := "", ""
	if from > 0 {
		head = "…"
		e.start++
	}
	if to < len(shown) {
		tail = "…"
	}
	e.start -= from
	e.text = strings.TrimRight(head+string(shown[from:to])+tail, " ")
}

// maskAt returns the mask that covers character i of a line of n.
func maskAt(masks []span, i, n int) (span, bool) {
	for _, m := range masks {
		if m.end < 0 {
			m.end = n
		}
		if m.start <= i && i < m.end {
			return m, true
		}
	}
	return span{}, false
}

// visible replaces what would move the cursor or hide text.
func visible(c rune) rune {
	if c == '\t' {
		return ' '
	}
	if !unicode.IsPrint(c) || c == utf8.RuneError {
		return '·'
	}
	return c
}

// tokenLength guesses how far the value or key at the start of line reaches.
func tokenLength(line []rune) int {
	if len(line) == 0 || unicode.IsSpace(line[0]) {
		return 1
	}
	if q := line[0]; q == '"' || q == '\'' {
		for i := 1; i < len(line); i++ {
			if line[i] == '\\' && q == '"' {
				i++
			} else if line[i] == q {
				return i + 1
			}
		}
		return len(line)
	}
	if strings.ContainsRune("{[&*|>-", line[0]) && (len(line) == 1 || line[0] != '-' || line[1] == ' ') {
		return 1
	}
	n := 0
	for n < len(line) {
		c, next := line[n], rune(' ')
		if n+1 < len(line) {
			next = line[n+1]
		}
		if c == '$' && next == '{' { // a variable is one word, default and all
			for n < len(line) && line[n] != '}' {
				n++
			}
			n = min(n+1, len(line))
			continue
		}
		if c == ',' || c == ']' || c == '}' || c == ':' && unicode.IsSpace(next) || unicode.IsSpace(c) && next == '#' {
			break
		}
		n++
	}
	return max(1, len([]rune(strings.TrimRight(string(line[:n]), " \t"))))
}

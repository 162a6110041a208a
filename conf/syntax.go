package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	// maxDepth is far above the deepest setting, which is six levels down.
	maxDepth = 64
	// maxNodes bounds the document with its aliases unfolded, so that a few
	// lines of nested aliases cannot become gigabytes.
	maxNodes = 1 << 19
)

// parseSyntax reads data as exactly one YAML document whose top is a mapping.
// It returns nil after reporting why it could not, except for an empty document,
// which is an empty mapping: every default holds.
func parseSyntax(r *report, data []byte) *yaml.Node {
	if !checkText(r, data) {
		return nil
	}
	docs, err := parseYAML(data)
	if err != nil {
		pos, message, hint := locateSyntax(r.file, data, err)
		r.at(pos, "", message, hint)
		return nil
	}
	if len(docs) > 1 {
		n := docs[1]
		r.at(Position{r.file, max(n.Line, 1), max(n.Column, 1)}, "", "a second document begins here", "keep one document in the file: remove the --- line, or split the file")
		return nil
	}
	if len(docs) == 0 || len(docs[0].Content) == 0 || isNull(docs[0].Content[0]) {
		return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: 1, Column: 1}
	}
	root := docs[0].Content[0]
	if root.Kind != yaml.MappingNode {
		r.at(nodePos(r.file, root), "", "the file holds "+kindName(root)+", not settings", "write settings as `key: value`, beginning with listeners, services and routes")
		return nil
	}
	c := treeCheck{r: r, active: map[*yaml.Node]bool{}}
	if !c.walk(root, 1) {
		return nil
	}
	return root
}

// checkText refuses what is no UTF-8 text.
func checkText(r *report, data []byte) bool {
	line, column := 1, 1
	for rest := data; len(rest) > 0; {
		c, n := utf8.DecodeRune(rest)
		message := ""
		switch {
		case c == utf8.RuneError && n == 1:
			message = "the file is not UTF-8 text"
		case c == 0:
			message = "the file holds a NUL byte"
		case c < ' ' && c != '\t' && c != '\n' && c != '\r', c == 0x7f:
			message = fmt.Sprintf("the file holds the control character U+%04X", c)
		}
		if message != "" {
			r.at(Position{r.file, line, column}, "", message, "save it as plain UTF-8 text, or name another file")
			return false
		}
		if c == '\n' {
			line, column = line+1, 1
		} else {
			column++
		}
		rest = rest[n:]
	}
	return true
}

// parseYAML returns the documents in data. A panic of the parser, which has had
// some, is an error like any other.
func parseYAML(data []byte) (docs []*yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the text cannot be read as YAML")
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for len(docs) < 2 {
		var n yaml.Node
		if err := dec.Decode(&n); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		docs = append(docs, &n)
	}
	return docs, nil
}

// treeCheck bounds depth and size with aliases unfolded, so that everything
// after it may follow them freely.
type treeCheck struct {
	r      *report
	nodes  int
	active map[*yaml.Node]bool // the nodes around the current one
}

func (c *treeCheck) walk(n *yaml.Node, depth int) bool {
	if c.nodes++; c.nodes > maxNodes {
		c.r.at(nodePos(c.r.file, n), "", "the document grows too large through its aliases", fmt.Sprintf("keep it below %d values; repeat less with *aliases", maxNodes))
		return false
	}
	if depth > maxDepth {
		c.r.at(nodePos(c.r.file, n), "", fmt.Sprintf("the document is nested more than %d levels deep", maxDepth), "close the brackets that were opened by mistake")
		return false
	}
	if c.active[n] {
		c.r.at(nodePos(c.r.file, n), "", fmt.Sprintf("the anchor &%s contains itself", n.Anchor), "use the alias outside of what it names")
		return false
	}
	c.active[n] = true
	defer delete(c.active, n)
	if n.Kind == yaml.AliasNode {
		return c.walk(n.Alias, depth+1)
	}
	for _, child := range n.Content {
		if !c.walk(child, depth+1) {
			return false
		}
	}
	return true
}

// resolved follows an alias to what it names. An alias never names another.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func nodePos(file string, n *yaml.Node) Position { return Position{file, n.Line, n.Column} }

// kindName says what n is, in a user's words.
func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a group of settings"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "nothing"
	}
	return "text"
}

// locateSyntax says where and why data is no YAML. The parser tells a line at
// best, often that of the construct around the fault, so the fault is searched
// for by parsing prefixes: the parser reads from the start, so every prefix that
// holds the fault fails with the same words.
//
//   - A fault that the parser meets as it reads (a bad escape) is where the
//     shortest such prefix ends.
//   - One that it sees only later (a bracket that is never closed) is where the
//     longest prefix that still parses ends.
func locateSyntax(file string, data []byte, err error) (Position, string, string) {
	l := locator{lines: bytes.SplitAfter(data, []byte("\n")), err: err, budget: searchBytes}
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(message, "line "); ok {
		_, message, _ = strings.Cut(rest, ": ")
	}
	if len(data) > maxLocated {
		return Position{file, 1, 1}, "this is not YAML: " + message, syntaxHint(message)
	}
	line := l.sameFault()
	var column int
	if metAtOnce(message) {
		column = l.firstFault(line)
	} else {
		line = l.lastGood(line)
		column = l.lastGoodColumn(line)
	}
	text := l.text(line)
	if tab := tabInIndent(text); tab > 0 {
		return Position{file, line + 1, tab}, "a tab indents this line", "indent with spaces"
	}
	if above := l.text(max(line-1, 0)); strings.Contains(message, "mapping values") && line > 0 &&
		strings.IndexByte(text, ':') == column-1 && !strings.Contains(above, ":") && !blankLine(above) {
		indent := len(above) - len(strings.TrimLeft(above, " -"))
		return Position{file, line, indent + 1}, "this is not YAML: there is no colon in this line", "write `key: value`"
	}
	hint := syntaxHint(message)
	if unquotedVariable.MatchString(text) && strings.Contains(message, "expected ',' or") {
		hint = `inside braces and brackets put quotes around a variable: "${NAME}"`
	}
	return Position{file, line + 1, column}, "this is not YAML: " + message, hint
}

// unquotedVariable matches ${ where YAML takes its brace for one of its own.
var unquotedVariable = regexp.MustCompile(`[{\[].*[^"'\w]\$\{`)

// maxLocated bounds the text that is searched for a fault: each step parses a
// prefix of it again.
const maxLocated = 256 << 10

// metAtOnce tells faults that the parser meets as it reads from those that it
// sees only at the end of a construct.
func metAtOnce(message string) bool {
	for _, part := range []string{"escape", "cannot start any token", "unknown anchor", "mapping values", "hexdecimal", "alphabetic"} {
		if strings.Contains(message, part) {
			return true
		}
	}
	return false
}

type locator struct {
	lines  [][]byte
	err    error
	budget int // bytes that may still be parsed
}

// searchBytes bounds the search to a fraction of a second.
const searchBytes = 16 << 20

func (l *locator) parse(text []byte) error {
	if l.budget -= len(text); l.budget < 0 {
		return errors.New("out of budget")
	}
	_, err := parseYAML(text)
	return err
}

// prefix returns the first n lines and the first runes of the next.
func (l *locator) prefix(n, runes int) []byte {
	p := bytes.Join(l.lines[:n], nil)
	if runes > 0 {
		p = append(p, string([]rune(l.text(n))[:runes])...)
	}
	return p
}

func (l *locator) text(line int) string { return strings.TrimRight(string(l.lines[line]), "\r\n") }

func (l *locator) good(text []byte) bool {
	return l.parse(text) == nil
}

func (l *locator) same(text []byte) bool {
	err := l.parse(text)
	return err != nil && err.Error() == l.err.Error()
}

// sameFault returns the line, from 0, that ends the shortest prefix of lines
// with the fault.
func (l *locator) sameFault() int {
	n := sort.Search(len(l.lines), func(n int) bool { return l.same(l.prefix(n, 0)) })
	return max(n-1, 0)
}

// firstFault returns the column in line at which the fault shows.
func (l *locator) firstFault(line int) int {
	runes := []rune(l.text(line))
	if _, name, ok := strings.Cut(l.err.Error(), "unknown anchor '"); ok {
		name, _, _ = strings.Cut(name, "'")
		if before, _, ok := strings.Cut(string(runes), "*"+name); ok {
			return utf8.RuneCountInString(before) + 1
		}
	}
	n := sort.Search(len(runes), func(n int) bool { return l.same(l.prefix(line, n)) })
	for n > 1 && n <= len(runes) && runes[n-1] == ' ' {
		n-- // the space after a colon decides what the colon means
	}
	if n > 1 && n <= len(runes) && runes[n-2] == '\\' {
		n--
	}
	return max(n, 1)
}

// lastGood returns the line after the longest prefix of lines that parses,
// looking back from line.
func (l *locator) lastGood(line int) int {
	n := line
	for n > 0 && n > line-200 && !l.good(l.prefix(n, 0)) {
		n--
	}
	for n < len(l.lines)-1 && blankLine(l.text(n)) {
		n++
	}
	return n
}

// lastGoodColumn returns the column after which line no longer parses.
func (l *locator) lastGoodColumn(line int) int {
	text := l.text(line)
	runes := []rune(text)
	indent := len(text) - len(strings.TrimLeft(text, " "))
	for n := min(len(runes), 400); n > indent; n-- {
		if l.good(l.prefix(line, n)) {
			return min(n+1, max(len(runes), 1))
		}
	}
	return indent + 1
}

func blankLine(line string) bool {
	t := strings.TrimSpace(line)
	return t == "" || t[0] == '#'
}

// tabInIndent returns the column of a tab before the first word of line, or 0.
func tabInIndent(line string) int {
	for i, c := range []byte(line) {
		if c == '\t' {
			return i + 1
		}
		if c != ' ' && c != '-' {
			break
		}
	}
	return 0
}

func syntaxHint(message string) string {
	for _, h := range []struct{ part, hint string }{
		{"mapping values are not allowed", "put a value that holds \": \" in quotes, or begin a new line"},
		{"expected ',' or", "close the bracket or brace, and put commas between its values"},
		{"unexpected end of stream", "close the quote"},
		{"could not find expected ':'", "write `key: value`"},
		{"did not find expected key", "indent the line like its neighbours"},
		{"did not find expected '-'", "indent the line like its neighbours"},
		{"unknown anchor", "define it with &name before it is used as *name"},
		{"cannot start any token", "put the value in quotes"},
		{"escape", "use single quotes, in which a backslash is only a backslash"},
		{"exceeded max depth", "close the brackets that were opened by mistake"},
	} {
		if strings.Contains(message, h.part) {
			return h.hint
		}
	}
	return "write settings as `key: value`, indented with spaces"
}

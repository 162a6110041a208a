package conf

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

var (
	// secretName matches keys whose values are better not shown, wherever they
	// stand: a misspelt or misplaced secret is still one.
	secretName = regexp.MustCompile(`(?i)toke?n|secret|passw|pwd|credential|private|api[_-]?key|webhook|dsn|authorization|cookie`)
	// secretLine is secretName in a text that is no YAML: everything after the
	// colon goes.
	secretLine = regexp.MustCompile(`(?i)(?:toke?n|secret|passw|pwd|credential|private|api[_-]?key|webhook|dsn|authorization|cookie)[\w-]*["']?\s*:\s*(\S.*)`)
	// userInfo is user and password in a URL. It takes too much rather than too
	// little: who writes a password there writes it unescaped.
	userInfo = regexp.MustCompile(`://([^"']+)@`)
	// onlyVariable is a value that names a secret instead of holding one.
	onlyVariable = regexp.MustCompile(`^\$\{[A-Za-z_][A-Za-z0-9_]*\}$`)
)

// secretSpans returns by line what an excerpt of source must not show.
func secretSpans(source []byte) map[int][]span {
	m := masker{lines: strings.Split(string(source), "\n"), spans: map[int][]span{}, seen: map[visit]bool{}}
	for i, line := range m.lines {
		for _, at := range userInfo.FindAllStringSubmatchIndex(line, -1) {
			m.add(i+1, utf8.RuneCountInString(line[:at[2]]), utf8.RuneCountInString(line[:at[3]]))
		}
	}
	docs, err := parseYAML(source)
	if err != nil {
		for i, line := range m.lines {
			if at := secretLine.FindStringSubmatchIndex(line); at != nil {
				m.add(i+1, utf8.RuneCountInString(line[:at[2]]), -1)
			}
		}
		return m.spans
	}
	for _, doc := range docs {
		m.starts(doc, 0)
	}
	slices.SortFunc(m.begin, func(a, b [2]int) int { return slices.Compare(a[:], b[:]) })
	for _, doc := range docs {
		m.typed(doc, reflect.TypeFor[Document](), 0)
	}
	return m.spans
}

type masker struct {
	lines []string
	spans map[int][]span
	begin [][2]int       // line and column of every node, sorted
	seen  map[visit]bool // so that aliases are followed once
}

// visit is a node met as a value of some type.
type visit struct {
	node *yaml.Node
	typ  reflect.Type
}

func (m *masker) first(n *yaml.Node, t reflect.Type) bool {
	v := visit{n, t}
	first := !m.seen[v]
	m.seen[v] = true
	return first
}

func (m *masker) add(line, start, end int) { m.spans[line] = append(m.spans[line], span{start, end}) }

func (m *masker) starts(n *yaml.Node, depth int) {
	m.begin = append(m.begin, [2]int{n.Line, n.Column})
	if depth > maxDepth {
		return
	}
	for _, c := range n.Content {
		m.starts(c, depth+1)
	}
}

// typed walks n beside the type that belongs there and masks what is a secret by
// type or by name. It is forgiving: a secret in the wrong place is looked for
// under the type that was probably meant.
func (m *masker) typed(n *yaml.Node, t reflect.Type, depth int) {
	if depth > maxDepth {
		return
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if !m.first(n, t) {
		return
	}
	for t.Kind() == reflect.Pointer || (t.Kind() == reflect.Slice || t.Kind() == reflect.Map) && n.Kind == yaml.ScalarNode {
		t = t.Elem()
	}
	switch {
	case t == secretType:
		m.hide(n, depth)
	case n.Kind == yaml.ScalarNode:
		if isSection(t) && holdsSecret(t) {
			m.hide(n, depth)
		}
	case n.Kind == yaml.SequenceNode, n.Kind == yaml.DocumentNode:
		if t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		for _, c := range n.Content {
			m.typed(c, t, depth+1)
		}
	case n.Kind == yaml.MappingNode:
		if t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			f, known := field{}, false
			if isSection(t) {
				f, known = fieldOf(t, key.Value)
			}
			switch {
			case known:
				m.typed(value, f.typ, depth+1)
			case key.ShortTag() == "!!merge":
				m.typed(value, t, depth+1)
			case t.Kind() == reflect.Map && !secretName.MatchString(key.Value):
				m.typed(value, t.Elem(), depth+1)
			case secretName.MatchString(key.Value):
				m.hide(value, depth)
			default:
				m.typed(value, t, depth+1)
			}
		}
	}
}

// holdsSecret reports whether a key of section t is a secret.
func holdsSecret(t reflect.Type) bool {
	return slices.ContainsFunc(fieldsOf(t), func(f field) bool { return f.typ == secretType })
}

// hide masks n and everything in it.
func (m *masker) hide(n *yaml.Node, depth int) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if !m.first(n, nil) {
		return
	}
	if n.Kind != yaml.ScalarNode {
		if depth < maxDepth {
			for _, c := range n.Content {
				m.hide(c, depth+1)
			}
		}
		return
	}
	if n.Value == "" || onlyVariable.MatchString(n.Value) || n.Line < 1 || n.Line > len(m.lines) {
		return
	}
	line := []rune(strings.TrimSuffix(m.lines[n.Line-1], "\r"))
	start := n.Column - 1
	if start > len(line) {
		return
	}
	rest := line[start:]
	if strings.HasPrefix(string(rest), n.Value) {
		m.add(n.Line, start, start+utf8.RuneCountInString(n.Value))
		return
	}
	if length := tokenLength(rest); len(rest) > 1 && length > 1 && (rest[0] == '"' || rest[0] == '\'') && rest[length-1] == rest[0] {
		m.add(n.Line, start, start+length)
		return
	}
	// Several lines, a tag or an anchor in front: everything up to the next value.
	i, _ := slices.BinarySearchFunc(m.begin, [2]int{n.Line, n.Column + 1}, func(a, b [2]int) int { return slices.Compare(a[:], b[:]) })
	last := len(m.lines)
	if i < len(m.begin) {
		last = max(n.Line, m.begin[i][0]-1)
	}
	m.add(n.Line, start, -1)
	for l := n.Line + 1; l <= last; l++ {
		m.add(l, 0, -1)
	}
}

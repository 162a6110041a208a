package seclang

import (
	"fmt"
	"strconv"
	"strings"
)

// Directive is one directive with its arguments as they stand in the file.
type Directive struct {
	Name string // in lower case: secrule, secaction, secmarker…
	Args string
	Raw  string // the joined line
	File string
	Line int // of the directive's last line, as the engine counts
}

// Rule is a SecRule or SecAction with the rules that are chained to it.
type Rule struct {
	ID      int // 0 in a chained rule
	File    string
	Line    int
	Raw     string   // of this link alone
	Targets []Target // none: a SecAction, which always matches
	Op      Operator
	Actions []Action
	Chain   []*Rule // the further links, in order; only on the first
}

// Target is one variable that a rule looks at, or leaves out.
type Target struct {
	Name    string // in upper case
	Key     string // "": all of the collection; for a regular expression what stands between the slashes
	Regex   bool
	Count   bool // &NAME: how many there are, instead of the values
	Exclude bool // !NAME: not these
}

// Operator is what a value is tested with.
type Operator struct {
	Name    string // as written, without @
	Arg     string
	Negated bool
}

// Action is one action, such as t:lowercase or nolog.
type Action struct{ Name, Value string }

// Split returns the directives of a file.
func Split(file, text string) ([]Directive, error) {
	var out []Directive
	var joined strings.Builder
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if strings.HasSuffix(line, "`") {
			return nil, fmt.Errorf("%s:%d: lists in backticks are not supported: use a file and @pmFromFile", file, n)
		}
		if rest, more := strings.CutSuffix(line, `\`); more {
			joined.WriteString(rest)
			continue
		}
		joined.WriteString(line)
		raw := joined.String()
		joined.Reset()
		name, args, _ := strings.Cut(raw, " ")
		out = append(out, Directive{Name: strings.ToLower(name), Args: args, Raw: raw, File: file, Line: n})
	}
	if joined.Len() > 0 {
		return nil, fmt.Errorf("%s:%d: the last line ends in a backslash", file, n)
	}
	return out, nil
}

// Rules returns the rules among the directives, chains joined.
func Rules(ds []Directive) ([]*Rule, error) {
	var out []*Rule
	var open *Rule // a chain that waits for its next link
	for _, d := range ds {
		if d.Name != "secrule" && d.Name != "secaction" {
			continue
		}
		r, err := parseRule(d)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", d.File, d.Line, err)
		}
		chained := r.Has("chain")
		switch {
		case open != nil:
			open.Chain = append(open.Chain, r)
			if !chained {
				open = nil
			}
		default:
			if r.ID == 0 {
				return nil, fmt.Errorf("%s:%d: the rule has no id", d.File, d.Line)
			}
			out = append(out, r)
			if chained {
				open = r
			}
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%s:%d: the chain of rule %d has no end", open.File, open.Line, open.ID)
	}
	return out, nil
}

func parseRule(d Directive) (*Rule, error) {
	r := &Rule{File: d.File, Line: d.Line, Raw: d.Raw}
	actions := d.Args
	if d.Name == "secrule" {
		vars, rest, ok := strings.Cut(strings.Trim(d.Args, " "), " ")
		if !ok {
			return nil, fmt.Errorf("a rule needs variables and an operator")
		}
		op, rest, err := quoted(strings.TrimLeft(rest, " "))
		if err != nil {
			return nil, err
		}
		if r.Targets, err = ParseTargets(vars); err != nil {
			return nil, err
		}
		r.Op = parseOperator(strings.ReplaceAll(op, `\"`, `"`))
		actions = strings.TrimLeft(rest, " ")
	}
	if n := len(actions); n >= 2 && actions[0] == '"' && actions[n-1] == '"' {
		actions = actions[1 : n-1]
	}
	if actions != "" {
		r.Actions = parseActions(actions)
	}
	if id, ok := r.Value("id"); ok {
		n, err := strconv.Atoi(id)
		if err != nil {
			return nil, fmt.Errorf("the id %q is no number", id)
		}
		r.ID = n
	}
	return r, nil
}

// quoted cuts the string in double quotes that s begins with. A quote behind an
// odd number of backslashes does not end it.
func quoted(s string) (inner, rest string, err error) {
	if s == "" || s[0] != '"' {
		return "", "", fmt.Errorf("an operator in double quotes is missing")
	}
	slashes := 0
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			slashes++
			continue
		case s[i] == '"' && slashes%2 == 0:
			return s[1:i], s[i+1:], nil
		}
		slashes = 0
	}
	return "", "", fmt.Errorf("the operator has no closing quote")
}

func parseOperator(s string) Operator {
	var op Operator
	if strings.HasPrefix(s, "!") {
		op.Negated = true
		s = s[1:]
	}
	if !strings.HasPrefix(s, "@") {
		op.Name, op.Arg = "rx", strings.TrimSpace(s)
		return op
	}
	name, arg, _ := strings.Cut(s[1:], " ")
	op.Name, op.Arg = strings.TrimSpace(name), strings.TrimSpace(arg)
	return op
}

// ParseTargets reads VARIABLE|!VARIABLE:key|&VARIABLE:/regex/.
func ParseTargets(s string) ([]Target, error) {
	var out []Target
	for s != "" {
		var t Target
		for s != "" && (s[0] == '!' || s[0] == '&') {
			t.Exclude = t.Exclude || s[0] == '!'
			t.Count = t.Count || s[0] == '&'
			s = s[1:]
		}
		end := strings.IndexAny(s, ":|")
		if end < 0 {
			end = len(s)
		}
		t.Name, s = strings.ToUpper(s[:end]), s[end:]
		if t.Name == "" {
			return nil, fmt.Errorf("a variable without a name")
		}
		if strings.HasPrefix(s, ":") {
			s = s[1:]
			quote := strings.HasPrefix(s, "'")
			if quote {
				s = s[1:]
			}
			if strings.HasPrefix(s, "/") && t.Name != "XML" && t.Name != "JSON" {
				end := closingSlash(s)
				if end < 0 {
					return nil, fmt.Errorf("the key of %s has no closing slash", t.Name)
				}
				t.Key, t.Regex, s = s[1:end], true, s[end+1:]
			} else {
				end := strings.IndexByte(s, '|')
				if end < 0 {
					end = len(s)
				}
				t.Key, s = s[:end], s[end:]
				if quote {
					t.Key = strings.TrimSuffix(t.Key, "'")
				}
			}
			if quote {
				s = strings.TrimPrefix(s, "'")
			}
		}
		out = append(out, t)
		if s == "" {
			break
		}
		if s[0] != '|' {
			return nil, fmt.Errorf("unexpected %q behind the variable %s", s, t.Name)
		}
		s = s[1:]
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("a rule without variables")
	}
	return out, nil
}

// closingSlash returns where the regular expression that s begins with ends.
func closingSlash(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '/':
			return i
		}
	}
	return -1
}

// parseActions splits a list of actions at the commas that are in no single
// quotes.
func parseActions(s string) []Action {
	var out []Action
	begin, inQuotes := 0, false
	add := func(part string) {
		name, value, _ := strings.Cut(part, ":")
		value = strings.TrimSpace(value)
		if n := len(value); n >= 2 && value[0] == '\'' && value[n-1] == '\'' {
			value = value[1 : n-1]
		}
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			out = append(out, Action{name, value})
		}
	}
	for i := 0; i < len(s); i++ {
		if i > 0 && s[i-1] == '\\' {
			continue
		}
		switch {
		case s[i] == '\'':
			inQuotes = !inQuotes
		case s[i] == ',' && !inQuotes:
			add(s[begin:i])
			begin = i + 1
		}
	}
	add(s[begin:])
	return out
}

// Has reports whether the rule has an action of this name.
func (r *Rule) Has(action string) bool {
	_, ok := r.Value(action)
	return ok
}

// Value returns the argument of the first action of this name.
func (r *Rule) Value(action string) (string, bool) {
	for _, a := range r.Actions {
		if a.Name == action {
			return a.Value, true
		}
	}
	return "", false
}

// Values returns the arguments of all actions of this name, in order.
func (r *Rule) Values(action string) []string {
	var out []string
	for _, a := range r.Actions {
		if a.Name == action {
			out = append(out, a.Value)
		}
	}
	return out
}

// Links returns the rule and what is chained to it.
func (r *Rule) Links() []*Rule { return append([]*Rule{r}, r.Chain...) }

// Transformations returns the names of what is done to a value before the
// operator sees it. t:none drops what stands before it.
func (r *Rule) Transformations() []string {
	var out []string
	for _, name := range r.Values("t") {
		if name = strings.ToLower(name); name == "none" {
			out = out[:0]
		} else {
			out = append(out, name)
		}
	}
	return out
}

package proof

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/corazawaf/libinjection-go"
	"rsc.io/binaryregexp"

	"sluice/waf/dfa"
	"sluice/waf/seclang"
)

// operator is a rule's operator with its argument.
type operator struct {
	// test reports whether a value matches; nil: fulfilled needs are a match.
	test test
	// alternatives as by requirements; nil: every value has to be tested.
	alternatives [][]need
	// injection: the test is one of libinjection's, which look longer.
	injection bool
}

// price is what the test of a byte costs.
func (o *operator) price() int {
	if o.injection {
		return injectionPrice
	}
	return 1
}

// test is an operator's own judgement of a value, and what it cost beyond its
// price.
type test func(value string) (matched bool, extra int)

// plain is an operator that always costs the same for a byte.
func plain(f func(string) bool) test {
	return func(s string) (bool, int) { return f(s), 0 }
}

// slow is an operator that looks at a byte for long.
func slow(f func(string) bool) test {
	return func(s string) (bool, int) { return f(s), slowness * len(s) }
}

// not is the operator that matches what t does not.
func (t test) not() test {
	return func(s string) (bool, int) {
		matched, extra := t(s)
		return !matched, extra
	}
}

// or is the operator that matches what t or u does.
func (t test) or(u test) test {
	return func(s string) (bool, int) {
		matched, extra := u(s)
		if matched {
			return true, extra
		}
		matched, more := t(s)
		return matched, extra + more
	}
}

// compileOperator returns the operator of a link, false when it is not known.
// constants gives the values of transaction variables that never change.
func compileOperator(op seclang.Operator, constant func(name string) (string, bool), files fs.FS, dir string) (operator, bool) {
	arg, ok := expand(op.Arg, constant)
	if !ok {
		return operator{}, false
	}
	var o operator
	switch strings.ToLower(op.Name) {
	case "rx":
		o, ok = compileRx(arg)
	case "pm":
		o, ok = compilePhrases(strings.Split(strings.ToLower(arg), " "))
	case "pmfromfile", "pmf":
		var phrases []string
		if phrases, ok = phraseFile(files, path.Join(dir, arg)); ok {
			o, ok = compilePhrases(phrases)
		}
	case "detectsqli":
		o.injection = true
		o.test = plain(func(s string) bool { found, _ := libinjection.IsSQLi(s); return found })
	case "detectxss":
		o.injection = true
		o.test = plain(libinjection.IsXSS)
	case "validatebyterange":
		var invalid func(string) bool
		invalid, ok = byteRange(arg)
		o.test = plain(invalid)
	case "validateurlencoding":
		o.test = plain(badURLEncoding)
	case "validateutf8encoding":
		o.test = plain(func(s string) bool { return !utf8.ValidString(s) })
	case "unconditionalmatch":
		o.test = plain(func(string) bool { return true })
	case "nomatch":
		o.test = plain(func(string) bool { return false })
	default:
		var holds func(string) bool
		holds, ok = compare(strings.ToLower(op.Name), arg)
		o.test = plain(holds)
	}
	if !ok {
		return operator{}, false
	}
	if op.Negated {
		if o.test == nil {
			return operator{}, false
		}
		return operator{test: o.test.not()}, true
	}
	return o, true
}

// expand replaces %{tx.name} in an operator's argument.
func expand(arg string, constant func(string) (string, bool)) (string, bool) {
	for {
		begin := strings.Index(arg, "%{")
		if begin < 0 {
			return arg, true
		}
		end := strings.IndexByte(arg[begin:], '}')
		if end < 0 {
			return "", false
		}
		name, isTX := strings.CutPrefix(strings.ToLower(arg[begin+2:begin+end]), "tx.")
		value, ok := constant(name)
		if !isTX || !ok || strings.Contains(value, "%{") {
			return "", false
		}
		arg = arg[:begin] + value + arg[begin+end+1:]
	}
}

// compare makes the operators that compare with a text or a number.
func compare(name, arg string) (func(string) bool, bool) {
	n, _ := strconv.Atoi(arg) // as the engine does: what is no number is 0
	number := func(s string) int { v, _ := strconv.Atoi(s); return v }
	switch name {
	case "streq":
		return func(s string) bool { return s == arg }, true
	case "contains", "strmatch":
		return func(s string) bool { return strings.Contains(s, arg) }, true
	case "beginswith":
		return func(s string) bool { return strings.HasPrefix(s, arg) }, true
	case "endswith":
		return func(s string) bool { return strings.HasSuffix(s, arg) }, true
	case "within":
		return func(s string) bool { return strings.Contains(arg, s) }, true
	case "eq":
		return func(s string) bool { return number(s) == n }, true
	case "gt":
		return func(s string) bool { return number(s) > n }, true
	case "ge":
		return func(s string) bool { return number(s) >= n }, true
	case "lt":
		return func(s string) bool { return number(s) < n }, true
	case "le":
		return func(s string) bool { return number(s) <= n }, true
	}
	return nil, false
}

// highEscape finds an escape of a byte outside ASCII in a pattern. The engine
// matches some of these patterns by bytes and not by characters.
var highEscape = regexp.MustCompile(`\\x(?:[89a-fA-F][0-9a-fA-F]|\{[0-9a-fA-F]*[89a-fA-F][0-9a-fA-F]\})`)

func compileRx(pattern string) (o operator, ok bool) {
	flags := "(?sm)" + pattern // the engine's flags
	bytewise := highEscape.MatchString(pattern) || !utf8.ValidString(pattern)
	byRunes, err := compileRunes(flags)
	switch {
	case bytewise:
		// By bytes or by characters: what either of the two matches is a match.
		byBytes, err2 := binaryregexp.Compile(pattern)
		if err2 != nil {
			return operator{}, false
		}
		o.test = slow(byBytes.MatchString)
		if err == nil {
			o.test = o.test.or(byRunes)
		}
	case err != nil:
		return operator{}, false
	default:
		o.test = byRunes
	}
	if alternatives, ok := requirements(flags, bytewise); ok {
		o.alternatives = alternatives
	}
	return o, true
}

// compileRunes makes the test of an expression that is matched by characters.
func compileRunes(pattern string) (test, error) {
	if m, err := dfa.Compile(pattern); err == nil {
		return m.Match, nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	return slow(re.MatchString), nil
}

// compilePhrases makes the operator that looks for one of the phrases, in
// either case of ASCII letters alone.
func compilePhrases(phrases []string) (operator, bool) {
	for _, p := range phrases {
		if p == "" {
			return operator{}, false
		}
	}
	if len(phrases) == 0 {
		return operator{}, false
	}
	return operator{alternatives: [][]need{{{literals: unique(phrases)}}}}, true
}

func phraseFile(files fs.FS, name string) ([]string, bool) {
	if files == nil {
		return nil, false
	}
	data, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, false
	}
	var phrases []string
	for sc := bufio.NewScanner(bytes.NewReader(data)); sc.Scan(); {
		if l := strings.TrimSpace(sc.Text()); l != "" && l[0] != '#' {
			phrases = append(phrases, strings.ToLower(l))
		}
	}
	return phrases, true
}

// byteRange makes the operator that matches a value with a byte out of range.
func byteRange(arg string) (func(string) bool, bool) {
	var valid byteSet
	for part := range strings.SplitSeq(arg, ",") {
		lo, hi, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			hi = lo
		}
		a, err := strconv.ParseUint(lo, 10, 8)
		b, err2 := strconv.ParseUint(hi, 10, 8)
		if err != nil || err2 != nil {
			return nil, false
		}
		for c := a; c <= b; c++ {
			valid.add(byte(c))
		}
	}
	return func(s string) bool {
		for i := 0; i < len(s); i++ {
			if !valid.has(s[i]) {
				return true
			}
		}
		return false
	}, true
}

func badURLEncoding(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		if _, ok := hexPair(s, i+1); !ok {
			return true
		}
		i += 2
	}
	return false
}

// errUnknown names what keeps a rule from being proved.
func errUnknown(what, name string) error { return fmt.Errorf("%s %q is not known", what, name) }

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

	"sluice/waf/seclang"
)

// operator is a rule's operator with its argument.
type operator struct {
	// test reports whether a value matches; nil: fulfilled needs are a match.
	test func(string) bool
	// alternatives as by requirements; nil: every value has to be tested.
	alternatives [][]need
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
		o.test = func(s string) bool { found, _ := libinjection.IsSQLi(s); return found }
	case "detectxss":
		o.test = libinjection.IsXSS
	case "validatebyterange":
		o.test, ok = byteRange(arg)
	case "validateurlencoding":
		o.test = badURLEncoding
	case "validateutf8encoding":
		o.test = func(s string) bool { return !utf8.ValidString(s) }
	case "unconditionalmatch":
		o.test = func(string) bool { return true }
	case "nomatch":
		o.test = func(string) bool { return false }
	default:
		o.test, ok = compare(strings.ToLower(op.Name), arg)
	}
	if !ok {
		return operator{}, false
	}
	if op.Negated {
		if o.test == nil {
			return operator{}, false
		}
		test := o.test
		return operator{test: func(s string) bool { return !test(s) }}, true
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

func compileRx(pattern string) (operator, bool) {
	flags := "(?sm)" + pattern // the engine's flags
	if highEscape.MatchString(pattern) || !utf8.ValidString(pattern) {
		// By bytes or by characters: what either of the two matches is a match.
		byBytes, err := binaryregexp.Compile(pattern)
		if err != nil {
			return operator{}, false
		}
		test := byBytes.MatchString
		if byRunes, err := regexp.Compile(flags); err == nil {
			test = func(s string) bool { return byBytes.MatchString(s) || byRunes.MatchString(s) }
		}
		return operator{test: test}, true
	}
	re, err := regexp.Compile(flags)
	if err != nil {
		return operator{}, false
	}
	o := operator{test: re.MatchString}
	if alternatives, ok := requirements(flags); ok {
		o.alternatives = alternatives
	}
	return o, true
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

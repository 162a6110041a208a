package proof

import (
	"cmp"
	"math/bits"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// byteSet is a set of bytes.
type byteSet [4]uint64

func (s *byteSet) add(c byte)            { s[c>>6] |= 1 << (c & 63) }
func (s *byteSet) has(c byte) bool       { return s[c>>6]&(1<<(c&63)) != 0 }
func (s *byteSet) meets(o *byteSet) bool { return s[0]&o[0]|s[1]&o[1]|s[2]&o[2]|s[3]&o[3] != 0 }
func (s *byteSet) len() int {
	return bits.OnesCount64(s[0]) + bits.OnesCount64(s[1]) + bits.OnesCount64(s[2]) + bits.OnesCount64(s[3])
}

// need is one demand of a pattern: a text that matches holds at least one of
// these literals, in either case of letters, or at least one of these bytes.
// Exactly one of the two is set.
type need struct {
	literals []string // in lower case
	bytes    byteSet
}

// Limits of what is multiplied out. Beyond them a demand is split into weaker
// ones, never guessed.
const (
	maxLiterals      = 2000
	maxLiteralLength = 48
	maxClassExact    = 12 // characters of a class that are still spelt out
)

// requirements returns what every text that matches the pattern fulfils: for
// at least one of the alternatives, all its needs. An alternative without
// needs, or ok = false, means that nothing can be said.
//
// The texts are taken with ASCII letters in lower case. A pattern that ignores
// case also matches U+017F for s and U+212A for k: whoever tests a text that
// holds one of these must not rely on needs (see foldHazard).
//
// With bytewise, they hold for a matcher that takes \x{e9} for one byte, too.
func requirements(pattern string, bytewise bool) (alternatives [][]need, ok bool) {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, false
	}
	for _, branch := range branches(re) {
		needs := analysis{bytewise}.of(branch).needs()
		if len(needs) == 0 {
			return nil, false
		}
		alternatives = append(alternatives, needs)
	}
	return alternatives, true
}

// foldHazard reports whether s holds a character that folds to an ASCII letter.
func foldHazard(s string) bool {
	return strings.Contains(s, "\u017f") || strings.Contains(s, "\u212a")
}

// branches returns the alternatives that the pattern consists of.
func branches(re *syntax.Regexp) []*syntax.Regexp {
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	if re.Op == syntax.OpAlternate {
		return re.Sub
	}
	return []*syntax.Regexp{re}
}

// facts is what is known of the texts that a part of a pattern matches.
type facts struct {
	// exact are all texts that the part can match, when exactly known.
	exact   []string
	isExact bool
	// demands hold when it is not.
	demands []need
}

func exactly(s ...string) facts { return facts{exact: s, isExact: true} }

// needs returns the part's facts as demands.
func (f facts) needs() []need {
	if !f.isExact {
		return f.demands
	}
	if n, ok := oneOf(f.exact); ok {
		return []need{n}
	}
	return nil
}

// oneOf makes the demand that one of the literals is there; false when one of
// them is empty, which demands nothing.
func oneOf(literals []string) (need, bool) {
	if len(literals) == 0 || slices.Contains(literals, "") {
		return need{}, false
	}
	single := true
	for _, l := range literals {
		single = single && len(l) == 1
	}
	if !single {
		return need{literals: literals}, true
	}
	var n need
	for _, l := range literals {
		n.bytes.addFolded(l[0])
	}
	return n, true
}

// addFolded adds a byte in both cases of the letter.
func (s *byteSet) addFolded(c byte) {
	s.add(c)
	if 'a' <= c && c <= 'z' {
		s.add(c - 'a' + 'A')
	}
}

// analysis reads needs off a pattern.
type analysis struct{ bytewise bool }

// highBytes demands a byte outside ASCII.
func highBytes() (n need) {
	n.bytes[2], n.bytes[3] = ^uint64(0), ^uint64(0)
	return n
}

func (a analysis) of(re *syntax.Regexp) facts {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return exactly("")
	case syntax.OpLiteral:
		var b []byte
		for _, r := range re.Rune {
			if a.bytewise && r >= utf8.RuneSelf {
				return facts{demands: []need{highBytes()}}
			}
			if r == utf8.RuneError || r >= utf8.RuneSelf && re.Flags&syntax.FoldCase != 0 {
				return facts{} // matches broken UTF-8, or has other cases than the automaton folds
			}
			b = utf8.AppendRune(b, foldASCII(r))
		}
		if len(b) > maxLiteralLength {
			return facts{demands: []need{{literals: []string{string(b[:maxLiteralLength])}}}}
		}
		return exactly(string(b))
	case syntax.OpCharClass:
		return analyseClass(re.Rune)
	case syntax.OpCapture:
		return a.of(re.Sub[0])
	case syntax.OpConcat:
		return a.concat(re.Sub)
	case syntax.OpAlternate:
		return a.alternate(re.Sub)
	case syntax.OpQuest:
		if f := a.of(re.Sub[0]); f.isExact && len(f.exact) < maxLiterals {
			return exactly(unique(append(slices.Clone(f.exact), ""))...)
		}
	case syntax.OpPlus:
		return facts{demands: a.of(re.Sub[0]).needs()}
	case syntax.OpRepeat:
		if re.Min == 0 {
			return facts{}
		}
		f := a.of(re.Sub[0])
		if f.isExact && re.Min == re.Max && re.Min <= 8 {
			subs := make([]*syntax.Regexp, re.Min)
			for i := range subs {
				subs[i] = re.Sub[0]
			}
			return a.concat(subs)
		}
		return facts{demands: f.needs()}
	}
	return facts{} // OpStar, OpAnyChar…: nothing is known; OpNoMatch as well
}

// foldASCII returns r with ASCII letters in lower case. The parser writes a
// letter that ignores case in its smallest form, which is the capital.
func foldASCII(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}

func analyseClass(ranges []rune) facts {
	var n need
	var exact []string
	spelt := true
	for i := 0; i < len(ranges); i += 2 {
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			if r >= utf8.RuneSelf {
				if r == 0x17f || r == 0x212a { // see foldHazard
					continue
				}
				for c := 0x80; c < 0x100; c++ {
					n.bytes.add(byte(c))
				}
				spelt = false
				break
			}
			n.bytes.addFolded(byte(foldASCII(r)))
			if spelt = spelt && len(exact) <= 2*maxClassExact; spelt {
				exact = append(exact, string(foldASCII(r)))
			}
		}
	}
	if exact = unique(exact); spelt && len(exact) > 0 && len(exact) <= maxClassExact {
		return exactly(exact...)
	}
	if n.bytes.len() == 256 || n.bytes.len() == 0 {
		return facts{}
	}
	return facts{demands: []need{n}}
}

func (a analysis) concat(subs []*syntax.Regexp) facts {
	run := []string{""} // the texts that end here, since the last part that is not exact
	var demands []need
	whole := true
	flush := func() {
		if n, ok := oneOf(run); ok {
			demands = append(demands, n)
		}
		run, whole = []string{""}, false
	}
	for _, sub := range subs {
		f := a.of(sub)
		if !f.isExact {
			flush()
			demands = append(demands, f.demands...)
			continue
		}
		if len(run)*len(f.exact) > maxLiterals || longest(run)+longest(f.exact) > maxLiteralLength {
			flush()
		}
		next := make([]string, 0, len(run)*len(f.exact))
		for _, before := range run {
			for _, text := range f.exact {
				next = append(next, before+text)
			}
		}
		run = unique(next)
	}
	if whole {
		return exactly(run...)
	}
	flush()
	return facts{demands: demands}
}

func longest(s []string) int {
	return len(slices.MaxFunc(s, func(a, b string) int { return len(a) - len(b) }))
}

func (a analysis) alternate(subs []*syntax.Regexp) facts {
	all := make([]facts, len(subs))
	exact := []string{}
	isExact := true
	for i, sub := range subs {
		all[i] = a.of(sub)
		isExact = isExact && all[i].isExact
		exact = append(exact, all[i].exact...)
	}
	if exact = unique(exact); isExact && len(exact) <= maxLiterals {
		return exactly(exact...)
	}
	// Each branch gives its best demand, and one of these holds. A second round
	// with the second best holds as well.
	var demands []need
	for round := range 2 {
		var union need
		for _, f := range all {
			needs := slices.Clone(f.needs())
			slices.SortStableFunc(needs, func(a, b need) int { return cmp.Compare(b.strength(), a.strength()) })
			if len(needs) == 0 || round > 0 && len(needs) <= round && len(all) == 1 {
				return facts{demands: demands}
			}
			union = union.or(needs[min(round, len(needs)-1)])
		}
		demands = append(demands, union)
	}
	return facts{demands: demands}
}

// strength orders demands by how rarely a text fulfils them.
func (n *need) strength() int {
	if len(n.literals) == 0 {
		letters := 0
		for c := range 256 {
			if n.bytes.has(byte(c)) && (c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == ' ') {
				letters++
			}
		}
		return 40 - letters - n.bytes.len()/8
	}
	return 40 * len(slices.MinFunc(n.literals, func(a, b string) int { return len(a) - len(b) }))
}

// or returns the demand that one of two demands is fulfilled.
func (n need) or(m need) need {
	empty := func(x *need) bool { return len(x.literals) == 0 && x.bytes == byteSet{} }
	switch {
	case empty(&n):
		return m
	case empty(&m):
		return n
	case len(n.literals) > 0 && len(m.literals) > 0:
		return need{literals: unique(append(slices.Clone(n.literals), m.literals...))}
	}
	out := n.bytes
	for i := range out {
		out[i] |= m.bytes[i]
	}
	for _, l := range append(slices.Clone(n.literals), m.literals...) {
		out.addFolded(rarest(l))
	}
	return need{bytes: out}
}

// rarest returns the byte of l that stands for it in a set of bytes: one that
// is no letter, where there is one.
func rarest(l string) byte {
	for i := range len(l) {
		if c := l[i]; c < 'a' || c > 'z' {
			return c
		}
	}
	return l[0]
}

func unique(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

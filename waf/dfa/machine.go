package dfa

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

// Machine matches one expression. It is safe for concurrent use.
type Machine struct {
	re       *regexp.Regexp
	prog     *syntax.Prog
	anchored bool // matches begin at the beginning of the text or nowhere

	ascii   [utf8.RuneSelf]uint8 // class of each
	bounds  []rune               // first runes of ranges that are of one class, ascending
	classes []uint8              // of each range
	kinds   []classKind          // of each class

	cache atomic.Pointer[cache]
}

// classKind is a class of runes: one of them, and what they are to a condition
// that stands behind them.
type classKind struct {
	rune   rune
	before uint8
}

// What stands before a position, as far as conditions can tell.
const (
	beginning uint8 = iota
	newline
	wordRune
	otherRune
)

// contextRune stands for all runes of its kind.
var contextRune = [...]rune{beginning: -1, newline: '\n', wordRune: 'a', otherRune: ' '}

const (
	// maxClasses is how many classes of runes a machine may have; the end of the
	// text is one more.
	maxClasses = 255
	// maxBytes bounds the states of a machine.
	maxBytes = 128 << 10
	// A text that makes the machine build more than maxBuilt states anew, and one
	// for less than bytesPerState bytes, is cheaper to match otherwise.
	maxBuilt      = 64
	bytesPerState = 16
	// What building a state costs, and a byte in package regexp, in looks at a
	// byte (BenchmarkMatch, BenchmarkBuild).
	buildPrice = 200
	slowness   = 40
)

// Compile returns the machine of an expression in the syntax of package regexp.
// An error means that the expression is none, or that it tells apart too many
// runes.
func Compile(pattern string) (*Machine, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err
	}
	m := &Machine{re: re, prog: prog, anchored: prog.StartCond()&syntax.EmptyBeginText != 0}
	if err := m.classify(); err != nil {
		return nil, err
	}
	m.cache.Store(m.newCache(false))
	return m, nil
}

// classify divides the runes by what the program can tell of them.
func (m *Machine) classify() error {
	first := map[rune]bool{0: true}
	add := func(lo, hi rune) {
		first[lo] = true
		if hi < unicode.MaxRune {
			first[hi+1] = true
		}
	}
	for i := range m.prog.Inst {
		switch inst := &m.prog.Inst[i]; inst.Op {
		case syntax.InstRune, syntax.InstRune1:
			if len(inst.Rune) == 1 {
				r := inst.Rune[0]
				add(r, r)
				if syntax.Flags(inst.Arg)&syntax.FoldCase != 0 {
					for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
						add(f, f)
					}
				}
				continue
			}
			for j := 0; j+1 < len(inst.Rune); j += 2 {
				add(inst.Rune[j], inst.Rune[j+1])
			}
		case syntax.InstRuneAnyNotNL:
			add('\n', '\n')
		case syntax.InstEmptyWidth:
			add('\n', '\n')
			if syntax.EmptyOp(inst.Arg)&(syntax.EmptyWordBoundary|syntax.EmptyNoWordBoundary) != 0 {
				add('0', '9')
				add('A', 'Z')
				add('_', '_')
				add('a', 'z')
			}
		}
	}
	for r := range first {
		m.bounds = append(m.bounds, r)
	}
	slices.Sort(m.bounds)
	return m.merge()
}

// merge gives the ranges that no instruction tells apart one class.
func (m *Machine) merge() error {
	classes := make(map[string]uint8)
	seen := make([]byte, 0, len(m.prog.Inst)+1)
	for i, r := range m.bounds {
		kind := otherRune
		switch {
		case r == '\n':
			kind = newline
		case syntax.IsWordChar(r):
			kind = wordRune
		}
		seen = append(seen[:0], kind)
		for j := range m.prog.Inst {
			if takes(&m.prog.Inst[j], r) {
				seen = append(seen, 1)
			} else {
				seen = append(seen, 0)
			}
		}
		class, known := classes[string(seen)]
		if !known {
			if len(classes) == maxClasses {
				return fmt.Errorf("the expression tells apart more than %d classes of characters", maxClasses)
			}
			class = uint8(len(classes))
			classes[string(seen)] = class
			m.kinds = append(m.kinds, classKind{r, kind})
		}
		m.classes = append(m.classes, class)
		end := rune(utf8.RuneSelf)
		if i+1 < len(m.bounds) {
			end = min(end, m.bounds[i+1])
		}
		for ; r < end; r++ {
			m.ascii[r] = class
		}
	}
	return nil
}

// classOf returns the class of a rune outside ASCII.
func (m *Machine) classOf(r rune) int {
	lo, hi := 0, len(m.bounds)
	for hi-lo > 1 {
		mid := int(uint(lo+hi) >> 1)
		if m.bounds[mid] <= r {
			lo = mid
		} else {
			hi = mid
		}
	}
	return int(m.classes[lo])
}

// Match reports whether s holds a match, and what that cost beyond a look at
// each byte, in such looks: states that had to be built in the place of others,
// or package regexp, which was asked instead. The first states of a machine are
// for everybody, and cost nothing.
func (m *Machine) Match(s string) (matched bool, extra int) {
	c := m.cache.Load()
	st := c.start
	built := 0
	for i := 0; i < len(s); {
		if st.final {
			break
		}
		class := 0
		if b := s[i]; b < utf8.RuneSelf {
			class = int(m.ascii[b])
			i++
		} else {
			r, size := utf8.DecodeRuneInString(s[i:])
			class = m.classOf(r)
			i += size
		}
		next := st.next[class].Load()
		if next == nil {
			if c.again {
				built++
			}
			if built > maxBuilt && built*bytesPerState > i {
				return m.re.MatchString(s), built*buildPrice + slowness*len(s)
			}
			next, c = m.step(c, st, class)
		}
		st = next
	}
	if !st.final {
		end := len(m.kinds)
		next := st.next[end].Load()
		if next == nil {
			next, _ = m.step(c, st, end)
		}
		st = next
	}
	return st.matches, built * buildPrice
}

package proof

import (
	"math"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// Scan judges the values of one request. It is reused for the next after
// Reset, and belongs to one goroutine.
type Scan struct {
	p      *Program
	hit    []uint64 // links that a value matched
	counts []int
	cand   []bool // rules, after Candidates

	// Storage of judge.
	texts []textState
	at    []int // node → text
	seen  []uint64
	found []uint16
	arena []byte

	// ambiguous are links that look at every step, of which the engine may have
	// taken one for a step that changed nothing, and so gone on from another text.
	ambiguous []uint16

	// Work is how many bytes have been looked at, weighed by what a look costs:
	// the sum over values and texts. It bounds what a request may cost,
	// independent of the machine.
	Work int
	// Limit bounds Work: once it is reached, values are not looked at any more,
	// and are not clear.
	Limit int
}

// Exceeded reports whether something was not looked at, or should not have been:
// then nothing is known of the request.
func (s *Scan) Exceeded() bool { return s.Work > s.Limit }

// spend adds to the work; false when that is beyond the limit.
func (s *Scan) spend(n int) bool {
	s.Work += n
	return s.Work <= s.Limit
}

// textState is one text that a value becomes.
type textState struct {
	s       string
	traits  trait
	present byteSet
	links   []uint64
}

// NewScan returns a scan for the program.
func (p *Program) NewScan() *Scan {
	return &Scan{
		p: p, hit: make([]uint64, p.words), counts: make([]int, len(p.counts)+1), cand: make([]bool, len(p.rules)),
		seen: make([]uint64, (p.terms+63)/64), arena: make([]byte, 0, 4<<10),
	}
}

// Reset makes the scan as new.
func (s *Scan) Reset() {
	s.reset()
	if cap(s.arena) > 64<<10 {
		s.arena = make([]byte, 0, 4<<10)
	}
	s.forget()
}

func (s *Scan) reset() {
	clear(s.hit)
	clear(s.counts)
	s.Work, s.Limit = 0, math.MaxInt
}

// Value judges an entry of a part of the request: its key, in lower case, and
// its value. It reports whether no rule has a condition that the entry fulfils.
func (s *Scan) Value(v Var, key, value string) (clear bool) {
	clear = true
	x := &s.p.vars[v]
	c := x.any
	if key != "" {
		if k, named := x.byKey[key]; named {
			c = k
		}
	}
	if c != nil {
		clear = s.remembered(c, value)
	}
	for _, n := range x.count {
		s.counts[n]++
	}
	if x.keys != nil {
		for _, n := range x.keys[key] {
			s.counts[n]++
		}
	}
	for i := range x.regex {
		if r := &x.regex[i]; r.re.MatchString(key) {
			if r.isCount {
				s.counts[r.count]++
			} else {
				clear = s.remembered(r.class, value) && clear
			}
		}
	}
	return clear
}

// ValueExcept is Value without the rules of except, by index.
func (s *Scan) ValueExcept(v Var, key, value string, except []bool) (clear bool) {
	before := append([]uint64(nil), s.hit...)
	if s.Value(v, key, value) {
		return true
	}
	clear = true
	for w := range s.hit {
		for rest := s.hit[w] &^ before[w]; rest != 0; rest &= rest - 1 {
			n := w<<6 + bits.TrailingZeros64(rest)
			if except[s.p.links[n].rule] {
				s.hit[w] &^= 1 << (n & 63)
			} else {
				clear = false
			}
		}
	}
	// A condition that an earlier value fulfilled may be fulfilled by this one too.
	for w := range before {
		clear = clear && before[w] == 0
	}
	return clear
}

// remembered judges a value unless the memory knows it to be clear.
func (s *Scan) remembered(c *class, value string) (clear bool) {
	if len(value) > rememberBytes || len(value) == 0 {
		return s.judge(c, value)
	}
	f := s.p.memory.fingerprint(c.id, value)
	if s.p.memory.has(f) {
		s.Work += valuePrice/4 + len(value)/8
		return true
	}
	if clear = s.judge(c, value); clear && !s.Exceeded() {
		s.p.memory.add(f)
	}
	return clear
}

// judge notes the links of c that value matches; it reports whether there are
// none.
func (s *Scan) judge(c *class, value string) (clear bool) {
	p := s.p
	if !s.spend(valuePrice) || !s.become(c, value) {
		return false
	}
	clear = true
	match := func(n uint16) {
		s.hit[n>>6] |= 1 << (n & 63)
		clear = false
	}
	for _, n := range s.ambiguous {
		match(n)
	}
	for i := range s.texts {
		t := &s.texts[i]
		if !s.spend(len(t.s)) {
			return false
		}
		for w, set := range t.links {
			for rest := set & p.always[w]; rest != 0; rest &= rest - 1 {
				n := uint16(w<<6 + bits.TrailingZeros64(rest))
				if s.test(n, t.s) {
					match(n)
				}
			}
		}
		if t.traits&hasHigh != 0 && foldHazard(t.s) {
			// Needs are no help: ask every operator.
			for w, set := range t.links {
				for rest := set &^ p.always[w]; rest != 0; rest &= rest - 1 {
					n := uint16(w<<6 + bits.TrailingZeros64(rest))
					if !p.links[n].exact && s.test(n, t.s) {
						match(n)
					}
				}
			}
		}
		s.found = p.auto.scan(t.s, s.seen, s.found[:0])
		for _, f := range s.found {
			for j := range p.byNeed[f] {
				a := &p.byNeed[f][j]
				if t.links[a.link>>6]&(1<<(a.link&63)) == 0 || !s.fulfilled(a, t) {
					continue
				}
				if p.links[a.link].exact || s.test(a.link, t.s) {
					match(a.link)
				}
			}
		}
		for j := range c.byBytes {
			a := &c.byBytes[j]
			if !p.byteOf[a.trigger].meets(&t.present) || t.links[a.link>>6]&(1<<(a.link&63)) == 0 || !s.fulfilled(a, t) {
				continue
			}
			if s.test(a.link, t.s) {
				match(a.link)
			}
		}
		for _, f := range s.found {
			s.seen[f>>6] &^= 1 << (f & 63)
		}
	}
	return clear
}

// test asks the operator of a link; beyond the limit the answer is yes.
func (s *Scan) test(n uint16, text string) bool {
	l := &s.p.links[n]
	if !s.spend(l.price * len(text)) {
		return true
	}
	matched, extra := l.test(text)
	s.Work += extra
	return matched
}

// What a byte costs, in bytes that the automaton looks at, which are some 5 ns
// each with all that is done for them (BenchmarkDear in waf/crs).
const (
	slowness       = 40 // a pattern that package dfa does not match
	injectionPrice = 4  // libinjection
	valuePrice     = 64 // a value by itself, however short
)

// fulfilled reports whether a text has all that an alternative needs.
func (s *Scan) fulfilled(a *alternative, t *textState) bool {
	for _, n := range a.literals {
		if s.seen[n>>6]&(1<<(n&63)) == 0 {
			return false
		}
	}
	for _, n := range a.bytes {
		if !s.p.byteOf[n].meets(&t.present) {
			return false
		}
	}
	return true
}

// become makes the texts that the chains of transformations of c turn value
// into. Most transformations change nothing, and many chains end in the same
// text, which is looked at once for all of them. false: that is beyond the limit.
func (s *Scan) become(c *class, value string) bool {
	s.texts = s.texts[:0]
	s.at = s.at[:0]
	s.arena = s.arena[:0]
	s.ambiguous = s.ambiguous[:0]
	for i := range c.nodes {
		n := &c.nodes[i]
		at := 0
		switch {
		case n.parent < 0:
			s.addText(value)
		default:
			at = s.at[n.parent]
			if from := &s.texts[at]; n.apply.touches(from.traits) {
				in := from.s
				if !s.spend(len(in)) {
					return false
				}
				at = s.textOf(n.apply, at)
				if n.after != nil && hidesChange(n.apply, in, s.texts[at].s) {
					s.ambiguous = append(s.ambiguous, n.after...)
				}
			}
		}
		s.at = append(s.at, at)
		if n.links != nil {
			set := s.texts[at].links
			for w := range set {
				set[w] |= n.links[w]
			}
		}
	}
	return true
}

// hidesChange reports whether the engine may take a change for none: it tells
// them by the length, or by white space.
func hidesChange(t *transformation, in, out string) bool {
	switch t.name {
	case "htmlentitydecode":
		return len(out) == len(in) && out != in
	case "removewhitespace":
		return !utf8.ValidString(in)
	}
	return false
}

// textOf returns which text a transformation makes of another.
func (s *Scan) textOf(t *transformation, from int) int {
	in := s.texts[from].s
	room := 3*len(in) + 16
	if cap(s.arena)-len(s.arena) < room {
		s.arena = make([]byte, 0, max(2*cap(s.arena), room)) // texts keep the old one
	}
	begin := len(s.arena)
	out := t.apply(s.arena[begin:begin:begin+room], in)
	s.arena = s.arena[:begin+min(len(out), room)]
	if out == in {
		return from
	}
	for i := range s.texts {
		if s.texts[i].s == out {
			return i
		}
	}
	return s.addText(out)
}

func (s *Scan) addText(text string) int {
	n := len(s.texts)
	if n < cap(s.texts) {
		s.texts = s.texts[:n+1]
	} else {
		s.texts = append(s.texts, textState{})
	}
	t := &s.texts[n]
	if len(t.links) != s.p.words {
		t.links = make([]uint64, s.p.words)
	} else {
		clear(t.links)
	}
	t.s, t.traits, t.present = text, 0, byteSet{}
	for i := 0; i < len(text); i++ {
		b := text[i]
		t.traits |= traitOf[b]
		t.present[b>>6] |= 1 << (b & 63)
	}
	return n
}

// Candidates returns, by index, which rules may match the request whose values
// have been judged, and whether any of those that find something may.
func (s *Scan) Candidates() (rules []bool, any bool) {
	p := s.p
	for i := range p.counts {
		t := &p.counts[i]
		if n := s.counts[i]; n < len(t.small) {
			for _, l := range t.small[n] {
				s.hit[l>>6] |= 1 << (l & 63)
			}
		} else {
			s.judge(t.class, strconv.Itoa(n))
		}
	}
	clear(s.cand)
	for changed := true; changed; { // a rule may wait for one that stands behind it
		changed = false
		for i := range p.rules {
			if r := &p.rules[i]; !s.cand[i] && s.candidate(r) {
				s.cand[i], changed = true, p.waiting
				any = any || r.finds
			}
		}
	}
	return s.cand, any
}

func (s *Scan) candidate(r *rule) bool {
	for _, l := range r.links {
		if s.hit[l>>6]&(1<<(l&63)) == 0 {
			return false
		}
	}
	for _, setters := range r.setters {
		one := false
		for _, i := range setters {
			one = one || s.cand[i]
		}
		if !one {
			return false
		}
	}
	return true
}

// forget lets go of the request's texts, and keeps the storage.
func (s *Scan) forget() {
	for i := range s.texts[:cap(s.texts)] {
		s.texts[:cap(s.texts)][i].s = ""
	}
}

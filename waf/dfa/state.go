package dfa

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"sync"
	"sync/atomic"
)

// state is a set of places in the program at which a match may stand. It is
// immutable but for its transitions, which are filled in once.
type state struct {
	places  []uint32 // of instructions that take a rune or ask a condition, ascending
	before  uint8    // what was read last, when a condition asks
	final   bool     // nothing that follows changes the answer,
	matches bool     // which is this
	next    []atomic.Pointer[state]
}

// cache holds the states built so far.
type cache struct {
	start *state
	again bool // not the machine's first

	mu      sync.Mutex // guards what follows, and is held while a state is built
	states  map[string]*state
	bytes   int
	now     set // storage of step
	then    set
	stack   []uint32
	key     []byte
	matched *state
	failed  *state
}

// set is a set of places (Briggs and Torczon, An efficient representation for
// sparse sets, 1993).
type set struct {
	dense  []uint32
	sparse []uint32
}

func newSet(n int) set { return set{make([]uint32, 0, n), make([]uint32, n)} }

func (s *set) add(pc uint32) bool {
	if at := s.sparse[pc]; int(at) < len(s.dense) && s.dense[at] == pc {
		return false
	}
	s.sparse[pc] = uint32(len(s.dense))
	s.dense = append(s.dense, pc)
	return true
}

func (m *Machine) newCache(again bool) *cache {
	n := len(m.prog.Inst)
	c := &cache{
		again:  again,
		states: make(map[string]*state), now: newSet(n), then: newSet(n),
		matched: &state{final: true, matches: true}, failed: &state{final: true},
	}
	c.start = c.follow(m, &c.then, uint32(m.prog.Start), 0, false)
	if c.start == nil {
		c.start = c.intern(m, &c.then, beginning)
	}
	return c
}

// follow adds the places that can be reached from pc without reading. Conditions
// are followed when given says that they hold; without asked they stay, until
// what follows is known. It returns the state of a match when one is reached.
func (c *cache) follow(m *Machine, into *set, pc uint32, given syntax.EmptyOp, asked bool) *state {
	c.stack = append(c.stack[:0], pc)
	for len(c.stack) > 0 {
		pc = c.stack[len(c.stack)-1]
		c.stack = c.stack[:len(c.stack)-1]
		if !into.add(pc) {
			continue
		}
		switch inst := &m.prog.Inst[pc]; inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			c.stack = append(c.stack, inst.Out, inst.Arg)
		case syntax.InstCapture, syntax.InstNop:
			c.stack = append(c.stack, inst.Out)
		case syntax.InstEmptyWidth:
			if asked && syntax.EmptyOp(inst.Arg)&^given == 0 {
				c.stack = append(c.stack, inst.Out)
			}
		case syntax.InstMatch:
			return c.matched
		}
	}
	return nil
}

// step builds the transition of a state by a class of runes, or by the end of
// the text. When the cache is full, the machine gets a new one, which is
// returned.
func (m *Machine) step(c *cache, from *state, class int) (*state, *cache) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if next := from.next[class].Load(); next != nil {
		return next, c
	}
	if c.bytes > maxBytes {
		if m.cache.Load() == c {
			m.cache.CompareAndSwap(c, m.newCache(true))
		}
		fresh := m.cache.Load() // a later one: its lock is never held by one that wants this
		fresh.mu.Lock()
		defer fresh.mu.Unlock()
		return fresh.build(m, from, class), fresh
	}
	next := c.build(m, from, class)
	from.next[class].Store(next)
	return next, c
}

func (c *cache) build(m *Machine, from *state, class int) *state {
	end := class == len(m.kinds)
	r := rune(-1)
	if !end {
		r = m.kinds[class].rune
	}
	given := syntax.EmptyOpContext(contextRune[from.before], r)
	c.now.dense = c.now.dense[:0]
	for _, pc := range from.places {
		if c.follow(m, &c.now, pc, given, true) != nil {
			return c.matched
		}
	}
	if end {
		return c.failed
	}
	c.then.dense = c.then.dense[:0]
	for _, pc := range c.now.dense {
		if !takes(&m.prog.Inst[pc], r) {
			continue
		}
		if c.follow(m, &c.then, m.prog.Inst[pc].Out, 0, false) != nil {
			return c.matched
		}
	}
	if !m.anchored && c.follow(m, &c.then, uint32(m.prog.Start), 0, false) != nil {
		return c.matched
	}
	return c.intern(m, &c.then, m.kinds[class].before)
}

// takes reports whether an instruction reads r.
func takes(inst *syntax.Inst, r rune) bool {
	switch inst.Op {
	case syntax.InstRune, syntax.InstRune1:
		return inst.MatchRune(r)
	case syntax.InstRuneAny:
		return true
	case syntax.InstRuneAnyNotNL:
		return r != '\n'
	}
	return false
}

// intern returns the state of a set of places.
func (c *cache) intern(m *Machine, places *set, before uint8) *state {
	kept := make([]uint32, 0, len(places.dense))
	conditions := false
	for _, pc := range places.dense {
		switch m.prog.Inst[pc].Op {
		case syntax.InstEmptyWidth:
			conditions = true
			kept = append(kept, pc)
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			kept = append(kept, pc)
		}
	}
	if len(kept) == 0 {
		return c.failed
	}
	if !conditions {
		before = otherRune // nobody asks
	}
	slices.Sort(kept)
	c.key = append(c.key[:0], before)
	for _, pc := range kept {
		c.key = binary.LittleEndian.AppendUint32(c.key, pc)
	}
	if st := c.states[string(c.key)]; st != nil {
		return st
	}
	st := &state{places: kept, before: before, next: make([]atomic.Pointer[state], len(m.kinds)+1)}
	c.states[string(c.key)] = st
	c.bytes += 8*len(st.next) + 8*len(kept) + 128
	return st
}

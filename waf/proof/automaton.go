package proof

import (
	"fmt"
	"math"
)

// automaton finds which of many literals a text holds, in one pass and in
// either case of ASCII letters (Aho and Corasick, CACM 18(6), 1975), with all
// transitions spelt out: a byte costs one load.
//
// It is immutable. States that complete a literal have the highest numbers, so
// that the inner loop asks one comparison.
type automaton struct {
	class   [256]uint8 // of each byte; bytes in no literal are class 0
	classes int
	next    []uint16 // state*classes + class → state
	accept  uint16   // states from here complete at least one literal
	outputs [][]uint16
}

// literal is a text to look for and what its presence means.
type literal struct {
	text string // in lower case, not empty
	mean uint16
}

// newAutomaton builds the automaton of the literals.
func newAutomaton(literals []literal) (*automaton, error) {
	a := &automaton{classes: 1}
	for _, l := range literals {
		for i := range len(l.text) {
			if c := l.text[i]; a.class[c] == 0 {
				if a.classes == 256 {
					return nil, fmt.Errorf("the literals use every byte")
				}
				a.class[c] = uint8(a.classes)
				a.classes++
			}
		}
	}
	for c := byte('a'); c <= 'z'; c++ {
		a.class[c-'a'+'A'] = a.class[c]
	}

	// The trie, then its failure links in order of depth.
	trie := [][]uint32{make([]uint32, a.classes)}
	outputs := [][]uint16{nil}
	for _, l := range literals {
		s := uint32(0)
		for i := range len(l.text) {
			c := a.class[l.text[i]]
			if trie[s][c] == 0 {
				trie[s][c] = uint32(len(trie))
				trie = append(trie, make([]uint32, a.classes))
				outputs = append(outputs, nil)
			}
			s = trie[s][c]
		}
		outputs[s] = append(outputs[s], l.mean)
	}
	if len(trie) > math.MaxUint16 {
		return nil, fmt.Errorf("%d states, more than the %d that fit", len(trie), math.MaxUint16)
	}
	fail := make([]uint32, len(trie))
	queue := make([]uint32, 0, len(trie))
	for _, s := range trie[0] {
		if s != 0 {
			queue = append(queue, s)
		}
	}
	for i := 0; i < len(queue); i++ {
		s := queue[i]
		outputs[s] = append(outputs[s], outputs[fail[s]]...)
		for c, t := range trie[s] {
			if t == 0 {
				trie[s][c] = trie[fail[s]][c]
				continue
			}
			fail[t] = trie[fail[s]][c]
			queue = append(queue, t)
		}
	}

	// Renumber: accepting states last.
	number := make([]uint16, len(trie))
	n := uint16(0)
	for _, accepting := range []bool{false, true} {
		if accepting {
			a.accept = n
		}
		for s := range trie {
			if (outputs[s] != nil) == accepting {
				number[s] = n
				n++
			}
		}
	}
	a.next = make([]uint16, len(trie)*a.classes)
	a.outputs = make([][]uint16, len(trie)-int(a.accept))
	for s := range trie {
		for c, t := range trie[s] {
			a.next[int(number[s])*a.classes+c] = number[t]
		}
		if outputs[s] != nil {
			a.outputs[number[s]-a.accept] = outputs[s]
		}
	}
	return a, nil
}

// scan adds the meanings of the literals in s to found, in which a meaning
// stands once; seen is a bit for each meaning and is all zero before and, but
// for the bits of found, after.
func (a *automaton) scan(s string, seen []uint64, found []uint16) []uint16 {
	state, classes, next, accept := uint16(0), a.classes, a.next, a.accept
	for i := 0; i < len(s); i++ {
		state = next[int(state)*classes+int(a.class[s[i]])]
		if state < accept {
			continue
		}
		for _, m := range a.outputs[state-accept] {
			if seen[m>>6]&(1<<(m&63)) == 0 {
				seen[m>>6] |= 1 << (m & 63)
				found = append(found, m)
			}
		}
	}
	return found
}

// bytes returns the memory that the automaton holds.
func (a *automaton) bytes() int {
	n := 2*len(a.next) + 24*len(a.outputs)
	for _, o := range a.outputs {
		n += 2 * len(o)
	}
	return n
}

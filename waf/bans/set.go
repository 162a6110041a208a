package bans

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"
)

// Set is an immutable set of entries. A nil Set is empty.
type Set struct {
	networks *bart.Table[*Entry] // nil: none
	names    [numKinds]map[string]*Entry
	patterns [numKinds][]pattern // of Path and Agent
	size     int
}

type pattern struct {
	glob
	entry *Entry
}

// NewSet returns the set of the given entries, as those of a configuration.
func NewSet(entries []*Entry) *Set {
	var s *Set
	for _, e := range entries {
		s = s.with(e)
	}
	return s
}

// with returns s with e in place of what it says of e's target.
func (s *Set) with(e *Entry) *Set {
	next := new(Set)
	if s != nil {
		*next = *s
	}
	if s.find(e.Target) == nil {
		next.size++
	}
	switch e.Kind {
	case Address:
		if next.networks == nil {
			next.networks = new(bart.Table[*Entry])
		}
		p, err := parseNetwork(e.Value)
		if err != nil {
			panic("BUG: a target is not in its normal form: " + err.Error())
		}
		next.networks = next.networks.InsertPersist(p, e)
		return next
	case Path, Agent:
		list := without(next.patterns[e.Kind], e.Value)
		next.patterns[e.Kind] = append(list, pattern{newGlob(e.Kind, e.Value), e})
	}
	next.names[e.Kind] = maps.Clone(next.names[e.Kind])
	if next.names[e.Kind] == nil {
		next.names[e.Kind] = make(map[string]*Entry)
	}
	next.names[e.Kind][e.Value] = e
	return next
}

// minus returns s without what it says of t.
func (s *Set) minus(t Target) *Set {
	if s.find(t) == nil {
		return s
	}
	next := new(Set)
	*next = *s
	next.size--
	switch t.Kind {
	case Address:
		p, _ := parseNetwork(t.Value)
		next.networks = next.networks.DeletePersist(p)
		if next.networks.Size() == 0 {
			next.networks = nil
		}
		return next
	case Path, Agent:
		next.patterns[t.Kind] = without(next.patterns[t.Kind], t.Value)
	}
	next.names[t.Kind] = maps.Clone(next.names[t.Kind])
	delete(next.names[t.Kind], t.Value)
	return next
}

// without is a copy of list without the pattern text.
func without(list []pattern, text string) []pattern {
	return slices.DeleteFunc(slices.Clone(list), func(p pattern) bool { return p.entry.Value == text })
}

// find returns the entry of exactly that target.
func (s *Set) find(t Target) *Entry {
	if s == nil {
		return nil
	}
	if t.Kind == Address {
		if s.networks == nil {
			return nil
		}
		p, err := parseNetwork(t.Value)
		if err != nil {
			return nil
		}
		e, _ := s.networks.Get(p)
		return e
	}
	return s.names[t.Kind][t.Value]
}

// Size returns the number of entries.
func (s *Set) Size() int {
	if s == nil {
		return 0
	}
	return s.size
}

// Entries returns all entries, by kind and value.
func (s *Set) Entries() []*Entry {
	if s == nil {
		return nil
	}
	all := make([]*Entry, 0, s.size)
	if s.networks != nil {
		for _, e := range s.networks.AllSorted() {
			all = append(all, e)
		}
	}
	for k := Country; k < numKinds; k++ {
		for _, v := range slices.Sorted(maps.Keys(s.names[k])) {
			all = append(all, s.names[k][v])
		}
	}
	return all
}

// has reports whether an entry names something of that kind.
func (s *Set) has(k Kind) bool {
	if s == nil {
		return false
	}
	if k == Address {
		return s.networks != nil
	}
	return len(s.names[k]) > 0
}

// address returns the entry of the narrowest network that holds a.
func (s *Set) address(a netip.Addr, nowNS int64) *Entry {
	if s == nil || s.networks == nil || !a.IsValid() {
		return nil
	}
	a = a.Unmap()
	e, ok := s.networks.Lookup(a)
	if !ok {
		return nil
	}
	if e.live(nowNS) {
		return e
	}
	// Over, and not swept yet: a wider network may hold a too.
	for _, e := range s.networks.Supernets(netip.PrefixFrom(a, a.BitLen())) {
		if e.live(nowNS) {
			return e
		}
	}
	return nil
}

// name returns the entry of kind k for value. It is not for Address.
func (s *Set) name(k Kind, value string, nowNS int64) *Entry {
	if s == nil || value == "" {
		return nil
	}
	if e := s.names[k][value]; e != nil && e.live(nowNS) {
		return e
	}
	return nil
}

// match returns the first entry of kind k whose pattern text matches. The text
// of user agents is in lower case already.
func (s *Set) match(k Kind, text []byte, nowNS int64) *Entry {
	if s == nil {
		return nil
	}
	for i := range s.patterns[k] {
		if p := &s.patterns[k][i]; p.match(text) && p.entry.live(nowNS) {
			return p.entry
		}
	}
	return nil
}

// glob is a text in which * is any run of bytes, cut at the stars.
type glob struct {
	parts       [][]byte
	front, back bool // the text must begin with the first part, end with the last
}

func newGlob(k Kind, text string) glob {
	if k == Agent && !strings.Contains(text, "*") {
		text = "*" + text + "*"
	}
	return glob{
		parts: bytes.FieldsFunc([]byte(text), func(r rune) bool { return r == '*' }),
		front: !strings.HasPrefix(text, "*"), back: !strings.HasSuffix(text, "*"),
	}
}

// match reports whether the whole text matches. It neither recurses nor
// backtracks over a part that has matched: the first match of a part leaves the
// most to the next.
func (g *glob) match(text []byte) bool {
	parts := g.parts
	if g.front {
		var ok bool
		if text, ok = bytes.CutPrefix(text, parts[0]); !ok {
			return false
		}
		if parts = parts[1:]; len(parts) == 0 {
			return !g.back || len(text) == 0
		}
	}
	if g.back && len(parts) > 0 {
		var ok bool
		if text, ok = bytes.CutSuffix(text, parts[len(parts)-1]); !ok {
			return false
		}
		parts = parts[:len(parts)-1]
	}
	for _, p := range parts {
		i := bytes.Index(text, p)
		if i < 0 {
			return false
		}
		text = text[i+len(p):]
	}
	return true
}

// appendLower appends text with its ASCII letters in lower case.
func appendLower(b []byte, text string) []byte {
	for i := range len(text) {
		c := text[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

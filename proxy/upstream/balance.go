package upstream

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// balance is a way to choose an endpoint.
type balance uint8

const (
	leastRequest balance = iota
	roundRobin
	twoChoices
	hashed
)

var balanceWords = [...]string{"least_request", "round_robin", "two_choices", "hash"}

func (b balance) String() string { return balanceWords[b] }

func parseBalance(word string) (balance, error) {
	if word == "" {
		return leastRequest, nil
	}
	for b, w := range balanceWords {
		if w == word {
			return balance(b), nil
		}
	}
	return 0, fmt.Errorf("unknown balance %q", word)
}

// mostTurns bounds the order of weighted turns.
const mostTurns = 4096

// turns lays out one round of smooth weighted round robin (nginx's algorithm):
// each member as often as its weight says, spread as evenly as can be.
func turns(members []member) []uint16 {
	divisor, total := 0, 0
	for _, m := range members {
		divisor = gcd(m.weight, divisor)
		total += m.weight
	}
	if len(members) == 0 {
		return nil
	}
	weights := make([]int, len(members))
	for i, m := range members {
		weights[i] = m.weight / divisor
		if total/divisor > mostTurns { // weights that differ by thousands: near enough
			weights[i] = max(1, int(float64(m.weight)/float64(total)*mostTurns))
		}
	}
	sum := 0
	for _, w := range weights {
		sum += w
	}
	order := make([]uint16, 0, sum)
	current := make([]int, len(members))
	for range sum {
		best := 0
		for i := range current {
			current[i] += weights[i]
			if current[i] > current[best] {
				best = i
			}
		}
		current[best] -= sum
		order = append(order, uint16(best))
	}
	return order
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// pick chooses a member that was not tried. There is at least one, and two members.
func (t *table) pick(b balance, g *group, hash uint64, tried *Tried) *Endpoint {
	switch b {
	case roundRobin:
		return t.turn(g.next.Add(1), tried)
	case twoChoices:
		first := t.turn(rand.Uint32(), tried)
		second := t.turn(rand.Uint32(), tried)
		return t.lighter(first, second)
	case hashed:
		return t.rendezvous(hash, tried)
	}
	return t.least(tried)
}

// turn returns the member whose turn n is, or the next one that was not tried.
func (t *table) turn(n uint32, tried *Tried) *Endpoint {
	at := int(n % uint32(len(t.turns)))
	for {
		if e := t.members[t.turns[at]].Endpoint; !tried.has(e) {
			return e
		}
		if at++; at == len(t.turns) {
			at = 0
		}
	}
}

// lighter returns the one with fewer exchanges under way for its weight.
func (t *table) lighter(a, b *Endpoint) *Endpoint {
	if a == b {
		return a
	}
	if (b.inflight()+1)*t.weight(a) < (a.inflight()+1)*t.weight(b) {
		return b
	}
	return a
}

func (t *table) weight(e *Endpoint) int {
	for _, m := range t.members {
		if m.Endpoint == e {
			return m.weight
		}
	}
	return 1
}

// least returns the member with the fewest exchanges under way for its weight. It
// begins anywhere, so that equals are chosen alike; what other cores pick meanwhile is not seen.
func (t *table) least(tried *Tried) *Endpoint {
	var best member
	bestLoad := 0
	n := len(t.members)
	first := int(rand.Uint32N(uint32(n)))
	for i := range n {
		at := first + i
		if at >= n {
			at -= n
		}
		m := t.members[at]
		if tried.has(m.Endpoint) {
			continue
		}
		load := m.inflight() + 1
		if best.Endpoint == nil || load*best.weight < bestLoad*m.weight {
			best, bestLoad = m, load
		}
	}
	return best.Endpoint
}

// rendezvous returns the member with the highest weighted score for the hash
// (Thaler and Ravishankar 1998; the weights after Schindelhauer and Schomaker
// 2005: -w / ln u). When one goes, only what it had moves.
func (t *table) rendezvous(hash uint64, tried *Tried) *Endpoint {
	var best *Endpoint
	bestScore := math.Inf(-1)
	for _, m := range t.members {
		if tried.has(m.Endpoint) {
			continue
		}
		u := (float64(mix(hash^m.seed)>>11) + 0.5) / (1 << 53) // in (0, 1)
		if score := -float64(m.weight) / math.Log(u); score > bestScore {
			best, bestScore = m.Endpoint, score
		}
	}
	return best
}

// mix is the finalizer of SplitMix64 (Steele et al. 2014): every bit decides over every other.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// hashString is FNV-1a: the same in every process, so that the nodes agree.
func hashString(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

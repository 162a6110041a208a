package cluster

import (
	"math/bits"
	"slices"
	"time"
)

// maxHomes bounds how many owners a key can have.
const maxHomes = 8

// Home appends to dst the owners of a key, the first one first, at most n and at
// most 8, and returns it. Every node that sees the same members gives the same
// answer. Owners are members for at least HomeAge, suspects among them; when
// one goes, only its keys get another owner, and a node that restarts gets its
// own back. key must be spread evenly, as hashes are.
//
// It is rendezvous hashing over the half of the id that outlives restarts.
func (n *Node) Home(dst []NodeID, key uint64, count int) []NodeID {
	count = min(count, maxHomes)
	var best [maxHomes]struct {
		score uint64
		id    NodeID
	}
	found := 0
	for _, id := range n.roster.view.Load().homes {
		s := rendezvous(id, key)
		at := found
		for at > 0 && (s > best[at-1].score || s == best[at-1].score && id < best[at-1].id) {
			at--
		}
		if at >= count {
			continue
		}
		found = min(found+1, count)
		copy(best[at+1:found], best[at:found-1])
		best[at].score, best[at].id = s, id
	}
	for _, b := range best[:found] {
		dst = append(dst, b.id)
	}
	return dst
}

// rendezvous scores an owner for a key: a multiplication folded, twice, as in
// wyhash, which leaves no pattern between owners.
func rendezvous(id NodeID, key uint64) uint64 {
	h, l := bits.Mul64(uint64(id.Stable())^0xa0761d6478bd642f, key^0xe7037ed1a0b428db)
	h, l = bits.Mul64(h^l^0x8ebc6af09c88c6e3, key+0x589965cc75374cc3)
	return h ^ l
}

// Majority says whether this node sees more than half of the named nodes, itself
// among them: members that it has heard from. Exactly half is enough on the side
// that has the first name in order of the alphabet, so that one half of an
// even split goes on, and never two.
func (n *Node) Majority(of []string) bool {
	if len(of) == 0 {
		return false
	}
	v := n.roster.view.Load()
	now, limit := time.Now(), n.roster.suspectAfter()
	sees := func(name string) bool {
		if name == n.id.name {
			return true
		}
		p := v.byName[name]
		return p != nil && p.silence(now) <= limit
	}
	count := 0
	for _, name := range of {
		if sees(name) {
			count++
		}
	}
	return 2*count > len(of) || 2*count == len(of) && sees(slices.Min(of))
}

package lease

import (
	"slices"
	"time"

	"sluice/limiter/core"
)

// When an epoch begins, its authorities know nothing for certain. What they need
// comes from two sides. Every node presents its own rows and its own uses: see
// Node.enter. What a replica had told that is not there to present, because it died
// or is cut off, is in the books of earlier homes, in the copies at their standbys,
// and in the shadows of what Redis was told: whoever has such a row hands it to the
// key's home and standby, repeats it until they say that they have it, and then says
// in its pings that it has handed over all. Homes open when all that are in touch
// have said so. To Redis it is the home that the key would have, or its standby,
// that presents such rows, under the name of the replica.

// shipment is what a member is to be handed and has not said that it has.
type shipment struct {
	keys   []Key
	sentNS int64
}

// estate is a row that is to be presented to Redis for a replica that cannot.
type estate struct {
	key   Key
	limit Limit
	take  core.Take
}

// shipEvery is how often what was not acknowledged is sent again.
const shipEvery = 250 * time.Millisecond

// there reports whether a replica is in touch and of this epoch, so that it presents
// what it has itself.
func (n *Node) there(now Instant, r core.Replica) bool {
	if r == n.self {
		return true
	}
	for _, p := range n.peers {
		if p.replica == r {
			return p.epoch == n.epoch && now.MonoNS-p.heardNS < int64(QuorumFor)
		}
	}
	return false
}

// strangers are the rows of a bucket whose replicas are not there.
func (n *Node) strangers(now Instant, b *bucket) core.Snapshot {
	return b.ledger.Snapshot(b.limit.Stamp(now), b.limit.core(now), func(r core.Replica) bool { return !n.there(now, r) })
}

// beginShipping goes through all books again: a new epoch has begun.
func (n *Node) beginShipping() {
	n.shipAt = 0
	n.ships = nil
	n.estates = nil
}

// ship goes on handing over.
func (n *Node) ship(now Instant) {
	// A moment later it is known who is there.
	if n.shipAt < len(n.shelf) && now.MonoNS-n.epochNS > int64(QuorumFor)/2 {
		for range 256 + len(n.shelf)/64 {
			if n.shipAt >= len(n.shelf) {
				break
			}
			n.shipBucket(now, n.shelf[n.shipAt])
			n.shipAt++
		}
	}
	for m, s := range n.sortedShips() {
		if len(s.keys) == 0 || now.MonoNS-s.sentNS < int64(shipEvery) {
			continue
		}
		s.sentNS = now.MonoNS
		for keys := range slices.Chunk(s.keys[:min(len(s.keys), 64*itemsEach)], itemsEach) {
			var items []Item
			for _, k := range keys {
				if b := n.books[k]; b != nil {
					items = append(items, Item{Key: k, Limit: b.limit, Snap: n.strangers(now, b)})
				}
			}
			n.out = append(n.out, Envelope{To: m, Reliable: true, Message: Message{Kind: MsgSnap, Epoch: n.epoch, Items: items}})
		}
	}
}

// shipBucket notes what is to be handed over of one key.
func (n *Node) shipBucket(now Instant, b *bucket) {
	snap := n.strangers(now, b)
	if len(snap.Rows) == 0 {
		return
	}
	if !n.keeps() {
		home, second := owners(n.members, b.key)
		p := n.peers[home]
		others := home != n.o.Self && (second != n.o.Self || p != nil && now.MonoNS-p.anyNS < int64(QuorumFor))
		for i := range snap.Rows {
			r := &snap.Rows[i]
			if others && stable(r.Replica) != stable(n.o.Self) {
				continue // what earlier lives of this node have used it may be alone to know
			}
			if r.Row.Held() > 0 || len(r.Uses) > 0 {
				n.estates = append(n.estates, estate{b.key, b.limit, r.Estate(n.epoch)})
			}
		}
		return
	}
	home, second := owners(n.decree.Homes, b.key)
	for _, to := range []Member{home, second} {
		if to == 0 || to == n.o.Self {
			continue
		}
		if n.ships == nil {
			n.ships = map[Member]*shipment{}
		}
		s := n.ships[to]
		if s == nil {
			s = &shipment{}
			n.ships[to] = s
		}
		s.keys = append(s.keys, b.key)
	}
}

// handed reports whether this node has told all that it knows in this epoch.
func (n *Node) handed() bool {
	if n.presenting > 0 || n.shipAt < len(n.shelf) || len(n.estates) > 0 || n.estatesOut > 0 {
		return false
	}
	for _, s := range n.ships {
		if len(s.keys) > 0 {
			return false
		}
	}
	return true
}

// snapped notes that a member has what it was handed.
func (n *Node) snapped(from Member, m *Message) {
	s := n.ships[from]
	if m.Epoch != n.epoch || s == nil {
		return
	}
	had := make(map[Key]bool, len(m.Items))
	for i := range m.Items {
		had[m.Items[i].Key] = true
	}
	s.keys = slices.DeleteFunc(s.keys, func(k Key) bool { return had[k] })
	s.sentNS = 0 // the rest at once
}

// absorb takes over what is known of a key elsewhere.
func (n *Node) absorb(now Instant, from Member, m *Message) {
	if m.Epoch != n.epoch || !n.keeps() {
		return
	}
	back := make([]Item, 0, len(m.Items))
	for i := range m.Items {
		it := &m.Items[i]
		if home, second := owners(n.decree.Homes, it.Key); home == n.o.Self || second == n.o.Self {
			b := n.bucketOf(now, it.Key, it.Limit)
			b.ledger.Absorb(b.limit.Stamp(now), b.limit.core(now), it.Snap, core.MaxRuns)
		}
		back = append(back, Item{Key: it.Key})
	}
	n.send(from, Message{Kind: MsgSnapped, Items: back})
}

// lost are the homes of the last decree under which all was told that are not there
// now: each may have taken what it alone knew with it.
func (n *Node) lost() (homes []Member) {
	for _, m := range n.decree.Whole {
		if p := n.peers[m]; m != n.o.Self && (p == nil || p.handed != n.epoch) {
			homes = append(homes, m)
		}
	}
	return homes
}

// forgotten reports whether nobody is left who knows a key's books.
func (n *Node) forgotten(k Key) bool {
	lost := n.lost()
	if len(lost) < 2 {
		return false
	}
	home, second := owners(n.decree.Whole, k)
	return slices.Contains(lost, home) && slices.Contains(lost, second)
}

// sortedShips yields the shipments in the order of the members' names.
func (n *Node) sortedShips() func(yield func(Member, *shipment) bool) {
	return func(yield func(Member, *shipment) bool) {
		for _, m := range n.members {
			if s := n.ships[m]; s != nil && !yield(m, s) {
				return
			}
		}
	}
}

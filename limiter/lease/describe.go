package lease

import "sluice/limiter/core"

// Description is what the books say about a key, for people.
type Description struct {
	Home, Standby Member // 0 while Redis keeps the books
	Known         bool   // whether this node has the books, or a copy of them
	Used, Held    int64
	Rows          []core.SnapshotRow
}

// Describe says who keeps the books of a key, and what they say if they are here.
func (n *Node) Describe(now Instant, k Key) (d Description) {
	if n.keeps() {
		d.Home, d.Standby = owners(n.decree.Homes, k)
	}
	if b := n.books[k]; b != nil {
		s := b.ledger.Snapshot(b.limit.Stamp(now), b.limit.core(now), nil)
		d.Known, d.Used, d.Held, d.Rows = true, b.ledger.Log.Used(), b.ledger.Held, s.Rows
	}
	return d
}

package lease

import "sluice/limiter/core"

// Description is what this node knows of a key's books, for people.
type Description struct {
	Home, Standby Member // 0 while Redis keeps the books
	Books         *Books // nil: they are elsewhere, or the key was never used
}

// Books are what an authority knows of a key, for people.
type Books struct {
	Rights     int64 // the limit
	Used, Held int64
	Rows       []core.SnapshotRow
}

// Describe says who keeps the books of a key, and what they say if they are here.
func (n *Node) Describe(now Instant, k Key) (d Description) {
	if !n.keeps() {
		return d
	}
	d.Home, d.Standby = owners(n.decree.Homes, k)
	if b := n.books[k]; b != nil {
		s := b.ledger.Snapshot(b.limit.Stamp(now), b.limit.core(now), nil)
		d.Books = &Books{Rights: b.limit.core(now).Rights, Used: b.ledger.Log.Used(), Held: b.ledger.Held, Rows: s.Rows}
	}
	return d
}

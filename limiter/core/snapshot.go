package core

import (
	"cmp"
	"slices"
)

// Snapshot is what a ledger knows of some replicas, as another node can take it
// over: ages instead of stamps.
type Snapshot struct {
	Rows []SnapshotRow
}

// SnapshotRow is one replica's part of a Snapshot.
type SnapshotRow struct {
	Replica Replica
	Row     Row
	Seq     uint64
	Gone    bool
	Uses    []Uses // the replica's inside the window, in fewer runs than the whole has
}

// Snapshot returns what the ledger knows of the replicas for which of is true; of
// all when it is nil.
func (g *Ledger) Snapshot(now Stamp, l Limit, of func(Replica) bool) (s Snapshot) {
	g.Prune(now, l)
	for id, row := range g.rows {
		if of == nil || of(id) {
			row.log.Expire(now, l.Span)
			s.Rows = append(s.Rows, SnapshotRow{id, row.Row, row.seq, row.gone, ages(now, &row.log)})
		}
	}
	slices.SortFunc(s.Rows, func(a, b SnapshotRow) int { return cmp.Compare(a.Replica, b.Replica) })
	return s
}

// ages are the runs of a log as another clock can read them.
func ages(now Stamp, log *Log) (uses []Uses) {
	for _, r := range log.Runs() {
		age := now - r.At
		if now.Before(r.At) {
			age = 0
		}
		age -= (age + driftShare - 1) / driftShare
		uses = append(uses, Uses{Age: age, N: int64(r.N)})
	}
	return uses
}

// Absorb takes over what s knows and g does not, replica by replica. Nothing that
// either knows to be used or held is lost, whatever the order in which snapshots of
// several nodes come.
func (g *Ledger) Absorb(now Stamp, l Limit, s Snapshot, most int) {
	g.Expire(now, l)
	for i := range s.Rows {
		r := &s.Rows[i]
		row := g.rows[r.Replica]
		if row == nil {
			row = g.row(r.Replica)
			row.Row, row.seq, row.gone, row.seen = r.Row, r.Seq, r.Gone, now
			g.Held += r.Row.Held()
			for _, u := range r.Uses {
				g.put(row, now+1-u.Age, u.N, most)
			}
			continue
		}
		g.absorb(now, l, row, r, most)
	}
}

// absorb merges the row of a replica that both know. A row that was reclaimed is
// not one that its replica would send: what was taken from it counts as settled or
// as returned, so two such rows, or one and the replica's own last words, may add up
// to more than was granted. Then more was granted: too much may be used, never too
// little.
func (g *Ledger) absorb(now Stamp, l Limit, row *ledgerRow, r *SnapshotRow, most int) {
	next := row.Merge(r.Row)
	if next.Held() < 0 {
		next.Granted = next.Settled + next.Returned
	}
	if row.gone || r.Gone {
		// Whoever is known to be dead holds nothing: the rest counts as used.
		next.Settled = next.Granted - next.Returned
	}
	if row.gone || r.Gone {
		g.merge(now, l, row, Take{Row: next, Uses: r.Uses}, most)
	} else {
		g.merge(now, l, row, Take{Row: next, Uses: r.Uses, Whole: true}, most)
	}
	row.seq = max(row.seq, r.Seq)
	row.gone = row.gone || r.Gone
}

// Estate is the row as its replica would have told it, asking for nothing: for an
// authority that does not know the replica, which can no longer say it itself.
func (r *SnapshotRow) Estate(epoch uint64) Take {
	return Take{From: r.Replica, Epoch: epoch, Seq: r.Seq, Row: r.Row, Uses: r.Uses, Whole: true, Want: ReportOnly}
}

// Rescale converts the logs to ticks of another length, see Log.Rescale.
func (g *Ledger) Rescale(now, then Stamp, from, to int64) {
	g.Log.Rescale(now, then, from, to)
	for _, row := range g.rows {
		row.log.Rescale(now, then, from, to)
		ago := int64(int32(now-row.seen)) * from / to
		row.seen = then - Stamp(int32(ago))
	}
}

// Overspent counts all that is free as used now: an authority that knows that it
// lacks books, and cannot have them, does not know what is free.
func (g *Ledger) Overspent(now Stamp, l Limit, most int) {
	if p := g.Pool(l); p > 0 {
		g.Log.Put(now+1, uint32(p), most)
	}
}

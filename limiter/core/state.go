package core

import "errors"

// State is everything that a ledger knows, for a process that goes on with it on the
// same clock: stamps, not ages, and every run. What [Ledger.Snapshot] tells other
// machines is less.
type State struct {
	Log  []Run
	Rows []RowState
}

// RowState is one replica's part of a State.
type RowState struct {
	Replica Replica
	Row     Row
	Seq     uint64
	Reply   Reply // to Seq, unless another authority gave it
	Seen    Stamp
	Gone    bool
	Log     []Run
}

// State returns the ledger's. Its runs are the ledger's own: they are valid until
// the ledger changes.
func (g *Ledger) State() State {
	s := State{Log: g.Log.Runs(), Rows: make([]RowState, 0, len(g.rows))}
	for id, row := range g.rows {
		s.Rows = append(s.Rows, RowState{id, row.Row, row.seq, row.reply, row.seen, row.gone, row.log.Runs()})
	}
	return s
}

var errState = errors.New("limiter: not a ledger's state")

// Restore makes an empty ledger what the State's was, and keeps its runs. It refuses
// what no ledger can be.
func (g *Ledger) Restore(s State) error {
	if !rising(s.Log) {
		return errState
	}
	rows, held := make(map[Replica]*ledgerRow, len(s.Rows)), int64(0)
	for i := range s.Rows {
		r := &s.Rows[i]
		if r.Row.Held() < 0 || !rising(r.Log) || rows[r.Replica] != nil {
			return errState
		}
		rows[r.Replica] = &ledgerRow{Row: r.Row, seq: r.Seq, reply: r.Reply, seen: r.Seen, gone: r.Gone, log: Load(r.Log)}
		held += r.Row.Held()
	}
	g.Log, g.Held, g.rows = Load(s.Log), held, rows
	return nil
}

// rising reports whether runs are a log's: in the order of their stamps, none empty.
func rising(runs []Run) bool {
	for i, r := range runs {
		if r.N == 0 || i > 0 && !runs[i-1].At.Before(r.At) {
			return false
		}
	}
	return len(runs) <= MaxRuns
}

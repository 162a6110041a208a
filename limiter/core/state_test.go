package core

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

// A ledger that was restored answers as the one whose state it was, to whatever
// comes, repetitions included.
func TestARestoredLedgerGoesOnAsTheOther(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		l := Limit{Rights: 1 + r.Int64N(200), Span: Stamp(50 + r.IntN(500))}
		now := Stamp(r.Uint32())
		a := &Ledger{Epoch: 5}
		holders := []*Holder{{Self: 1, Epoch: 5}, {Self: 2, Epoch: 5}, {Self: 3, Epoch: 5}}
		var last Take
		step := func(ledgers ...*Ledger) {
			t.Helper()
			now += Stamp(r.IntN(20))
			h := holders[r.IntN(3)]
			h.Expire(now, l)
			if n := min(h.Tokens(), r.Int64N(20)); n > 0 {
				h.Use(now, n, MaxRuns)
			}
			if h.Tokens() > 0 && r.IntN(4) == 0 {
				h.GiveBack(1 + r.Int64N(h.Tokens()))
			}
			take := h.Take(now, r.Int64N(30)-1)
			if r.IntN(5) == 0 && last.From != 0 {
				take = last // a repetition, of whomever
			}
			var first Reply
			for i, g := range ledgers {
				reply, ok := g.Serve(now, l, take, MaxRuns)
				if !ok {
					reply = Reply{}
				}
				if i > 0 && !reflect.DeepEqual(reply, first) {
					t.Fatalf("seed %d: %+v was answered %+v, and by the restored one %+v", seed, take, first, reply)
				}
				first = reply
			}
			if first.To == h.Self && first.Seq == take.Seq {
				h.Apply(first)
			}
			last = take
		}
		for range 60 {
			step(a)
		}
		if r.IntN(2) == 0 {
			a.Reclaim(now, l, 2, true, MaxRuns)
		}
		b := &Ledger{Epoch: 5}
		if err := b.Restore(clone(a.State())); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for range 60 {
			step(a, b)
		}
		if a.Held != b.Held || !reflect.DeepEqual(a.Log.Runs(), b.Log.Runs()) {
			t.Fatalf("seed %d: the two differ in the end", seed)
		}
	}
}

// clone copies a state, which shares the ledger's storage.
func clone(s State) State {
	s.Log = append([]Run(nil), s.Log...)
	for i := range s.Rows {
		s.Rows[i].Log = append([]Run(nil), s.Rows[i].Log...)
	}
	return s
}

func TestNoLedgerIsMadeOfNonsense(t *testing.T) {
	for name, s := range map[string]State{
		"runs that fall":      {Log: []Run{{At: 5, N: 1}, {At: 4, N: 1}}},
		"an empty run":        {Log: []Run{{At: 5}}},
		"too many runs":       {Log: func() (r []Run) { return append(r, make([]Run, MaxRuns+1)...) }()},
		"more used than held": {Rows: []RowState{{Replica: 1, Row: Row{Granted: 1, Settled: 2}}}},
		"a replica twice":     {Rows: []RowState{{Replica: 1}, {Replica: 1}}},
		"a row's runs":        {Rows: []RowState{{Replica: 1, Log: []Run{{At: 5}}}}},
	} {
		if err := new(Ledger).Restore(s); err == nil {
			t.Errorf("%s: restored", name)
		}
	}
}

package core

// Replica names one spender: a node in one of its lives. A restarted node is a
// new replica, so that nothing it had returned or lost can come back.
type Replica uint64

// Row is what happened between an authority and one replica, cumulative since
// the replica began. Each number only grows, so of two copies the greater one is
// the newer, field by field, and messages may be lost, repeated or overtaken.
type Row struct {
	Granted  int64 // rights handed out
	Settled  int64 // of those, used and reported
	Returned int64 // of those, given back
}

// Held is H: rights that the replica may still spend, as far as the row knows.
func (r Row) Held() int64 { return r.Granted - r.Settled - r.Returned }

// Merge is the newer of two copies of a row. It is commutative, associative and
// idempotent.
func (r Row) Merge(o Row) Row {
	return Row{
		Granted:  max(r.Granted, o.Granted),
		Settled:  max(r.Settled, o.Settled),
		Returned: max(r.Returned, o.Returned),
	}
}

// Uses are N uses of which none is younger than Age ticks of the sender's clock
// when it sent them. Ages, not stamps, travel: nodes share no clock.
type Uses struct {
	Age Stamp
	N   int64
}

// Take is what a replica tells its authority: its row as it sees it, when its
// unreported uses happened, and how many rights it wants. With Want 0 it is a
// report, a return or a prefetch.
type Take struct {
	From  Replica
	Epoch uint64
	// Seq rises with every Take of the replica. The same Seq again is a repetition
	// and is answered with the same Reply.
	Seq  uint64
	Row  Row
	Uses []Uses // the newest uses of Row.Settled, oldest first; may reach back further than needed
	// Whole says that Uses are all that are still inside the window.
	Whole bool
	// Want is how many rights it lacks. 0 asks for as many as are its share for
	// use later; ReportOnly asks for none.
	Want int64
}

// ReportOnly is a Want that is given nothing.
const ReportOnly = -1

// Verdict is how a Take was received.
type Verdict uint8

// The verdicts.
const (
	Served Verdict = iota
	// Closed: the report was taken over, and nothing is granted for Wait ticks.
	Closed
	// Unknown: the authority does not know the replica, and Uses do not reach back
	// far enough; the replica presents its row and its whole log.
	Unknown
	// OtherEpoch: the authority is of another epoch, which the reply names; the
	// replica presents its row and its whole log to it.
	OtherEpoch
	// Reclaimed: what the replica held has been taken from it; it must not spend
	// and goes on as a new replica.
	Reclaimed
)

// Reply answers a Take.
type Reply struct {
	To      Replica
	Epoch   uint64
	Seq     uint64
	Verdict Verdict
	Granted int64     // Row.Granted from now on
	Pool    int64     // left in the pool
	Holders []Replica // when less was granted than wanted, or no share: who else holds rights, at most maxHolders
	// Wait is the ticks until time alone lets Want fit; 0 when it was granted or
	// when only a recall can help.
	Wait Stamp
	// Reset is the ticks until some used right comes back; 0 when none is used.
	Reset Stamp
}

const maxHolders = 8

// Ledger is the whole state of one key at its authority: the account, and a row
// for each replica. For the authority's own node the account alone is enough,
// because nothing of it travels.
//
// Invariant, after every method: account.Held is the sum of the rows' Held, and
// each row's Held is at least what its replica can still spend.
//
// Methods return early or do nothing on what is old; they never trust a message
// to be new. One goroutine at a time.
type Ledger struct {
	Account
	Epoch uint64
	// Closed is how many ticks from now nothing is granted; 0: open.
	Closed Stamp
	// Dead, if given, says of which replicas it is certain that they no longer
	// spend. What they hold is reclaimed when it is wanted.
	Dead func(Replica) bool
	// Lenient reclaims without counting as used what was not reported.
	Lenient bool
	rows    map[Replica]*ledgerRow
}

type ledgerRow struct {
	Row
	seq   uint64
	reply Reply
	seen  Stamp
	gone  bool // reclaimed
	// log is the replica's own part of the account's log, in fewer runs: what another
	// authority has to be told when the replica itself can no longer say it.
	log Log
}

// rowRuns bounds the runs of one replica's log.
const rowRuns = 8

// Serve merges what t reports and grants what it wants, as far as the pool
// allows. ok is false when t is older than what is known: there is then nothing
// to answer. most bounds the runs of the log.
func (g *Ledger) Serve(now Stamp, l Limit, t Take, most int) (r Reply, ok bool) {
	g.Expire(now, l)
	r = Reply{To: t.From, Epoch: g.Epoch, Seq: t.Seq}
	if t.Epoch != g.Epoch {
		r.Verdict = OtherEpoch
		return r, true
	}
	row := g.known(now, l, t.From)
	switch {
	case row == nil && !t.Whole && t.Row.Settled > total(t.Uses):
		r.Verdict = Unknown
		return r, true
	case row == nil:
		row = g.row(t.From)
	case row.gone:
		r.Verdict = Reclaimed
		return r, true
	case t.Seq == row.seq && row.reply.Seq == t.Seq:
		return row.reply, true
	case t.Seq <= row.seq: // or it was another authority that answered it
		return Reply{}, false
	}
	g.merge(now, l, row, t, most)
	row.seq, row.seen = t.Seq, now
	if g.Closed > 0 {
		t.Want, r.Verdict = ReportOnly, Closed
	}
	if t.Want > g.Pool(l) {
		g.reclaimDead(now, l, t.From, most)
	}
	granted := int64(0)
	if t.Want != ReportOnly {
		granted = g.Grant(l, t.Want, g.sharers(now, l))
	}
	row.Granted += granted
	r.Granted, r.Pool = row.Granted, max(0, g.Pool(l))
	if granted < t.Want || t.Want == 0 && granted == 0 {
		r.Holders = g.others(t.From)
	}
	if granted < t.Want {
		if at, ok := g.Fits(l, t.Want-granted); ok {
			r.Wait = l.Wait(now, at)
		}
	}
	if r.Verdict == Closed {
		r.Wait = g.Closed
	}
	if at, ok := g.Log.Oldest(); ok {
		r.Reset = l.Wait(now, at)
	}
	row.reply = r
	return r, true
}

// known returns the row of a replica, nil when there is none. A row that holds
// nothing and was not heard of for longer than a window says nothing that is
// still of interest, and is forgotten.
func (g *Ledger) known(now Stamp, l Limit, from Replica) *ledgerRow {
	row := g.rows[from]
	if row != nil && row.stale(now, l) {
		delete(g.rows, from)
		return nil
	}
	return row
}

func (r *ledgerRow) stale(now Stamp, l Limit) bool {
	return r.Held() == 0 && now-r.seen > l.Span+l.Ends+l.recent() && !now.Before(r.seen)
}

// Prune forgets what known would, and reports whether nothing is left to know.
func (g *Ledger) Prune(now Stamp, l Limit) (empty bool) {
	g.Expire(now, l)
	for id, row := range g.rows {
		if row.stale(now, l) {
			delete(g.rows, id)
		}
	}
	return len(g.rows) == 0 && g.Log.Used() == 0
}

// reclaimDead reclaims what dead replicas hold.
func (g *Ledger) reclaimDead(now Stamp, l Limit, except Replica, most int) {
	if g.Dead == nil {
		return
	}
	for id, row := range g.rows {
		if id != except && !row.gone && row.Held() > 0 && g.Dead(id) {
			g.Reclaim(now, l, id, !g.Lenient, most)
		}
	}
}

func total(uses []Uses) (n int64) {
	for _, u := range uses {
		n += u.N
	}
	return n
}

// Present merges what a replica knows, without granting: how an authority that
// has forgotten, or is new, learns what is used and held. It does not look at the
// epoch or the sequence, since rows merge in any order.
func (g *Ledger) Present(now Stamp, l Limit, t Take, most int) {
	g.Expire(now, l)
	if row := g.row(t.From); !row.gone {
		g.merge(now, l, row, t, most)
		row.seq, row.seen = max(row.seq, t.Seq), now
	}
}

// merge takes over what t knows and row does not.
func (g *Ledger) merge(now Stamp, l Limit, row *ledgerRow, t Take, most int) {
	row.log.Expire(now, l.Span)
	next := row.Merge(t.Row)
	// Rights that the authority had forgotten: they are in the replica's hands.
	g.Held += next.Granted - row.Granted
	fresh := next.Settled - row.Settled
	old := total(t.Uses) - fresh // of the uses, those known already
	for _, u := range t.Uses {
		n := u.N - min(u.N, max(0, old))
		old -= u.N
		fresh -= n
		// The present is somewhere in this tick, so at its end at the latest.
		g.settle(row, now+1-u.Age, n, most)
	}
	if t.Whole {
		g.Return(fresh) // out of the window
	} else {
		g.settle(row, now+1, fresh, most) // of unknown age: as young as can be
	}
	g.Return(next.Returned - row.Returned)
	row.Row = next
}

// settle is Settle for stamps in any order.
func (g *Ledger) settle(row *ledgerRow, at Stamp, n int64, most int) {
	g.Held -= n
	if g.Held < 0 {
		panic("BUG: more rights settled than held")
	}
	g.put(row, at, n, most)
}

// put records uses of a replica.
func (g *Ledger) put(row *ledgerRow, at Stamp, n int64, most int) {
	g.Log.Put(at, uint32(n), most)
	row.log.Put(at, uint32(n), min(most, rowRuns))
}

// Reclaim takes away all that a replica holds. When strict, it counts as used
// now, since the replica may have used it; else it goes back to the pool, and what
// the replica used without reporting it is overspent. The caller has made sure
// that the replica no longer spends.
func (g *Ledger) Reclaim(now Stamp, l Limit, from Replica, strict bool, most int) {
	g.Expire(now, l)
	row := g.row(from)
	if row.gone {
		return
	}
	held := row.Held()
	if strict {
		g.settle(row, now+1, held, most)
		row.Settled += held
	} else {
		g.Return(held)
		row.Returned += held
	}
	row.gone = true
}

// Row returns what is known of a replica.
func (g *Ledger) Row(from Replica) Row {
	if row := g.rows[from]; row != nil {
		return row.Row
	}
	return Row{}
}

func (g *Ledger) row(from Replica) *ledgerRow {
	row := g.rows[from]
	if row == nil {
		if g.rows == nil {
			g.rows = make(map[Replica]*ledgerRow)
		}
		row = &ledgerRow{}
		g.rows[from] = row
	}
	return row
}

// sharers is A: the replicas that took part lately.
func (g *Ledger) sharers(now Stamp, l Limit) int {
	n := 0
	for _, row := range g.rows {
		if !row.gone && now-row.seen < l.recent() {
			n++
		}
	}
	return n
}

// others lists replicas other than from that hold rights, lowest names first.
func (g *Ledger) others(from Replica) []Replica {
	var list []Replica
	for id, row := range g.rows {
		if id == from || row.gone || row.Held() == 0 {
			continue
		}
		i := 0
		for i < len(list) && list[i] < id {
			i++
		}
		list = append(list, 0)
		copy(list[i+1:], list[i:])
		list[i] = id
		list = list[:min(len(list), maxHolders)]
	}
	return list
}

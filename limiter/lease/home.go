package lease

import (
	"slices"
	"time"

	"sluice/limiter/core"
)

// bucket is a key's books at its home, or their copy at its standby. While Redis
// keeps the books, the home that the key would have keeps a shadow of what each
// node has told Redis.
type bucket struct {
	key    Key
	limit  Limit
	ledger core.Ledger
	short  uint64 // the epoch in which it was found that nobody knows all of the books

	// waiting are replies that the standby has not confirmed yet, one for each
	// replica: a newer question takes the place of an older one.
	waiting map[core.Replica]pending
}

type pending struct {
	to    Member
	reply core.Reply
}

const (
	askAgain  = 100 * time.Millisecond // a question that was not answered is repeated
	itemsEach = 24                     // items in a message: they fit a datagram
)

// keeps reports whether homes keep the books now.
func (n *Node) keeps() bool {
	return n.decree.By == ByHome && n.decree.Epoch == n.epoch && n.epoch != 0
}

// opensNS is when this node, as a home, begins to grant. It is worked out with
// every tick: what changes between two is far less than HoldDown − QuorumFor.
func (n *Node) opensNS(now Instant) int64 {
	if n.opensOf != n.epoch || now.MonoNS-n.opensAsOf > int64(50*time.Millisecond) {
		n.opensOf, n.opensAsOf = n.epoch, now.MonoNS
		n.opens = n.workOutOpens(now)
	}
	return n.opens
}

func (n *Node) workOutOpens(now Instant) int64 {
	if !n.quorate(now) {
		n.quorateNS = 0
		return now.MonoNS + int64(100*time.Millisecond)
	}
	if n.quorateNS == 0 {
		n.quorateNS = now.MonoNS
	}
	opens := n.quorateNS + int64(HoldDown)
	away, waits := n.absent(now)
	// Who is not there has fenced itself by then. One home alone that is missing
	// leaves a standby behind that knows what it, and everybody else, holds.
	if away && (len(n.decree.Whole) == 0 || len(n.lost()) > 1) {
		opens = max(opens, n.quorateNS+int64(FenceDown))
	}
	// Once open it stays so: whoever comes back later has been fenced meanwhile, and what it
	// held is in the books.
	if n.whole != n.epoch && (waits || !n.handed()) {
		opens = max(opens, now.MonoNS+int64(100*time.Millisecond))
	}
	if opens <= now.MonoNS {
		n.whole = n.epoch
	}
	return opens
}

// absent reports whether anybody is away who may hold rights, and whether anybody
// is there who has not told all that it knows.
func (n *Node) absent(now Instant) (away, waits bool) {
	for _, p := range n.peers {
		switch {
		case p.epoch == n.epoch && p.handed == n.epoch:
		case now.MonoNS-p.anyNS < int64(QuorumFor):
			waits = true
		default:
			away = true
		}
	}
	for _, v := range n.decree.Voters {
		if !slices.Contains(n.stables(), v) && now.MonoNS-n.lastSeen(v) < int64(time.Minute) {
			away = true
		}
	}
	return away, waits
}

// Dispatch sends questions to the homes of their keys.
func (n *Node) Dispatch(now Instant) {
	n.askAgain(now)
	if !n.keeps() {
		return
	}
	var batches map[Member][]Item
	for range 4 * itemsEach {
		h := n.pop()
		if h == nil {
			break
		}
		t := h.compose(now)
		h.flying, h.sentNS, h.asked, h.againNS = true, now.MonoNS, t, 0
		n.inAir.push(h)
		if t.Want >= 0 {
			n.counts.Takes++
		} else {
			n.counts.Reports++
		}
		home, _ := owners(n.decree.Homes, h.key)
		if t.Want != core.ReportOnly && home != n.o.Self {
			h.againNS = now.MonoNS + int64(unheardWait)
			n.unheard.push(h)
		}
		if batches == nil {
			batches = make(map[Member][]Item)
		}
		batches[home] = append(batches[home], Item{Key: h.key, Limit: h.limit, Take: t})
	}
	for _, m := range n.decree.Homes {
		items := batches[m]
		for len(items) > 0 {
			k := min(len(items), itemsEach)
			msg := Message{Kind: MsgTake, Items: items[:k]}
			if m == n.o.Self {
				msg.Epoch = n.epoch
				n.serve(now, m, &msg)
			} else {
				n.send(m, msg)
			}
			items = items[k:]
		}
	}
}

// repeat asks again what was not answered.
func (n *Node) repeat(now Instant) {
	for !n.inAir.empty() {
		h := n.inAir.items[n.inAir.head]
		if h.flying && now.MonoNS-h.sentNS < int64(askAgain) {
			return
		}
		n.inAir.pop()
		if h.flying {
			h.flying = false
			if h.purse.Lack() > 0 {
				h.purse.Answer(now, Answer{Outcome: Unavailable})
			}
			n.push(h, h.purse.Lack() > 0)
		}
	}
}

// Receive takes a message from another member. What it may say depends on who it
// is: grants come from the home of the key in this epoch alone.
func (n *Node) Receive(now Instant, from Member, m *Message) {
	if from == n.o.Self || !slices.Contains(n.members, from) {
		return
	}
	switch m.Kind {
	case MsgPing, MsgPong:
		n.ponged(now, from, m)
	case MsgDecree:
		if m.Decree != nil {
			n.hear(now, *m.Decree)
		}
	case MsgTake:
		n.serve(now, from, m)
	case MsgGrant:
		if !n.keeps() || m.Epoch != n.epoch {
			return
		}
		for i := range m.Items {
			it := &m.Items[i]
			h := n.holds[it.Key]
			if home, _ := owners(n.decree.Homes, it.Key); h == nil || home != from {
				continue
			}
			n.granted(now, h, it.Reply)
		}
	case MsgCopy:
		n.copied(now, from, m)
	case MsgCopied:
		n.confirmed(now, from, m)
	case MsgRecall:
		n.recalled(now, m)
	case MsgSnap:
		n.absorb(now, from, m)
	case MsgSnapped:
		n.snapped(from, m)
	}
}

// hear judges a decree of somebody else's.
func (n *Node) hear(now Instant, d Decree) {
	switch {
	case d.Epoch > n.epoch, d.Epoch == n.epoch && n.decree.Epoch != n.epoch:
		n.follow(now, d)
	case d.Epoch == n.epoch && d.By == ByRedis && !slices.Equal(d.Voters, n.decree.Voters):
		n.decree = d // Redis keeps the books, with other voters
	}
}

// granted takes a home's reply, unless it is to an earlier question.
func (n *Node) granted(now Instant, h *hold, r core.Reply) {
	if !h.flying || r.Seq != h.asked.Seq || r.To != h.asked.From {
		// Late, or the second copy: what it grants is ours all the same, and the next reply says so, too.
		return
	}
	n.answered(now, h, r, h.wanted)
}

// bucketOf returns the books of a key, made when there are none.
func (n *Node) bucketOf(now Instant, k Key, l Limit) *bucket {
	b := n.books[k]
	if b == nil {
		b = &bucket{key: k, limit: l}
		n.books[k] = b
		if n.shipAt == len(n.shelf) {
			n.shipAt++ // what comes later, others have as well
		}
		n.shelf = append(n.shelf, b)
	}
	if l.Version >= b.limit.Version && l != b.limit {
		if l.Tick() != b.limit.Tick() {
			b.ledger.Rescale(b.limit.Stamp(now), l.Stamp(now), int64(b.limit.Tick()), int64(l.Tick()))
		}
		b.limit = l
	}
	b.ledger.Epoch = n.epoch
	b.ledger.Lenient = n.o.Lenient
	b.ledger.Dead = func(r core.Replica) bool { return n.dead(now, r) }
	return b
}

// dead reports whether it is certain that a replica no longer spends. Its fence
// needs an answer of ours, so what counts is when we last heard of it.
func (n *Node) dead(now Instant, r core.Replica) bool {
	if r == n.self {
		return false
	}
	return now.MonoNS-max(n.heard[r], n.epochNS) > int64(ReclaimAfter)
}

// serve answers questions, as the home of their keys.
func (n *Node) serve(now Instant, from Member, m *Message) {
	if !n.keeps() || m.Epoch > n.epoch {
		return
	}
	if m.Epoch < n.epoch {
		d := n.decree
		n.send(from, Message{Kind: MsgDecree, Decree: &d})
		return
	}
	var replies, copies []Item
	var standby Member
	for i := range m.Items {
		it := &m.Items[i]
		home, second := owners(n.decree.Homes, it.Key)
		if home != n.o.Self {
			continue
		}
		b := n.bucketOf(now, it.Key, it.Limit)
		n.heard[it.Take.From] = now.MonoNS // a new life asks before its first ping has come
		tick, l := b.limit.Stamp(now), b.limit.core(now)
		b.ledger.Closed = 0
		if wait := n.opensNS(now) - now.MonoNS; wait > 0 {
			b.ledger.Closed = core.Stamp(wait/int64(b.limit.Tick()) + 1)
		}
		if b.ledger.Closed == 0 && b.short != n.epoch && !n.o.Lenient {
			if b.short = n.epoch; n.forgotten(it.Key) {
				b.ledger.Expire(tick, l)
				b.ledger.Overspent(tick, l, core.MaxRuns)
			}
		}
		r, ok := b.ledger.Serve(tick, l, it.Take, core.MaxRuns)
		if !ok {
			continue
		}
		if second == 0 || r.Verdict > core.Closed || n.o.Lenient {
			replies = append(replies, Item{Key: it.Key, Reply: r})
		}
		if second == 0 || r.Verdict > core.Closed {
			continue
		}
		// Nobody learns of a grant before the standby has it: when this node dies,
		// it is the standby that must not grant the same rights again.
		if !n.o.Lenient {
			if b.waiting == nil {
				b.waiting = make(map[core.Replica]pending)
			}
			b.waiting[it.Take.From] = pending{from, r}
		}
		c := Item{Key: it.Key, Limit: b.limit, Take: it.Take, Reply: r}
		if standby != 0 && standby != second {
			n.send(standby, Message{Kind: MsgCopy, Items: copies})
			copies = nil
		}
		standby, copies = second, append(copies, c)
	}
	if len(copies) > 0 {
		n.send(standby, Message{Kind: MsgCopy, Items: copies})
	}
	n.reply(now, from, replies)
}

func (n *Node) reply(now Instant, to Member, items []Item) {
	if len(items) == 0 {
		return
	}
	if to != n.o.Self {
		n.send(to, Message{Kind: MsgGrant, Items: items})
		return
	}
	for _, it := range items {
		if h := n.holds[it.Key]; h != nil {
			n.granted(now, h, it.Reply)
		}
	}
}

// copied keeps the copy of what a home has done, or the shadow of what Redis has.
func (n *Node) copied(now Instant, from Member, m *Message) {
	if m.Epoch != n.epoch {
		return
	}
	var back []Item
	for i := range m.Items {
		it := &m.Items[i]
		if n.keeps() {
			if home, second := owners(n.decree.Homes, it.Key); home != from || second != n.o.Self {
				continue
			}
		}
		t := it.Take
		t.Row.Granted = max(t.Row.Granted, it.Reply.Granted)
		n.shadow(now, it.Key, it.Limit, t)
		back = append(back, Item{Key: it.Key, Reply: core.Reply{To: t.From, Seq: t.Seq}})
	}
	if len(back) > 0 {
		n.send(from, Message{Kind: MsgCopied, Items: back})
	}
}

// confirmed sends the replies that the standby has.
func (n *Node) confirmed(now Instant, from Member, m *Message) {
	if m.Epoch != n.epoch {
		return
	}
	if !n.keeps() {
		n.mirrored(from, m)
		return
	}
	for i := range m.Items {
		it := &m.Items[i]
		b := n.books[it.Key]
		if _, second := owners(n.decree.Homes, it.Key); b == nil || second != from {
			continue
		}
		if p, ok := b.waiting[it.Reply.To]; ok && p.reply.Seq == it.Reply.Seq && p.reply.Epoch == n.epoch {
			delete(b.waiting, it.Reply.To)
			n.reply(now, p.to, []Item{{Key: it.Key, Reply: p.reply}})
		}
	}
}

// Overadmission is the most by which what is used and held of a key is above its
// limit, as a share of the limit, of the keys whose books are here; 0 for none. It
// is looked at every few seconds. In the strict mode it is above 0 only after a limit
// was lowered, for a window at most; in the available mode it says what that has cost.
func (n *Node) Overadmission() float64 { return max(n.over[0], n.over[1]) }

// dust drops books in which nothing is left to know, a few at a time.
func (n *Node) dust(now Instant) {
	if n.shipAt < len(n.shelf) {
		return // the shelf keeps its order meanwhile
	}
	for range min(len(n.shelf), 16+len(n.shelf)/256) {
		if n.dusting++; n.dusting >= len(n.shelf) {
			n.dusting, n.over = 0, [2]float64{0, n.over[0]}
		}
		b := n.shelf[n.dusting]
		l := b.limit.core(now)
		empty := b.ledger.Prune(b.limit.Stamp(now), l)
		if l.Rights > 0 {
			n.over[0] = max(n.over[0], float64(-b.ledger.Pool(l))/float64(l.Rights))
		}
		if empty {
			last := len(n.shelf) - 1
			n.shelf[n.dusting] = n.shelf[last]
			n.shelf = n.shelf[:last]
			n.shipAt = min(n.shipAt, last)
			delete(n.books, b.key)
		}
		if len(n.shelf) == 0 {
			return
		}
	}
}

// sortedPeers yields the peers in the order of their names, so that equal inputs
// give equal outputs.
func (n *Node) sortedPeers() func(yield func(Member, *peer) bool) {
	return func(yield func(Member, *peer) bool) {
		for _, m := range n.members {
			if p := n.peers[m]; p != nil && !yield(m, p) {
				return
			}
		}
	}
}

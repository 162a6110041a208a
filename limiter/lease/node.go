package lease

import (
	"time"

	"sluice/limiter/core"
)

// Times that the safety of the cluster rests on, all on clocks that nobody steps.
const (
	// FenceAfter is how long a replica spends without having reached its
	// authority, or a majority.
	FenceAfter = 10 * time.Second
	// ReclaimAfter is how long nothing must have been heard of a replica before
	// what it holds is reclaimed: FenceAfter, and 15 s for clocks that run apart
	// and for a machine that is slow to notice.
	ReclaimAfter = FenceAfter + 15*time.Second
	// HoldDown is how long a new authority waits at least.
	HoldDown = 3 * time.Second
	// FenceDown is how long it waits for those that have not presented their rights.
	FenceDown = FenceAfter + 2*time.Second
	// QuorumFor is how long a sign of a voter counts.
	QuorumFor = 2 * time.Second

	beatEvery = 500 * time.Millisecond
)

// Options describe a Node.
type Options struct {
	// Self is the node's replica: a stable half that outlives restarts, above 32
	// bits that no earlier life of the node had.
	Self core.Replica
	// Redis says that there is a Redis to ask.
	Redis bool
	// Alone says that there are no other nodes but those that Redis knows of.
	Alone bool
	// Nodes is how many nodes the cluster has. A node that has just started keeps
	// no books, and counts in no majority, before it is in touch with more than half
	// of them: it cannot know what they agreed on before. 0: as many as are there.
	Nodes int
	// Lenient counts what a dead replica had not reported as unused.
	Lenient bool
	// Nonce returns 32 bits for the node's next life.
	Nonce func() uint32
}

// Node is the state machine. See the package documentation.
type Node struct {
	o     Options
	self  core.Replica
	life  uint32
	epoch uint64

	holds      map[Key]*hold
	list       []*hold
	cursor     int
	urgent     queue // holds that requests wait for
	later      queue // others with something to say
	again      queue // holds that have recalled rights, and will ask again
	unheard    queue // holds with a question to another home that requests wait for
	presenting int   // holds that have yet to present to the epoch

	contactNS int64 // start of the last successful contact; the fence counts from it
	reached   bool
	closedNS  int64 // until when the authority is known to grant nothing

	redis  redisLink
	counts Counts

	// Of the cluster: see decree.go.
	members  []Member
	peers    map[Member]*peer
	joinedNS map[Member]int64
	heard    map[core.Replica]int64 // when a replica last said that it lives
	decree   Decree
	sure     bool
	startNS, pingNS, governNS, epochNS,
	opens, opensAsOf, quorateNS, redisLostNS, redisHereNS int64
	opensOf uint64
	out     []Envelope

	// Of a successor: see inherit.go.
	inherited bool     // its predecessor had handed over
	expected  []Member // of the predecessor's peers, those not met yet,
	expectNS  int64    // who count as members until then

	// Of a home: see home.go.
	books   map[Key]*bucket
	shelf   []*bucket
	dusting int
	over    [2]float64 // of this round of dusting and of the last: see Overadmission
	inAir   queue      // holds with a question to a home under way, oldest first

	// Of handing over: see handover.go and mirror.go.
	shipAt     int // how far along the shelf
	ships      map[Member]*shipment
	estates    []estate
	estatesOut int    // those under way to Redis
	mirrors    queue  // holds whose shadow may be behind
	whole      uint64 // the epoch in which all have told all
}

// Counts are events since the Node was made.
type Counts struct {
	Takes, Reports       uint64 // questions that wanted rights, and others
	Lives                uint64 // times that the node fenced itself
	Epochs, Claims       uint64
	Reclaimed, Recalls   uint64
	RedisFails, RedisOKs uint64
	Granted, GivenBack   int64
}

// NewNode returns a Node that holds nothing and has reached nobody.
func NewNode(o Options) *Node {
	return &Node{
		o: o, self: o.Self, holds: map[Key]*hold{}, peers: map[Member]*peer{}, joinedNS: map[Member]int64{},
		heard: map[core.Replica]int64{}, books: map[Key]*bucket{},
	}
}

// Self is the node's present replica.
func (n *Node) Self() core.Replica { return n.self }

// Life rises when what the node held may no longer be spent: rights that were put
// in a purse in an earlier life are void, and go back by Withdraw.
func (n *Node) Life() uint32 { return n.life }

// FenceNS is the moment, on the clock of Instant.MonoNS, from which nothing may
// be spent.
func (n *Node) FenceNS() int64 {
	if !n.reached {
		return 0
	}
	return n.contactNS + int64(FenceAfter)
}

// Epoch is the authority's epoch; 0 while none is known.
func (n *Node) Epoch() uint64 { return n.epoch }

// Authority is who keeps the books: redis, home, or none.
func (n *Node) Authority() string {
	switch {
	case n.keeps():
		return "home"
	case n.epoch != 0 && n.o.Redis:
		return "redis"
	}
	return "none"
}

// Books is how many keys' books, or copies of them, the node keeps.
func (n *Node) Books() int { return len(n.shelf) }

// Counts returns the counters.
func (n *Node) Counts() Counts { return n.counts }

// Holds is how many keys the node keeps books of.
func (n *Node) Holds() int { return len(n.list) }

// Ready reports whether an authority is there and grants.
func (n *Node) Ready(now Instant) bool {
	refuses, _ := n.refuses(now)
	return n.reached && now.MonoNS < n.FenceNS() && !refuses
}

// Ask says that a purse lacks rights, or soon will. p stays the key's purse until
// its Release has returned true.
func (n *Node) Ask(now Instant, k Key, p Purse) {
	h := n.holds[k]
	if h == nil {
		h = &hold{key: k, purse: p, holder: core.Holder{Self: n.self, Epoch: n.epoch}, index: len(n.list), heardNS: now.MonoNS}
		n.holds[k] = h
		n.list = append(n.list, h)
	}
	if h.sync(now); h.purse.Lack() == core.ReportOnly && !h.lowered {
		h.purse.Answer(now, Answer{Outcome: Enough}) // uses have left the window meanwhile
		return
	}
	if refuse, a := n.refuses(now); refuse && h.purse.Lack() > 0 {
		h.purse.Answer(now, a)
		return
	}
	if h.recall.againNS == 0 {
		n.push(h, true)
	}
}

// refuses says why there is no use in asking now.
func (n *Node) refuses(now Instant) (bool, Answer) {
	if now.MonoNS < n.closedNS {
		return true, Answer{Outcome: Closed, Wait: time.Duration(n.closedNS - now.MonoNS)}
	}
	if n.keeps() {
		if wait := n.opensNS(now) - now.MonoNS; wait > 0 {
			return true, Answer{Outcome: Closed, Wait: time.Duration(wait)}
		}
		return false, Answer{}
	}
	if n.epoch == 0 || n.o.Redis && n.redis.down {
		return true, Answer{Outcome: Unavailable, Wait: max(time.Second, time.Duration(n.redis.retryNS-now.MonoNS))}
	}
	return false, Answer{}
}

// push queues a hold, once; an urgent one before the others.
func (n *Node) push(h *hold, urgent bool) {
	if h.flying || h.queued && (h.urgent || !urgent) {
		h.urgent = h.urgent || urgent
		return
	}
	h.queued, h.urgent = true, urgent
	if urgent {
		n.urgent.push(h)
	} else {
		n.later.push(h)
	}
}

// pop takes the next hold with a question.
func (n *Node) pop() *hold {
	for {
		h := n.urgent.pop()
		if h == nil {
			h = n.later.pop()
		}
		if h == nil {
			return nil
		}
		if !h.queued || h.flying {
			continue // was in both queues
		}
		h.queued, h.urgent = false, false
		return h
	}
}

// Tick does what is due without anybody asking. It is to be called every 20 to 50 ms.
func (n *Node) Tick(now Instant) {
	if !n.o.Alone {
		n.ping(now)
		n.govern(now)
		n.touch(now)
		if n.keeps() {
			n.opensNS(now) // the hold-down begins with the epoch, not with the first question
		}
		n.repeat(now)
		n.ship(now)
		n.remirror(now)
		n.dust(now)
	}
	for range min(len(n.list), 64+len(n.list)/128) {
		if n.cursor++; n.cursor >= len(n.list) {
			n.cursor = 0
		}
		if len(n.list) == 0 {
			break
		}
		h := n.list[n.cursor]
		if h.queued || h.flying {
			continue
		}
		h.sync(now)
		switch {
		case h.over(now) && h.purse.Release():
			n.drop(h)
		case h.due(now, n.o.Lenient):
			n.push(h, false)
		}
	}
}

// drop forgets a hold.
func (n *Node) drop(h *hold) {
	delete(n.holds, h.key)
	last := n.list[len(n.list)-1]
	n.list[h.index], last.index = last, h.index
	n.list = n.list[:len(n.list)-1]
}

// touch notes when the homes, and a majority, were last in touch: what a home has
// granted may be spent for as long as it has heard of us.
func (n *Node) touch(now Instant) {
	if !n.keeps() {
		return
	}
	at := n.followedNS(now)
	for _, m := range n.decree.Homes {
		if m == n.o.Self {
			continue
		}
		p := n.peers[m]
		if p == nil {
			return
		}
		at = min(at, p.echoNS)
	}
	if at > n.contactNS && at > 0 {
		n.contact(now, at)
	}
}

// contact notes that the authority answered something that was sent at sentNS.
func (n *Node) contact(now Instant, sentNS int64) {
	if n.reached && now.MonoNS >= n.FenceNS() {
		n.newLife(now)
	}
	n.contactNS, n.reached = max(n.contactNS, sentNS), true
}

// newLife makes the node another replica: what it held may have been reclaimed.
// The old one's last words give back everything, in case it has not.
func (n *Node) newLife(now Instant) {
	n.life++
	n.counts.Lives++
	n.self = n.self&^0xffffffff | core.Replica(n.o.Nonce())
	for _, h := range n.list {
		if h.holder.Row() == (core.Row{}) {
			h.holder.Self = n.self
			continue
		}
		h.sync(now)
		h.giveBack(1 << 62)
		h.will = true
		n.push(h, false)
	}
}

// enter goes on under a new epoch.
func (n *Node) enter(now Instant, epoch uint64) {
	n.epoch = epoch
	n.counts.Epochs++
	n.closedNS = 0
	n.presenting = 0
	n.epochNS = now.MonoNS
	n.beginShipping()
	for _, h := range n.list {
		if h.recall.againNS != 0 {
			n.push(h, true)
		}
		h.recall = recall{}
		h.holder.Enter(epoch)
		if n.decree.By == ByHome {
			h.flying = false // to nobody that matters any more
		}
		for _, p := range h.past {
			p.Enter(epoch)
		}
		h.pastDue = len(h.past)
		if h.present = h.holder.Row() != (core.Row{}) || h.pastDue > 0; h.present {
			n.presenting++
			h.whole = true
			n.push(h, false)
		}
	}
}

// answered deals with the reply to a hold's question.
func (n *Node) answered(now Instant, h *hold, r core.Reply, wanted int64) {
	h.flying, h.againNS = false, 0
	if h.pastDue > 0 && r.Epoch == n.epoch && r.To == h.past[len(h.past)-h.pastDue].Self {
		h.pastDue--
		n.push(h, true)
		return
	}
	if r.To != h.holder.Self || r.Verdict != core.OtherEpoch && r.Epoch != n.epoch {
		n.push(h, true) // of an earlier life or epoch
		return
	}
	switch r.Verdict {
	case core.OtherEpoch:
		if r.Epoch > n.epoch {
			n.enter(now, r.Epoch)
		}
		n.push(h, true)
		return
	case core.Unknown:
		h.whole = true
		n.push(h, true)
		return
	case core.Reclaimed:
		n.counts.Reclaimed++
		if !h.will {
			n.newLife(now)
		}
		h.sync(now)
		h.debt += h.holder.Row().Held()
		n.renew(h)
		n.presented(h)
		n.push(h, true)
		return
	}
	h.whole = false
	n.presented(h)
	h.apply(now, r, wanted, n.recall(now, h, r, wanted))
	if h.recall.owed {
		n.giveUp(now, h)
	}
	if h.will {
		if h.holder.Tokens() == 0 && h.holder.Unreported() == 0 {
			n.renew(h)
			n.push(h, true) // for those who have come meanwhile, who need an answer
		} else {
			n.push(h, false)
		}
	}
	if !h.will && r.Verdict == core.Served && h.purse.Lack() > 0 && h.urgent {
		n.push(h, true) // more came to wait meanwhile
	}
}

// renew makes the holder that of the present life.
func (n *Node) renew(h *hold) {
	h.giveBack(1 << 62)
	if h.holder.Used() > 0 {
		old := h.holder
		old.End()
		h.past = append(h.past, &old)
	}
	h.holder, h.will, h.whole = core.Holder{Self: n.self, Epoch: n.epoch}, false, false
}

// presented notes that the epoch's authority knows the hold.
func (n *Node) presented(h *hold) {
	if h.present {
		h.present = false
		n.presenting--
	}
}

// queue is a first-in, first-out list of holds.
type queue struct {
	items []*hold
	head  int
}

func (q *queue) push(h *hold) { q.items = append(q.items, h) }

func (q *queue) pop() *hold {
	if q.head == len(q.items) {
		return nil
	}
	h := q.items[q.head]
	q.items[q.head] = nil
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return h
}

func (q *queue) len() int { return len(q.items) - q.head }

func (q *queue) empty() bool { return q.head == len(q.items) }

// Leave gives everything back that is not reserved: the node is about to stop.
func (n *Node) Leave(now Instant) {
	for _, h := range n.list {
		h.sync(now)
		if h.giveBack(1<<62) > 0 || h.holder.Unreported() > 0 {
			n.push(h, false)
		}
	}
}

// Settled reports whether the authority knows all that Leave had to say, or does
// not answer.
func (n *Node) Settled() bool {
	if n.redis.down && !n.keeps() {
		return true
	}
	for _, h := range n.inAir.items[n.inAir.head:] {
		if h.flying {
			return false
		}
	}
	return !n.redis.flying && n.urgent.empty() && n.later.empty()
}

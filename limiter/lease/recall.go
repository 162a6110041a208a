package lease

import (
	"slices"
	"time"

	"sluice/limiter/core"
)

// When the pool is empty and others hold rights, the one who lacks some asks those
// others to give back (MsgRecall), and the authority again a moment later. Requests wait
// for that as long as they wait for anything. What others hold may be uses that they
// have not told, so a recall may yield nothing; the next one is then put off.

const (
	recallWait  = 1500 * time.Microsecond // for a datagram, and the holder's answer to the authority
	recallTries = 3                       // questions after a recall; with recallWait that is what a request waits
	unheardWait = 2500 * time.Microsecond // a home that has not answered by then is asked the same again,
	unheardFor  = 8 * time.Millisecond    // for so long
	recallLeast = 50 * time.Millisecond   // between recalls of a key that yield nothing; doubled each time,
	recallMost  = 5 * time.Second         // up to so much
)

// recall is a hold's dealings with others who hold rights.
type recall struct {
	sentNS  int64 // when they were last asked
	gap     time.Duration
	tries   int   // questions asked since, or to be
	againNS int64 // when the next is due; 0: none is
	owed    bool  // we were asked ourselves while a question was under way
}

// rest is the time until others may be asked again.
func (c *recall) rest(now Instant) time.Duration {
	return max(time.Millisecond, c.gap-time.Duration(now.MonoNS-c.sentNS))
}

// recall looks at what the authority has answered to a hold that lacks rights: it asks
// those who hold some, and reports whether the question is to be asked again.
func (n *Node) recall(now Instant, h *hold, r core.Reply, wanted int64) (again bool) {
	c := &h.recall
	granted := r.Granted - h.holder.Row().Granted
	if n.o.Alone || h.will || wanted == core.ReportOnly || r.Verdict != core.Served {
		c.tries = 0
		return false
	}
	if granted > 0 && granted >= wanted {
		if c.tries > 0 {
			c.gap = 0 // it was worth it
		}
		c.tries = 0
		return false
	}
	switch {
	case len(r.Holders) == 0 || c.tries == recallTries:
		if c.tries > 0 {
			c.gap = min(max(2*c.gap, recallLeast), recallMost)
		}
		c.tries = 0
		return false
	case c.tries == 0 && (time.Duration(now.MonoNS-c.sentNS) < c.gap || !n.askHolders(h, r.Holders)):
		return false
	case c.tries == 0:
		c.sentNS = now.MonoNS
		n.counts.Recalls++
	}
	c.tries++
	c.againNS = now.MonoNS + int64(recallWait)
	n.again.push(h)
	return true
}

// askHolders sends the recall, and reports whether there was anybody to send it to.
func (n *Node) askHolders(h *hold, holders []core.Replica) (any bool) {
	for m, p := range n.sortedPeers() {
		if slices.Contains(holders, p.replica) {
			n.send(m, Message{Kind: MsgRecall, Items: []Item{{Key: h.key}}})
			any = true
		}
	}
	return any
}

// AgainNS is when Dispatch has a question to repeat, on the clock of Instant.MonoNS;
// 0: never.
func (n *Node) AgainNS() int64 {
	at := first(&n.again, func(h *hold) int64 { return h.recall.againNS })
	if other := first(&n.unheard, func(h *hold) int64 { return h.againNS }); at == 0 || other != 0 && other < at {
		at = other
	}
	return at
}

// first is the moment of the first hold in a queue that has one.
func first(q *queue, at func(*hold) int64) int64 {
	for ; !q.empty(); q.pop() {
		if t := at(q.items[q.head]); t != 0 {
			return t
		}
	}
	return 0
}

// askAgain repeats the questions that are due.
func (n *Node) askAgain(now Instant) {
	due := func(q *queue, at func(*hold) int64) bool {
		t := first(q, at)
		return t != 0 && t <= now.MonoNS
	}
	for due(&n.unheard, func(h *hold) int64 { return h.againNS }) {
		h := n.unheard.pop()
		if h.againNS = 0; !h.flying || !n.keeps() {
			continue
		}
		// The same one: the home answers it once, whatever it hears of it.
		home, _ := owners(n.decree.Homes, h.key)
		n.send(home, Message{Kind: MsgTake, Items: []Item{{Key: h.key, Limit: h.limit, Take: h.asked}}})
		if now.MonoNS-h.sentNS < int64(unheardFor) {
			h.againNS = now.MonoNS + int64(unheardWait)
			n.unheard.push(h)
		}
	}
	for due(&n.again, func(h *hold) int64 { return h.recall.againNS }) {
		h := n.again.pop()
		h.recall.againNS = 0
		if h.purse.Lack() == core.ReportOnly {
			h.recall.tries = 0
			h.purse.Answer(now, Answer{Outcome: Enough}) // those who waited have gone
			continue
		}
		n.push(h, true)
	}
}

// recalled is a message from those who lack rights: see giveUp.
func (n *Node) recalled(now Instant, m *Message) {
	for i := range m.Items {
		h := n.holds[m.Items[i].Key]
		switch {
		case h == nil:
		case h.flying:
			h.recall.owed = true
		default:
			n.giveUp(now, h)
		}
	}
}

// giveUp gives back what is idle, and half of what is not; and in any case says
// what was used, since unreported uses look like rights.
func (n *Node) giveUp(now Instant, h *hold) {
	h.recall.owed = false
	h.sync(now)
	share := h.purse.Tokens()
	if h.purse.Quiet(now) < time.Second {
		share = (share + 1) / 2
	}
	if h.giveBack(share) > 0 || h.holder.Unreported() > 0 {
		n.push(h, false)
	}
}

package lease

import (
	"time"

	"sluice/limiter/core"
)

// While Redis keeps the books, the home that a key would have, and its standby, keep
// a shadow of what each node has told Redis: what a node that dies had told is then
// known when Redis goes as well. A mirror is sent after Redis has answered, and
// repeated until both say that they have it, so what is forgotten when a node and
// Redis end together is what that node was told in its last moments.

// mirror is what a hold has told Redis last and the shadows may not know.
type mirror struct {
	take   core.Take
	to     [2]Member
	sentNS int64
}

// mirrorEvery is how often a mirror that was not acknowledged is repeated, and
// mirrorsEach how many may be at a time.
const (
	mirrorEvery = 200 * time.Millisecond
	mirrorsEach = 64
)

// mirror tells the shadows of a key what Redis was told.
func (n *Node) mirror(now Instant, h *hold, t core.Take, r core.Reply) {
	if len(n.members) <= 1 || r.Verdict > core.Closed {
		return
	}
	t.Row.Granted = max(t.Row.Granted, r.Granted)
	if h.mirror == nil {
		h.mirror = &mirror{}
		n.mirrors.push(h)
	}
	home, second := owners(n.members, h.key)
	*h.mirror = mirror{t, [2]Member{home, second}, now.MonoNS}
	for i, m := range h.mirror.to {
		if m == n.o.Self {
			h.mirror.to[i] = 0
			n.shadow(now, h.key, h.limit, t)
		}
	}
	n.sendMirror(h)
}

func (n *Node) sendMirror(h *hold) {
	t := &h.mirror.take
	for _, m := range h.mirror.to {
		if m != 0 {
			n.send(m, Message{Kind: MsgCopy, Items: []Item{{Key: h.key, Limit: h.limit, Take: *t, Reply: core.Reply{To: t.From, Seq: t.Seq, Granted: t.Row.Granted}}}})
		}
	}
}

// shadow notes in the shadow of a key what Redis was told.
func (n *Node) shadow(now Instant, k Key, l Limit, t core.Take) {
	b := n.bucketOf(now, k, l)
	b.ledger.Present(b.limit.Stamp(now), b.limit.core(now), t, core.MaxRuns)
}

// remirror repeats what the shadows have not acknowledged.
func (n *Node) remirror(now Instant) {
	for range min(mirrorsEach, n.mirrors.len()) {
		h := n.mirrors.items[n.mirrors.head]
		if h.mirror.to != [2]Member{} && now.MonoNS-h.mirror.sentNS < int64(mirrorEvery) {
			return // the others are younger, or nearly
		}
		n.mirrors.pop()
		home, second := owners(n.members, h.key)
		for i, m := range h.mirror.to {
			if m != home && m != second {
				h.mirror.to[i] = 0 // it is gone
			}
		}
		if h.mirror.to == [2]Member{} || n.keeps() || n.holds[h.key] != h {
			h.mirror = nil
			continue
		}
		h.mirror.sentNS = now.MonoNS
		n.mirrors.push(h)
		n.sendMirror(h)
	}
}

// mirrored notes that a shadow is up to date.
func (n *Node) mirrored(from Member, m *Message) {
	for i := range m.Items {
		h := n.holds[m.Items[i].Key]
		if h == nil || h.mirror == nil || h.mirror.take.Seq != m.Items[i].Reply.Seq || h.mirror.take.From != m.Items[i].Reply.To {
			continue
		}
		for i, to := range h.mirror.to {
			if to == from {
				h.mirror.to[i] = 0
			}
		}
	}
}

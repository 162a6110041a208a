package lease

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"sluice/limiter/core"
)

// What a node leaves to the process that takes its place on the same machine: everything
// but its purses, which it has emptied before. The successor goes on as the same member
// with the same books, so to the cluster a node that was silent for a moment has gone
// on. That it may go on is what the package documentation says of a node that slept:
// each moment is on the clock that both processes read, and is as old to the successor
// as it would have been to the predecessor. It spends as a replica of its own, so that
// nothing of what the predecessor had in hand, and could not give back in time, is
// spent twice; the predecessor's rows, where the authority may not know them, are among
// the books, and are presented as those of a replica that cannot do it itself.
//
// When the two read different clocks it is the decree alone. A restarted node has to
// ask around for three seconds before its vote counts, since it may have followed a
// decree that it does not remember; a successor remembers.
//
// The format, integers as varints unless a size is given:
//
//	a decree alone: a message, see wire.go
//	head:  version (1)  'h'  self (8)  length, decree as a message  handed (1)
//	       whole  Redis's greatest epoch  quorateNS  epochNS  startNS  contactNS
//	       members: count, and of each: name (8)  joinedNS  and of others than self
//	         replica (8)  epoch  echoNS  anyNS  heardNS  handed  flags (1)
//	       heard: count, and of each: replica (8)  moment
//	books: version (1)  'b'  and of each key until the end:
//	       key (16)  limit  short  runs  rows: count, and of each:
//	         replica (8)  row  seq  reply  seen  gone (1)  runs
//	runs:  count, and of each: stamp  uses
const (
	inheritVersion = 2 // wireVersion is 1
	inheritHead    = 'h'
	inheritBooks   = 'b'
)

// chunkSize is about how long a part of an inheritance is, in bytes.
const chunkSize = 256 << 10

// expectFor is how long a successor counts those as members whom it has not met yet.
const expectFor = 5 * time.Second

var errInheritance = errors.New("limiter: what the predecessor left cannot be read")

// Inheritance calls leave with what the successor is to Inherit, in parts and in
// order. sameClock says that the successor's Instant.MonoNS shows what this one's does.
//
// The node must not be used afterwards, unless the successor has failed: it could
// do what its successor does not know of.
func (n *Node) Inheritance(now Instant, sameClock bool, leave func(part []byte)) {
	if !n.sure || n.epoch == 0 || n.decree.Epoch != n.epoch {
		return
	}
	d := n.decree
	decree := (&Message{Kind: MsgDecree, Decree: &d}).Append(nil)
	if !sameClock {
		leave(decree)
		return
	}
	handed := n.handed()
	for _, h := range n.list {
		handed = n.bequeath(now, h) && handed
	}
	leave(n.appendHead(nil, decree, handed))
	var b []byte
	for i, k := range n.shelf {
		if b == nil {
			b = append(make([]byte, 0, chunkSize+chunkSize/4), inheritVersion, inheritBooks)
		}
		b = appendBucket(b, k)
		if len(b) >= chunkSize || i == len(n.shelf)-1 {
			leave(b)
			b = nil
		}
	}
}

// bequeath puts the hold's rows among the books, if the authority may not know them,
// and reports whether it does.
func (n *Node) bequeath(now Instant, h *hold) (known bool) {
	tick, _ := h.sync(now)
	known = !h.present && !h.flying && h.holder.Unreported() == 0 && h.holder.Tokens() == 0
	if known && (h.mirror == nil || h.mirror.to == [2]Member{}) {
		return true
	}
	for _, p := range h.past {
		n.shadow(now, h.key, h.limit, p.Present(tick))
	}
	if h.holder.Row() != (core.Row{}) {
		n.shadow(now, h.key, h.limit, h.holder.Present(tick))
	}
	return known
}

func (n *Node) appendHead(b, decree []byte, handed bool) []byte {
	le := binary.LittleEndian
	b = append(b, inheritVersion, inheritHead)
	b = le.AppendUint64(b, uint64(n.o.Self))
	b = binary.AppendUvarint(b, uint64(len(decree)))
	b = append(b, decree...)
	b = append(b, bit(handed))
	b = binary.AppendUvarint(b, n.whole)
	b = binary.AppendUvarint(b, n.redis.knew)
	contactNS := n.contactNS
	if !n.reached {
		contactNS = 0
	}
	for _, at := range []int64{n.quorateNS, n.epochNS, n.startNS, contactNS} {
		b = binary.AppendVarint(b, at)
	}
	b = binary.AppendUvarint(b, uint64(len(n.members)))
	for _, m := range n.members {
		b = le.AppendUint64(b, uint64(m))
		b = binary.AppendVarint(b, n.joinedNS[m])
		if m == n.o.Self {
			continue
		}
		p := n.peers[m]
		b = le.AppendUint64(b, uint64(p.replica))
		b = binary.AppendUvarint(b, p.epoch)
		for _, at := range []int64{p.echoNS, p.anyNS, p.heardNS} {
			b = binary.AppendVarint(b, at)
		}
		b = binary.AppendUvarint(b, p.handed)
		b = append(b, bit(p.redisUp)*flagRedisUp|bit(p.sure)*flagSure)
	}
	b = binary.AppendUvarint(b, uint64(len(n.heard)))
	for r, at := range n.heard {
		b = le.AppendUint64(b, uint64(r))
		b = binary.AppendVarint(b, at)
	}
	return b
}

func appendBucket(b []byte, k *bucket) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(b, k.key[0])
	b = le.AppendUint64(b, k.key[1])
	b = appendLimit(b, k.limit)
	b = binary.AppendUvarint(b, k.short)
	s := k.ledger.State()
	b = appendRuns(b, s.Log)
	b = binary.AppendUvarint(b, uint64(len(s.Rows)))
	for i := range s.Rows {
		r := &s.Rows[i]
		b = le.AppendUint64(b, uint64(r.Replica))
		b = appendRow(b, r.Row)
		b = binary.AppendUvarint(b, r.Seq)
		b = appendReply(b, &r.Reply)
		b = binary.AppendUvarint(b, uint64(r.Seen))
		b = append(b, bit(r.Gone))
		b = appendRuns(b, r.Log)
	}
	return b
}

func appendRuns(b []byte, runs []core.Run) []byte {
	b = binary.AppendUvarint(b, uint64(len(runs)))
	for _, r := range runs {
		b = binary.AppendUvarint(b, uint64(r.At))
		b = binary.AppendUvarint(b, uint64(r.N))
	}
	return b
}

// Inherit makes what a predecessor left the beginning of a node that has not been
// used yet. The node is then the member Member. ErrMessage means that the
// predecessor's version is not known: the node can begin without; any other error,
// that it has taken over a part, and cannot.
func (n *Node) Inherit(part []byte) error {
	if len(part) > 1 && part[0] == inheritVersion {
		r := wireReader{b: part[2:]}
		switch part[1] {
		case inheritHead:
			n.readHead(&r)
		case inheritBooks:
			for !r.bad && len(r.b) > 0 {
				n.readBucket(&r)
			}
			if n.inherited {
				n.shipAt = len(n.shelf)
			}
		default:
			return ErrMessage
		}
		if r.bad || len(r.b) > 0 {
			return errInheritance
		}
		return nil
	}
	m, err := Parse(part)
	if err != nil {
		return err
	}
	if m.Kind != MsgDecree || m.Decree == nil {
		return ErrMessage
	}
	n.decree, n.epoch, n.sure = *m.Decree, m.Decree.Epoch, true
	return nil
}

// Member is the name that the others know the node by.
func (n *Node) Member() Member { return n.o.Self }

func (n *Node) readHead(r *wireReader) {
	self := Member(r.u64())
	m, err := Parse(r.bytes(r.count(1<<20, 1)))
	if err != nil || m.Decree == nil || stable(self) != stable(n.o.Self) {
		r.fail()
		return
	}
	n.o.Self = self
	n.self = self&^0xffffffff | core.Replica(n.o.Nonce())
	n.decree, n.epoch, n.sure = *m.Decree, m.Decree.Epoch, true
	n.inherited = r.bool()
	n.whole, n.redis.knew = r.uvarint(1<<62), r.uvarint(1<<62)
	for _, at := range []*int64{&n.quorateNS, &n.epochNS, &n.startNS, &n.contactNS} {
		*at = r.varint()
	}
	n.reached = n.contactNS != 0
	for range r.count(mostNames, 9) {
		m := Member(r.u64())
		n.members = append(n.members, m)
		n.joinedNS[m] = r.varint()
		if m == self {
			continue
		}
		p := &peer{replica: core.Replica(r.u64()), epoch: r.uvarint(1 << 62)}
		for _, at := range []*int64{&p.echoNS, &p.anyNS, &p.heardNS} {
			*at = r.varint()
		}
		p.handed = r.uvarint(1 << 62)
		flags := r.byte()
		p.redisUp, p.sure = flags&flagRedisUp != 0, flags&flagSure != 0
		n.peers[m] = p
		n.expected = append(n.expected, m)
	}
	for range r.count(1<<20, 9) {
		replica := core.Replica(r.u64())
		n.heard[replica] = r.varint()
	}
}

func (n *Node) readBucket(r *wireReader) {
	b := &bucket{key: r.key(), limit: r.limit(), short: r.uvarint(1 << 62)}
	s := core.State{Log: r.runs()}
	for range r.count(mostNames, 16) {
		s.Rows = append(s.Rows, core.RowState{
			Replica: core.Replica(r.u64()), Row: r.row(), Seq: r.uvarint(1 << 62), Reply: r.reply(),
			Seen: core.Stamp(r.uvarint(1<<32 - 1)), Gone: r.bool(), Log: r.runs(),
		})
		if r.bad {
			return
		}
	}
	if r.bad || n.books[b.key] != nil || b.ledger.Restore(s) != nil {
		r.fail()
		return
	}
	n.books[b.key] = b
	n.shelf = append(n.shelf, b)
}

// runs reads a log's. Its stamps may be any.
func (r *wireReader) runs() (runs []core.Run) {
	count := r.count(core.MaxRuns, 2)
	if count > 0 {
		runs = make([]core.Run, 0, count)
	}
	for range count {
		runs = append(runs, core.Run{At: core.Stamp(r.uvarint(1<<32 - 1)), N: uint32(r.uvarint(1<<32 - 1))})
	}
	return runs
}

// withExpected adds those members whom the predecessor knew and the gossip has not
// brought up yet: to lose sight of them for a moment would cost the majority.
func (n *Node) withExpected(now Instant, members []Member) []Member {
	if len(n.expected) == 0 {
		return members
	}
	if n.expectNS == 0 {
		n.expectNS = now.MonoNS + int64(expectFor)
	}
	n.expected = slices.DeleteFunc(n.expected, func(m Member) bool {
		again := func(x Member) bool { return stable(x) == stable(m) } // in this life or the next
		return now.MonoNS > n.expectNS || slices.ContainsFunc(members, again)
	})
	return append(members, n.expected...)
}

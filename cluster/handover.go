package cluster

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

// handover is what a successor process needs to be the same replica: one
// generation on, with the keys in use, numbers that go on where the
// predecessor's stopped, and what it knew of the others.
//
//	version  name  nonce (4)  generation (4)  seq (8)  configured keys' fingerprint
//	count of keys  keys
//	count of peers (2)  peers: id (8), since (8), name, address, seen (8 each)
//	facts: the rest, as in the snapshot file; nothing when others keep them
type handover struct {
	name       string
	nonce      uint32
	generation uint32
	seq        uint64
	configured string
	keys       [][]byte
	peers      map[NodeID]inherited
	facts      []byte
}

const handoverVersion = 1

func (h *handover) append(b []byte) []byte {
	text := func(s string) {
		b = append(b, byte(len(s)))
		b = append(b, s...)
	}
	le := binary.LittleEndian
	b = append(b, handoverVersion)
	text(h.name)
	b = le.AppendUint32(b, h.nonce)
	b = le.AppendUint32(b, h.generation)
	b = le.AppendUint64(b, h.seq)
	text(h.configured)
	b = append(b, byte(len(h.keys)))
	for _, k := range h.keys {
		text(string(k))
	}
	b = le.AppendUint16(b, uint16(len(h.peers)))
	for id, p := range h.peers {
		b = le.AppendUint64(b, uint64(id))
		b = le.AppendUint64(b, uint64(p.since.UnixNano()))
		text(p.name)
		text(p.addr.String())
		for _, s := range p.seen {
			b = le.AppendUint64(b, s)
		}
	}
	return append(b, h.facts...)
}

var errHandover = errors.New("the predecessor's handover cannot be read")

func parseHandover(b []byte) (*handover, error) {
	r := reader{b: b}
	if r.byte() != handoverVersion {
		return nil, errHandover
	}
	h := &handover{name: r.text(), nonce: r.uint32(), generation: r.uint32(), seq: r.uint64(), configured: r.text(), peers: map[NodeID]inherited{}}
	for range r.byte() {
		h.keys = append(h.keys, []byte(r.text()))
	}
	lo, hi := r.byte(), r.byte()
	for range int(lo) | int(hi)<<8 {
		id := NodeID(r.uint64())
		p := inherited{since: time.Unix(0, int64(r.uint64())), name: r.text()}
		p.addr, _ = netip.ParseAddrPort(r.text())
		for i := range p.seen {
			p.seen[i] = r.uint64()
		}
		if r.bad {
			return nil, errHandover
		}
		h.peers[id] = p
	}
	h.facts = r.b
	if r.bad || h.nonce == 0 || h.name == "" || len(h.keys) == 0 {
		return nil, errHandover
	}
	return h, nil
}

// Handover ends the node for a successor process that has the same sockets: it
// stops reading, so that nothing that arrives from now on is lost to a process
// that goes, ends without saying goodbye, and returns what [Options.Handover] of
// the successor takes. Run then returns. The peers notice nothing when the
// successor runs within about a second.
//
// The bytes hold the keys.
func (n *Node) Handover() ([]byte, error) {
	if n.sockets == nil {
		return nil, errNoHandover
	}
	n.sockets.StopReading()
	n.settle()
	n.end()
	n.topicsMu.Lock()
	started := n.started
	n.topicsMu.Unlock()
	if started {
		<-n.done
	}
	h := handover{
		name: n.id.name, nonce: n.id.nonce, generation: n.id.generation, configured: n.id.configured,
		keys: n.keyring.ring.GetKeys(), peers: map[NodeID]inherited{},
		seq: n.broadcasts.seq.Load(),
	}
	if n.owned {
		h.facts = n.facts.Encode()
	}
	v := n.roster.view.Load()
	for _, m := range v.members {
		p := v.peers[m.ID]
		if p == nil {
			continue
		}
		i := inherited{since: m.Since, name: m.Name, addr: m.Address}
		p.mu.Lock()
		for s := range i.seen {
			i.seen[s] = p.windows[s].last
		}
		p.mu.Unlock()
		h.seq = max(h.seq, p.seq[byDatagram].Load(), p.seq[byStream].Load())
		if len(h.peers) < maxRoster {
			h.peers[m.ID] = i
		}
	}
	return h.append(nil), nil
}

// settle waits until what was read has been handled. The library queues packets
// and does not say when it is through, so quiet has to do: it takes microseconds
// for each.
func (n *Node) settle() {
	const pause, patience = 2 * time.Millisecond, 100 * time.Millisecond
	handled := func() (sum uint64) {
		for i := range n.counters.framesIn {
			sum += n.counters.framesIn[i].Load()
		}
		for i := range n.counters.dropped {
			sum += n.counters.dropped[i].Load()
		}
		return sum
	}
	quiet, last := 0, handled()
	for began := time.Now(); quiet < 3 && time.Since(began) < patience; {
		time.Sleep(pause)
		if now := handled(); now == last {
			quiet++
		} else {
			quiet, last = 0, now
		}
	}
}

// sayLeaving tells peers that a goodbye follows: the library does not say which
// of those that are gone have left and which have failed.
func (n *Node) sayLeaving() {
	msg, seq := n.broadcasts.frame(frame{kind: kindLeaving})
	n.broadcasts.spread(msg)
	n.broadcasts.repeat("leaving", seq, msg)
}

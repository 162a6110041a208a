package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"

	"sluice/cluster"
)

// limitsTopic is the stream of messages about rights.
const limitsTopic = "limits"

// peers is the way of the limiter to the others: it implements limiter.Peers on the
// member that this process is now. While it is none, as before it has joined and
// in the moments of an upgrade, nobody is there and messages are lost, which the
// limiter is made for.
//
// An upgrade is nothing new to the gossip: same member, same id. To the limits it is
// when what the predecessor's limiter knew has not come along, as while Redis keeps the
// books. So limiters have ids of their own, the member's with another low half; each
// says its low half in its member's meta and with each message.
type peers struct {
	self    cluster.NodeID // this process's limiter, or the predecessor's that it goes on for
	now     atomic.Pointer[seat]
	receive func(from uint64, payload []byte) // set before the first member runs

	// Of the limiter's goroutine: scratch, and the members that limiters belong to.
	wire    []byte
	members map[uint64]cluster.NodeID

	// known are those that the predecessor knew, until the gossip brings them up again.
	// Not changed once this process is a member.
	known map[uint64]cluster.NodeID
}

// seat is one member's place in the gossip.
type seat struct {
	node  *cluster.Node
	topic *cluster.Topic
}

var errNoMember = errors.New("not in the cluster at the moment")

// attach makes n the member; it must not run yet.
func (p *peers) attach(n *cluster.Node) {
	t := n.Topic(limitsTopic)
	t.Subscribe(func(from cluster.NodeID, payload []byte) {
		if len(payload) > limiterHalf {
			p.receive(uint64(withHalf(from, payload)), payload[limiterHalf:])
		}
	})
	p.now.Store(&seat{n, t})
}

func (p *peers) detach() { p.now.Store(nil) }

// Self implements limiter.Peers.
func (p *peers) Self() uint64 { return uint64(p.self) }

// Subscribe implements limiter.Peers.
func (p *peers) Subscribe(f func(from uint64, payload []byte)) { p.receive = f }

// Members implements limiter.Peers.
func (p *peers) Members(to []uint64) []uint64 {
	s := p.now.Load()
	if s == nil {
		return to
	}
	if p.members == nil {
		p.members = make(map[uint64]cluster.NodeID)
	}
	clear(p.members)
	for limiter, m := range limiters(s.node, p.self) {
		p.members[limiter] = m
		to = append(to, limiter)
	}
	return to
}

// limiters yields the limiters of the members that are there, and whose they are;
// self is this process's.
func limiters(n *cluster.Node, self cluster.NodeID) iter.Seq2[uint64, cluster.NodeID] {
	return func(yield func(uint64, cluster.NodeID) bool) {
		for _, m := range n.Members() {
			limiter := self
			switch {
			case m.State != cluster.Alive && m.State != cluster.Suspect:
				continue
			case m.Self:
			case validMeta(m.Meta):
				limiter = withHalf(m.ID, m.Meta[metaHalf:])
			default:
				continue
			}
			if !yield(uint64(limiter), m.ID) {
				return
			}
		}
	}
}

// limiters is what a successor's inherit takes.
func (g *gossip) limiters() (text []byte) {
	if n := g.now(); n != nil {
		for limiter, m := range limiters(n, g.id) {
			text = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(text, limiter), uint64(m))
		}
	}
	return text
}

// inherit takes over which limiters the predecessor knew.
func (p *peers) inherit(text []byte) error {
	p.known = make(map[uint64]cluster.NodeID)
	for ; len(text) >= 16; text = text[16:] {
		p.known[binary.BigEndian.Uint64(text)] = cluster.NodeID(binary.BigEndian.Uint64(text[8:]))
	}
	return nil
}

// member is the member that a limiter belongs to.
func (p *peers) member(limiter uint64) cluster.NodeID {
	if m, ok := p.members[limiter]; ok {
		return m
	}
	return p.known[limiter]
}

// Send implements limiter.Peers.
func (p *peers) Send(to uint64, payload []byte) error {
	s := p.now.Load()
	if s == nil {
		return errNoMember
	}
	return s.topic.Send(p.member(to), p.signed(payload))
}

// SendReliable implements limiter.Peers.
func (p *peers) SendReliable(to uint64, payload []byte) error {
	s := p.now.Load()
	if s == nil {
		return errNoMember
	}
	return s.topic.SendReliable(p.member(to), p.signed(payload))
}

// signed puts the limiter's half before payload. Only the limiter's goroutine sends.
func (p *peers) signed(payload []byte) []byte {
	p.wire = append(binary.BigEndian.AppendUint32(p.wire[:0], p.self.Nonce()), payload...)
	return p.wire
}

// limiterHalf is how many bytes the low half of a limiter's id takes.
const limiterHalf = 4

// withHalf is a member's id with the low half that text begins with.
func withHalf(member cluster.NodeID, text []byte) cluster.NodeID {
	return member&^0xffffffff | cluster.NodeID(binary.BigEndian.Uint32(text))
}

// What a member says of itself to the other gateways: a version, the fingerprint of
// the key that it counts limits under, and the low half of its limiter's id.
const (
	nodeMetaVersion = 2
	metaKey         = 1
	metaHalf        = metaKey + 8
	metaSize        = metaHalf + limiterHalf
)

// nodeMeta renders it.
func nodeMeta(limitsKey [8]byte, limiter cluster.NodeID) []byte {
	return binary.BigEndian.AppendUint32(append([]byte{nodeMetaVersion}, limitsKey[:]...), limiter.Nonce())
}

func validMeta(meta []byte) bool { return len(meta) == metaSize && meta[0] == nodeMetaVersion }

// strangers says which members count limits under another key than ours.
func (g *gossip) strangers(ours [8]byte) error {
	n := g.now()
	if n == nil {
		return nil
	}
	var names []string
	for _, m := range n.Members() {
		if m.State == cluster.Alive && !m.Self && validMeta(m.Meta) && !bytes.Equal(m.Meta[metaKey:metaHalf], ours[:]) {
			names = append(names, m.Name)
		}
	}
	if names == nil {
		return nil
	}
	return fmt.Errorf("%s counts limits under another key than this node: limits.key (or the file %s in the data directory) must be the same on all nodes",
		strings.Join(names, ", "), limitsKeyFile)
}

package main

import (
	"bytes"
	"errors"
	"fmt"
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
type peers struct {
	self    cluster.NodeID
	now     atomic.Pointer[seat]
	receive func(from uint64, payload []byte) // set before the first member runs
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
	t.Subscribe(func(from cluster.NodeID, payload []byte) { p.receive(uint64(from), payload) })
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
	for _, m := range s.node.Members() {
		if m.State == cluster.Alive || m.State == cluster.Suspect {
			to = append(to, uint64(m.ID))
		}
	}
	return to
}

// Send implements limiter.Peers.
func (p *peers) Send(to uint64, payload []byte) error {
	if s := p.now.Load(); s != nil {
		return s.topic.Send(cluster.NodeID(to), payload)
	}
	return errNoMember
}

// SendReliable implements limiter.Peers.
func (p *peers) SendReliable(to uint64, payload []byte) error {
	if s := p.now.Load(); s != nil {
		return s.topic.SendReliable(cluster.NodeID(to), payload)
	}
	return errNoMember
}

// nodeMeta is what a member says of itself to the other gateways: the fingerprint
// of the key that it counts limits under.
func nodeMeta(limitsKey [8]byte) []byte { return append([]byte{nodeMetaVersion}, limitsKey[:]...) }

const nodeMetaVersion = 1

// strangers says which members count limits under another key than ours, and tells
// them ours when it has changed.
func (g *gossip) strangers(ours [8]byte) error {
	n := g.now()
	if n == nil {
		return nil
	}
	own := nodeMeta(ours)
	var names []string
	for _, m := range n.Members() {
		switch {
		case m.State != cluster.Alive || bytes.Equal(m.Meta, own):
		case m.Self:
			_ = n.SetMeta(own) // it is not too long
		case len(m.Meta) == len(own) && m.Meta[0] == nodeMetaVersion:
			names = append(names, m.Name)
		}
	}
	if names == nil {
		return nil
	}
	return fmt.Errorf("%s counts limits under another key than this node: limits.key (or the file %s in the data directory) must be the same on all nodes",
		strings.Join(names, ", "), limitsKeyFile)
}

package cluster

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// Numbers are counted apart by how frames travel: a stream is seconds slower
// than a datagram, and broadcasts come by way of others.
const (
	byDatagram = iota
	byStream
	byBroadcast
	spaces
)

func (f *frame) space() int {
	switch {
	case f.flags&flagBroadcast != 0:
		return byBroadcast
	case f.flags&flagStream != 0:
		return byStream
	}
	return byDatagram
}

// peer is this node's side of its relation with one replica.
type peer struct {
	n     *Node
	id    NodeID
	node  atomic.Pointer[memberlist.Node] // where to send; replaced when the address changes
	seq   [2]atomic.Uint64                // of what we sent it, by datagram and by stream
	heard atomic.Int64                    // nanoseconds since Node.born: a monotonic clock in one word
	clock clockFilter

	mu      sync.Mutex // what follows, which receiving uses
	windows [spaces]window
	parts   assembly

	rootMu   sync.Mutex
	rootMiss int       // answers in a row whose facts differed from ours
	synced   time.Time // when we last asked it to compare

	reliable reliable
}

func newPeer(n *Node, id NodeID, old inherited) *peer {
	p := &peer{n: n, id: id}
	for i, seq := range old.seen {
		if seq > 0 {
			p.windows[i].restart(seq)
		}
	}
	base := n.broadcasts.seq.Load() // after a handover above all that the predecessor used; else anything will do
	p.seq[byDatagram].Store(base)
	p.seq[byStream].Store(base)
	return p
}

// hear takes note that the peer was heard from.
func (p *peer) hear() { p.heard.Store(int64(time.Since(p.n.born))) }

func (p *peer) silence(now time.Time) time.Duration { return now.Sub(p.heardAt()) }

func (p *peer) heardAt() time.Time { return p.n.born.Add(time.Duration(p.heard.Load())) }

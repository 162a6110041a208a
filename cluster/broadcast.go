package cluster

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/memberlist"
)

const (
	// fanout is how many nodes hear of something at once, beside the gossip: all
	// of a small cluster. Broadcasts of the library wait for the next round and
	// come after membership messages (memberlist #299).
	fanout = 16

	// repeats is how often each node says a thing, times the logarithm of the
	// number of nodes. The library's 4 leaves out one node in some 600 at 20 %
	// loss (e^-6.4); 8 leaves out one in 400,000.
	repeats = 8

	// maxBroadcasts bounds the queue; the oldest go first. Facts that are lost so
	// are found again by their digests.
	maxBroadcasts = 2048
)

// broadcasts repeat what everyone needs until gossip has spread it.
type broadcasts struct {
	n     *Node
	queue memberlist.TransmitLimitedQueue
	seq   atomic.Uint64 // of this node's own
	waste atomic.Uint64 // dropped from the queue

	mu     sync.Mutex
	queued map[string]*repeated // those with a name
}

func (b *broadcasts) init(n *Node) {
	b.n = n
	b.queued = map[string]*repeated{}
	b.queue.RetransmitMult = repeats
	b.queue.NumNodes = func() int { return len(n.roster.others()) + 1 }
}

// once is a frame in the queue that replaces no other.
type once []byte

func (once) Invalidates(memberlist.Broadcast) bool { return false }
func (o once) Message() []byte                     { return o }
func (once) Finished()                             {}
func (once) UniqueBroadcast()                      {}

// repeated is a frame in the queue that replaces the one of its name.
type repeated struct {
	b    *broadcasts
	name string
	seq  uint64
	msg  []byte
}

func (r *repeated) Invalidates(other memberlist.Broadcast) bool {
	o, ok := other.(*repeated)
	return ok && r.name == o.name
}
func (r *repeated) Name() string    { return r.name }
func (r *repeated) Message() []byte { return r.msg }

// Finished is called with the queue's lock held: mu comes after it.
func (r *repeated) Finished() {
	r.b.mu.Lock()
	if r.b.queued[r.name] == r {
		delete(r.b.queued, r.name)
	}
	r.b.mu.Unlock()
}

// repeat puts a frame into the queue, in place of an older one of that name.
func (b *broadcasts) repeat(name string, seq uint64, msg []byte) {
	if name == "" {
		b.queue.QueueBroadcast(once(msg))
	} else {
		r := &repeated{b, name, seq, msg}
		b.mu.Lock()
		if old := b.queued[name]; old != nil && old.seq > seq {
			b.mu.Unlock()
			return // came late
		}
		b.queued[name] = r
		b.mu.Unlock()
		b.queue.QueueBroadcast(r)
	}
	if over := b.queue.NumQueued() - maxBroadcasts; over > 0 {
		b.waste.Add(uint64(over))
		b.queue.Prune(maxBroadcasts)
	}
}

// frame makes a frame for everyone out of f.
func (b *broadcasts) frame(f frame) (msg []byte, seq uint64) {
	f.from, f.to = b.n.self, 0
	f.flags |= flagBroadcast
	f.seq = b.seq.Add(1)
	f.sent = b.n.o.Now().UnixMilli()
	b.n.counters.framesOut[f.kind].Add(1)
	return f.append(make([]byte, 0, maxHeader+len(f.name)+len(f.payload))), f.seq
}

// spread sends a frame to those who hear of things at once.
func (b *broadcasts) spread(msg []byte) {
	list := b.n.list.Load()
	if list == nil {
		return
	}
	peers := b.n.roster.others()
	if len(peers) <= fanout {
		for _, p := range peers {
			list.SendBestEffort(p.node.Load(), msg) // gossip repeats it
		}
		return
	}
	for _, i := range rand.Perm(len(peers))[:fanout] {
		list.SendBestEffort(peers[i].node.Load(), msg)
	}
}

func (n *Node) broadcast(t *Topic, name string, payload []byte) error {
	if n.list.Load() == nil {
		return ErrNotRunning
	}
	body, flag := compressed(payload)
	if len(name) > maxBroadcastName/4 || len(body) > MaxBroadcast {
		return ErrTooLarge
	}
	msg, seq := n.broadcasts.frame(frame{kind: kindMessage, flags: flag, topic: t.id, name: name, payload: body})
	n.broadcasts.spread(msg)
	n.broadcasts.repeat(queueName(n.self, t.id, name), seq, msg)
	return nil
}

// forward passes on what another node broadcasts: the library repeats only what
// its own node has to say.
func (b *broadcasts) forward(f *frame, whole []byte) {
	if len(whole) > b.n.budget {
		return
	}
	b.repeat(queueName(f.from, f.topic, f.name), f.seq, append([]byte(nil), whole...))
}

// queueName is the name in the queue of a broadcast with that name.
func queueName(from NodeID, topic uint32, name string) string {
	if name == "" {
		return ""
	}
	var b strings.Builder
	b.WriteString("t")
	for _, v := range []uint64{uint64(from), uint64(topic)} {
		for range 8 {
			b.WriteByte(byte(v))
			v >>= 8
		}
	}
	b.WriteString(name)
	return b.String()
}

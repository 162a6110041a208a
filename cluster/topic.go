package cluster

import (
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// Topic is a named stream of messages between nodes. What one node sends, the
// subscribers of the same topic on another receive: never twice, perhaps late,
// perhaps in another order, perhaps not at all. Reliable messages are tried three
// times, broadcasts repeated by all who have heard them.
type Topic struct {
	n    *Node
	name string
	id   uint32

	subscribers []func(from NodeID, payload []byte)
	queue       chan delivery
	received    atomic.Uint64
	dropped     atomic.Uint64
}

type delivery struct {
	from    NodeID
	payload []byte
}

// TopicQueue is how many messages of one topic wait for its subscribers; more
// are dropped and counted.
const TopicQueue = 1024

// Largest messages, in bytes. [Topic.Send] splits what a datagram does not hold,
// and uses a stream above MaxDatagrams of them.
const (
	MaxMessage   = 1 << 20
	MaxBroadcast = 1024 // after compression; must fit a datagram
	MaxDatagrams = 16
)

func topicID(name string) uint32 { return uint32(xxhash.Sum64String(name)) }

// Topic returns the topic of that name, the same one each time. It must be first
// called before [Node.Run]; two names that share a hash panic, because that is
// the program's doing.
func (n *Node) Topic(name string) *Topic {
	id := topicID(name)
	n.topicsMu.Lock()
	defer n.topicsMu.Unlock()
	if t := n.topics[id]; t != nil {
		if t.name != name {
			panic("BUG: cluster: topics " + t.name + " and " + name + " share a hash: rename one")
		}
		return t
	}
	if n.started {
		panic("BUG: cluster: topic " + name + " made after Run")
	}
	t := &Topic{n: n, name: name, id: id, queue: make(chan delivery, TopicQueue)}
	n.topics[id] = t
	return t
}

// Subscribe has f called with every message, one at a time. It must be called
// before [Node.Run]. f must copy what it keeps of payload and return soon:
// meanwhile others wait in the topic's queue.
func (t *Topic) Subscribe(f func(from NodeID, payload []byte)) {
	t.subscribers = append(t.subscribers, f)
}

// Send sends payload to one replica by datagrams, or by a stream when it is
// large. It does not block and keeps nothing of payload. The errors are
// ErrUnknownNode, ErrTooLarge, ErrNotRunning, ErrQueueFull and those of the
// socket; nil does not mean that it arrived.
func (t *Topic) Send(to NodeID, payload []byte) error {
	return t.n.send(to, frame{kind: kindMessage, topic: t.id}, payload, false)
}

// SendReliable sends payload to one replica by a stream: it arrives unless the
// connection breaks or the peer's queue is full. It does not block: a failure
// that comes later is counted and logged. Errors as for Send.
func (t *Topic) SendReliable(to NodeID, payload []byte) error {
	return t.n.send(to, frame{kind: kindMessage, topic: t.id}, payload, true)
}

// Broadcast sends payload to all other nodes: at once to those in a small
// cluster, and repeated by gossip until all have it, in all likelihood. At most
// MaxBroadcast bytes. A broadcast replaces an earlier one of the same topic and
// name that is still being repeated; an empty name replaces none.
func (t *Topic) Broadcast(name string, payload []byte) error {
	return t.n.broadcast(t, name, payload)
}

// run calls the subscribers until the node ends, and then with what is left.
func (t *Topic) run(stop <-chan struct{}) {
	for {
		select {
		case d := <-t.queue:
			t.call(d)
		case <-stop:
			for {
				select {
				case d := <-t.queue:
					t.call(d)
				default:
					return
				}
			}
		}
	}
}

func (t *Topic) call(d delivery) {
	for _, f := range t.subscribers {
		f(d.from, d.payload)
	}
	putBuffer(d.payload)
}

// deliver copies payload into the queue. It never blocks: the gossip library
// calls it from the loop that reads the network.
func (t *Topic) deliver(from NodeID, payload []byte) {
	if len(t.subscribers) == 0 {
		return
	}
	b := append(getBuffer(len(payload)), payload...)
	select {
	case t.queue <- delivery{from, b}:
		t.received.Add(1)
	default:
		t.dropped.Add(1)
		putBuffer(b)
	}
}

func (t *Topic) stats() TopicStats {
	return TopicStats{Received: t.received.Load(), Dropped: t.dropped.Load(), Queued: len(t.queue)}
}

// buffers hold payloads in queues. Those above a datagram's size are left to the
// collector.
var buffers = sync.Pool{New: func() any { return new([pooled]byte) }}

const pooled = 2048

func getBuffer(n int) []byte {
	if n > pooled {
		return make([]byte, 0, n)
	}
	return buffers.Get().(*[pooled]byte)[:0]
}

func putBuffer(b []byte) {
	if cap(b) == pooled {
		buffers.Put((*[pooled]byte)(b[:pooled]))
	}
}

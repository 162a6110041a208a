package cluster

import (
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"
)

const (
	// datagram is what a packet holds, encryption included: an Ethernet frame
	// with room for tunnels.
	datagram = 1400

	// compressAbove is the payload, in bytes, below which S2 gains nothing.
	compressAbove = 512

	maxPending      = 64      // messages that wait for a stream to one peer
	maxPendingBytes = 8 << 20 // and their bytes
)

// datagramBudget is how long a frame may be: what the library adds is taken off.
// It enforces no limit itself (memberlist #348): a longer packet would be cut up
// by IP, and lost with any of its fragments.
func datagramBudget(label string) int {
	const (
		encryption = 1 + 12 + 16 // version, nonce, tag
		crc        = 5
		compound   = 2 + 2 // header, length of the entry
		message    = 1
	)
	return datagram - encryption - crc - compound - message - (2 + len(label))
}

// compressed returns payload as it is sent, and the flag that says so.
func compressed(payload []byte) ([]byte, byte) {
	if len(payload) <= compressAbove {
		return payload, 0
	}
	c := s2.Encode(nil, payload)
	if len(c) >= len(payload) {
		return payload, 0
	}
	return c, flagS2
}

// send sends one payload to one replica: as a datagram, as several, or by a
// stream when reliable or large.
func (n *Node) send(to NodeID, f frame, payload []byte, reliable bool) error {
	list := n.list.Load()
	if list == nil {
		return ErrNotRunning
	}
	p := n.roster.byID(to)
	if p == nil || to == n.self {
		return ErrUnknownNode
	}
	if len(payload) > MaxMessage {
		return ErrTooLarge
	}
	f.from, f.to = n.self, to
	body, flag := compressed(payload)
	f.flags |= flag
	room := n.budget - maxHeader
	count := (len(body) + room - 1) / room
	if reliable || count > MaxDatagrams {
		f.flags |= flagStream
		f.seq = p.seq[byStream].Add(1)
		f.payload = body
		return p.stream(f.append(make([]byte, 0, maxHeader+len(body))))
	}
	n.counters.framesOut[f.kind].Add(1)
	buf := getBuffer(n.budget)
	defer func() { putBuffer(buf) }()
	if count <= 1 {
		f.seq = p.seq[byDatagram].Add(1)
		f.payload = body
		buf = f.append(buf)
		return list.SendBestEffort(p.node.Load(), buf)
	}
	f.flags |= flagPart
	f.of = byte(count)
	f.first = p.seq[byDatagram].Add(uint64(count)) - uint64(count) + 1
	for i := range count {
		f.index = byte(i)
		f.seq = f.first + uint64(i)
		f.payload = body[i*room : min((i+1)*room, len(body))]
		buf = f.append(buf[:0])
		if err := list.SendBestEffort(p.node.Load(), buf); err != nil {
			return err
		}
	}
	return nil
}

// reliable is what waits for a stream to one peer.
type reliable struct {
	mu      sync.Mutex
	queue   [][]byte
	bytes   int
	running bool
}

// stream queues a frame for the goroutine that opens streams to this peer, and
// starts it when it is not running: a peer that does not answer holds up nobody
// else, and peers without messages cost nothing.
func (p *peer) stream(b []byte) error {
	r := &p.reliable
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) >= maxPending || r.bytes+len(b) > maxPendingBytes {
		return ErrQueueFull
	}
	if !r.running {
		if !p.n.spawn(p.sendStreams) {
			return ErrNotRunning
		}
		r.running = true
	}
	r.queue = append(r.queue, b)
	r.bytes += len(b)
	p.n.counters.framesOut[b[2]].Add(1)
	p.n.counters.pending.Add(1)
	return nil
}

// sendStreams sends what is queued, and ends when nothing is.
func (p *peer) sendStreams() {
	r := &p.reliable
	for {
		r.mu.Lock()
		if len(r.queue) == 0 {
			r.running = false
			r.mu.Unlock()
			return
		}
		b := r.queue[0]
		r.queue = slices.Delete(r.queue, 0, 1)
		r.bytes -= len(b)
		r.mu.Unlock()
		p.n.counters.pending.Add(-1)
		if err := p.sendStream(b); err != nil {
			p.n.counters.reliableFailed.Add(1)
			p.n.counters.reliableLog.Warn(p.n.log, "message not delivered", attrNode(p), attrError(err))
		}
	}
}

// sendStream tries three times.
func (p *peer) sendStream(b []byte) (err error) {
	for wait := 100 * time.Millisecond; ; wait *= 4 {
		if err = p.n.list.Load().SendReliable(p.node.Load(), b); err == nil || wait > time.Second {
			return err
		}
		select {
		case <-time.After(wait):
		case <-p.n.stop:
			return err
		}
	}
}

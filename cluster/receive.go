package cluster

import (
	"errors"
	"time"

	"github.com/klauspost/compress/s2"
)

// Reasons for which a frame is dropped, as Stats names them.
const (
	dropMalformed = iota
	dropVersion
	dropMisdirected // for another replica: a recorded frame, or an address that changed hands
	dropStranger    // from a replica that is no member
	dropReplayed
	dropDuplicate // of a broadcast: they come several times by design
	dropStale     // a broadcast too old to be believed
	dropOversized
	dropTopic
	dropPart
	dropKind
	dropLabel // counted from the library's log: the next ones never become frames
	dropKey
	dropOverflow
	dropReasons
)

var dropNames = [dropReasons]string{
	"malformed", "version", "misdirected", "stranger", "replayed", "duplicate", "stale", "oversized",
	"unknown_topic", "part", "unknown_kind", "wrong_label", "wrong_key", "overflow",
}

// broadcastAge bounds how long a broadcast may travel: the window of a node that
// has just started would take any old one.
const broadcastAge = 2 * time.Minute

// receive takes a frame from the library. It must not block, and must not keep
// b. Streams call it from many goroutines, packets from one.
func (n *Node) receive(b []byte) {
	f, err := parseFrame(b)
	if err != nil {
		reason := dropMalformed
		if errors.Is(err, errVersion) {
			reason = dropVersion
		}
		n.drop(reason)
		return
	}
	if f.from == n.self {
		return // our own broadcast, come back
	}
	if f.to != 0 && f.to != n.self {
		n.drop(dropMisdirected)
		return
	}
	p := n.roster.byID(f.from)
	if p == nil {
		n.drop(dropStranger)
		return
	}
	if f.flags&flagBroadcast != 0 {
		if age := n.o.Now().Sub(time.UnixMilli(f.sent)); age > broadcastAge || age < -broadcastAge {
			n.drop(dropStale)
			return
		}
	}
	n.counters.framesIn[f.kind].Add(1)
	payload := f.payload
	p.mu.Lock()
	fresh := p.windows[f.space()].take(f.seq)
	ok := true
	if fresh && f.flags&flagPart != 0 {
		payload, ok = p.parts.add(&f, time.Now())
	}
	p.mu.Unlock()
	switch {
	case !fresh && f.flags&flagBroadcast != 0:
		n.drop(dropDuplicate)
		return
	case !fresh:
		n.drop(dropReplayed)
		return
	case !ok:
		n.drop(dropPart)
		return
	}
	p.hear()
	if f.flags&flagPart != 0 && payload == nil {
		return // more to come
	}
	if f.flags&flagS2 != 0 {
		size, err := s2.DecodedLen(payload)
		if err != nil || size > MaxMessage {
			n.drop(dropOversized)
			return
		}
		room := getBuffer(size)
		defer func() { putBuffer(room) }()
		if payload, err = s2.Decode(room[:cap(room)], payload); err != nil {
			n.drop(dropMalformed)
			return
		}
	}
	if len(payload) > MaxMessage {
		n.drop(dropOversized)
		return
	}
	n.dispatch(p, &f, b, payload)
}

// dispatch hands a payload to whom it is for. Each of them copies.
func (n *Node) dispatch(p *peer, f *frame, whole, payload []byte) {
	switch f.kind {
	case kindMessage:
		t := n.topics[f.topic]
		if f.flags&flagBroadcast != 0 {
			n.broadcasts.forward(f, whole) // also what this version does not know
		}
		if t == nil {
			n.drop(dropTopic)
			return
		}
		t.deliver(f.from, payload)
	case kindFacts, kindDigest, kindWant:
		n.queueSync(p, f, payload)
	case kindProbe:
		n.answerProbe(p, payload)
	case kindEcho:
		n.takeEcho(p, payload)
	case kindKeyAsk:
		n.answerKeys(p, payload)
	case kindKeyAnswer:
		n.keyAsks.answered(p, payload)
	case kindLeaving:
		n.roster.goodbye(f.from)
	default:
		n.drop(dropKind)
	}
}

func (n *Node) drop(reason int) { n.counters.dropped[reason].Add(1) }

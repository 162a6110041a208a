package cluster

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"sluice/cluster/facts"
)

// Facts travel three ways. What is written here is told at once to those in
// reach of the fan-out; everything that is news is repeated by gossip; and what
// both miss is found by comparing digests, with the clock probes of every second
// and with the library's push/pull.

const (
	factChunk    = 64 << 10              // bytes of entries in one frame, when differences are repaired
	syncInterval = 2 * time.Second       // between two repairs with one peer that we ask for
	mergeDelay   = 50 * time.Millisecond // after a push/pull
)

// pendingFacts are entries written here that nobody has been told.
type pendingFacts struct {
	mu      sync.Mutex
	entries []*facts.Entry
	wake    chan struct{}
}

// add is called by the store with what was written.
func (p *pendingFacts) add(entries []*facts.Entry) {
	p.mu.Lock()
	p.entries = append(p.entries, entries...)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pendingFacts) take() []*facts.Entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.entries
	p.entries = nil
	return all
}

// gossipFacts tells others what is written here. What is written while it sends
// goes out together with the next.
func (n *Node) gossipFacts() {
	for {
		select {
		case <-n.pending.wake:
		case <-n.stop:
			return
		}
		entries := n.pending.take()
		n.spreadFacts(entries)
		for _, e := range entries {
			n.repeatFact(e)
		}
	}
}

// spreadFacts packs entries into as few datagrams as they fit.
func (n *Node) spreadFacts(entries []*facts.Entry) {
	room := n.budget - maxHeader
	var b []byte
	flush := func() {
		if len(b) > 0 {
			msg, _ := n.broadcasts.frame(frame{kind: kindFacts, payload: b})
			n.broadcasts.spread(msg)
		}
		b = nil
	}
	for _, e := range entries {
		before := len(b)
		if b = e.Append(b); len(b) > room && before > 0 {
			last := append([]byte(nil), b[before:]...)
			b = b[:before]
			flush()
			b = last
		}
	}
	flush()
}

// repeatFact has gossip repeat an entry until something newer replaces it.
func (n *Node) repeatFact(e *facts.Entry) {
	msg, seq := n.broadcasts.frame(frame{kind: kindFacts, payload: e.Append(nil)})
	n.broadcasts.repeat("f"+e.Kind+"\x00"+e.Key, seq, msg)
}

// syncJob is a message about facts that waits for the goroutine that merges.
type syncJob struct {
	kind    kind
	from    NodeID
	gossip  bool
	payload []byte
}

func (n *Node) queueSync(p *peer, f *frame, payload []byte) {
	j := syncJob{f.kind, p.id, f.flags&flagBroadcast != 0, append([]byte(nil), payload...)}
	select {
	case n.syncs <- j:
	default:
		n.drop(dropOverflow)
	}
}

// syncFacts merges what others say, one message at a time.
func (n *Node) syncFacts() {
	for {
		select {
		case j := <-n.syncs:
			n.syncFact(j)
		case <-n.stop:
			return
		}
	}
}

func (n *Node) syncFact(j syncJob) {
	switch j.kind {
	case kindFacts:
		entries, err := facts.ParseEntries(j.payload)
		if err != nil {
			n.drop(dropMalformed)
			return
		}
		news := n.facts.Merge(entries)
		for _, e := range news {
			if j.gossip {
				n.lag.add(n.o.Now().Sub(e.Stamp.Wall()))
			}
			n.repeatFact(e)
		}
	case kindDigest:
		theirs, err := facts.ParseDigest(j.payload)
		if err != nil {
			n.drop(dropMalformed)
			return
		}
		n.compare(j.from, theirs)
	case kindWant:
		var set facts.RangeSet
		if len(j.payload) != len(set) {
			n.drop(dropMalformed)
			return
		}
		copy(set[:], j.payload)
		n.pushFacts(j.from, &set)
	}
}

// compare finds where a peer's facts differ from ours, asks for its entries
// there and sends ours.
func (n *Node) compare(with NodeID, theirs *facts.Digest) {
	set, differ := n.facts.Digest().Differ(theirs)
	if differ == 0 {
		return
	}
	n.counters.syncs.Add(1)
	n.send(with, frame{kind: kindWant}, set[:], true) // a failure is made good by the next comparison
	n.pushFacts(with, &set)
}

func (n *Node) pushFacts(to NodeID, set *facts.RangeSet) {
	var b []byte
	for _, e := range n.facts.In(set) {
		if b = e.Append(b); len(b) >= factChunk {
			if n.send(to, frame{kind: kindFacts}, b, true) != nil {
				return
			}
			b = nil
		}
	}
	if len(b) > 0 {
		n.send(to, frame{kind: kindFacts}, b, true)
	}
}

// sawRoot takes the root of a peer's facts from a clock echo. When it has been
// another than ours twice, gossip has had its time: we send our digest.
func (n *Node) sawRoot(p *peer, root uint64) {
	same := root == n.facts.Root()
	p.rootMu.Lock()
	if same {
		p.rootMiss = 0
	} else {
		p.rootMiss++
	}
	due := p.rootMiss >= 2 && time.Since(p.synced) >= syncInterval
	if due {
		p.synced = time.Now()
	}
	p.rootMu.Unlock()
	if due {
		n.send(p.id, frame{kind: kindDigest}, n.facts.Digest().Append(nil), true)
	}
}

// localState is what the library exchanges at push/pull beside the membership:
// who we are, and a digest of the facts. It is 8 KiB, far below the library's
// limit, however many facts there are.
func (n *Node) localState() []byte {
	b := make([]byte, 0, 9+facts.DigestSize)
	b = append(b, frameVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(n.self))
	return n.facts.Digest().Append(b)
}

// mergeState takes the other side's. Both sides have both digests: the one with
// the smaller id does the work.
func (n *Node) mergeState(b []byte) {
	if len(b) != 9+facts.DigestSize || b[0] != frameVersion {
		n.drop(dropVersion)
		return
	}
	from := NodeID(binary.LittleEndian.Uint64(b[1:]))
	if from <= n.self {
		return
	}
	j := syncJob{kind: kindDigest, from: from, payload: append([]byte(nil), b[9:]...)}
	n.spawn(func() {
		// The other side may not have read our membership yet, and would take what we
		// send for a stranger's.
		select {
		case <-time.After(mergeDelay):
		case <-n.stop:
			return
		}
		select {
		case n.syncs <- j:
		default:
			n.drop(dropOverflow)
		}
	})
}

// lag measures how old facts are when they come by gossip.
type lag struct {
	sum   atomic.Int64
	count atomic.Uint64

	mu        sync.Mutex
	max, last time.Duration // of this period and of the one before
	turned    time.Time
}

const lagPeriod = time.Minute

func (l *lag) add(d time.Duration) {
	d = max(d, 0) // the writer's clock may be ahead
	l.sum.Add(int64(d))
	l.count.Add(1)
	l.mu.Lock()
	l.turn()
	l.max = max(l.max, d)
	l.mu.Unlock()
}

func (l *lag) turn() {
	switch since := time.Since(l.turned); {
	case since < lagPeriod:
		return
	case since < 2*lagPeriod:
		l.last = l.max
	default:
		l.last = 0
	}
	l.max, l.turned = 0, time.Now()
}

func (l *lag) largest() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn()
	return max(l.max, l.last)
}

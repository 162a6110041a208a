package cluster

import (
	"encoding/binary"
	"log/slog"
	"sync"
	"time"

	"sluice/cluster/facts"
)

// Every second a node asks some of its peers for the time, and learns three
// things from the answer: that the peer lives, how its clock differs, and
// whether it has the same facts.
const (
	probeInterval  = time.Second
	probesPerRound = 16
)

// pulse asks, in turn, and watches for silence.
func (n *Node) pulse() {
	probes := time.NewTicker(probeInterval)
	defer probes.Stop()
	watch := time.NewTicker(probeInterval / 4)
	defer watch.Stop()
	next := 0
	for {
		select {
		case <-probes.C:
			peers := n.roster.others()
			for range min(len(peers), probesPerRound) {
				n.probe(peers[next%len(peers)])
				next++
			}
		case <-watch.C:
			n.roster.watch()
		case <-n.stop:
			return
		}
	}
}

func (n *Node) wallNS() uint64 { return uint64(n.o.Now().UnixNano()) }

// probe sends our time and the root of our facts.
func (n *Node) probe(p *peer) {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], n.wallNS())
	binary.LittleEndian.PutUint64(b[8:], n.facts.Root())
	n.send(p.id, frame{kind: kindProbe}, b[:], false) // the next one is a second away
}

// answerProbe sends back the asker's time, when the question came by our clock,
// and the root of our facts. Both times of the usual four that are ours are one:
// nothing happens between.
func (n *Node) answerProbe(p *peer, b []byte) {
	if len(b) != 16 {
		n.drop(dropMalformed)
		return
	}
	var a [24]byte
	copy(a[:8], b)
	binary.LittleEndian.PutUint64(a[8:], n.wallNS())
	binary.LittleEndian.PutUint64(a[16:], n.facts.Root())
	n.send(p.id, frame{kind: kindEcho}, a[:], false)
}

func (n *Node) takeEcho(p *peer, b []byte) {
	if len(b) != 24 {
		n.drop(dropMalformed)
		return
	}
	asked := binary.LittleEndian.Uint64(b)
	theirs := binary.LittleEndian.Uint64(b[8:])
	now := n.wallNS()
	rtt := time.Duration(now - asked)
	if rtt < 0 || rtt > 10*time.Second {
		return // our clock was set meanwhile
	}
	skew := time.Duration(theirs-asked) - rtt/2
	p.clock.add(rtt, skew)
	if skew.Abs() > facts.MaxAhead/2 {
		n.counters.skewLog.Warn(n.log, "clocks differ: facts from the one that is ahead will be refused",
			attrNode(p), slog.Duration("ahead", skew))
	}
	n.sawRoot(p, binary.LittleEndian.Uint64(b[16:]))
}

// clockFilter keeps the last measurements and believes the one with the
// shortest way: what made the others longer made them less sure (RFC 5905 §10).
type clockFilter struct {
	mu      sync.Mutex
	samples [8]clockSample
	next    int
	at      time.Time
}

type clockSample struct{ rtt, skew time.Duration }

func (c *clockFilter) add(rtt, skew time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.samples[c.next%len(c.samples)] = clockSample{max(rtt, 1), skew}
	c.next++
	c.at = time.Now()
}

// best returns how far the peer's clock is ahead, and when that was last measured.
func (c *clockFilter) best() (s clockSample, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.samples {
		if x.rtt != 0 && (s.rtt == 0 || x.rtt < s.rtt) {
			s = x
		}
	}
	return s, c.at
}

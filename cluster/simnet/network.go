package simnet

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Link says what a direction of a link does to packets. The zero value is
// perfect. Streams feel delay and jitter; what they lose they send again, 200 ms
// later.
type Link struct {
	Delay     time.Duration // of every packet
	Jitter    time.Duration // at most this much more, evenly
	Loss      float64       // share of packets lost, 0 to 1
	Duplicate float64       // share of packets that arrive twice
	Reorder   float64       // share of packets that take three times as long
}

type pair struct{ from, to string }

// Network connects transports by address.
type Network struct {
	mu    sync.Mutex
	rng   *rand.Rand
	all   Link
	links map[pair]Link
	cut   map[pair]bool
	nodes map[string]*Transport
	tap   func(from, to string, packet []byte)
}

// New returns a network without links that are anything but perfect.
func New(seed uint64) *Network {
	return &Network{
		rng: rand.New(rand.NewPCG(seed, 0)), links: map[pair]Link{},
		cut: map[pair]bool{}, nodes: map[string]*Transport{},
	}
}

// Shape sets how every link is that has no shape of its own.
func (n *Network) Shape(l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = l
}

// ShapeLink sets how one direction of one link is.
func (n *Network) ShapeLink(from, to string, l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links[pair{from, to}] = l
}

// Cut stops everything from one address to another; the way back stays open.
func (n *Network) Cut(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[pair{from, to}] = true
}

// Split cuts all links between addresses of different groups, both ways.
func (n *Network) Split(groups ...[]string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, a := range groups {
		for j, b := range groups {
			if i == j {
				continue
			}
			for _, from := range a {
				for _, to := range b {
					n.cut[pair{from, to}] = true
				}
			}
		}
	}
}

// Heal opens every link that was cut.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
}

func (n *Network) isCut(from, to string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut[pair{from, to}]
}

func (n *Network) node(addr string) *Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nodes[addr]
}

// Tap calls f with every packet that is sent, before its fate is decided; nil
// ends it. f must copy what it keeps.
func (n *Network) Tap(f func(from, to string, packet []byte)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tap = f
}

func (n *Network) tapped(from, to string, packet []byte) {
	n.mu.Lock()
	f := n.tap
	n.mu.Unlock()
	if f != nil {
		f(from, to, packet)
	}
}

// throw decides the fate of a packet: how long each copy takes.
func (n *Network) throw(from, to string) (copies []time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(from, to)
	if n.cut[pair{from, to}] || n.rng.Float64() < l.Loss {
		return nil
	}
	copies = append(copies, n.delay(l))
	if n.rng.Float64() < l.Duplicate {
		copies = append(copies, n.delay(l))
	}
	return copies
}

// latency is how long a stretch of a stream takes.
func (n *Network) latency(from, to string) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(from, to)
	d := n.delay(l)
	for range 3 {
		if n.rng.Float64() >= l.Loss {
			break
		}
		d += 200 * time.Millisecond
	}
	return d
}

func (n *Network) link(from, to string) Link {
	if l, ok := n.links[pair{from, to}]; ok {
		return l
	}
	return n.all
}

func (n *Network) delay(l Link) time.Duration {
	d := l.Delay
	if l.Jitter > 0 {
		d += time.Duration(n.rng.Int64N(int64(l.Jitter)))
	}
	if n.rng.Float64() < l.Reorder {
		d *= 3
	}
	return d
}

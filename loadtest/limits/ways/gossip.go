package ways

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/decisionlog"
	"sluice/loadtest/limits/oracle"
)

// gossip has each node count by itself, tell the others every 200 ms, and admit
// while its own count and what it has last heard of theirs are below the limit.
type gossip struct {
	window time.Duration
	nodes  []*gossipNode
	side   atomic.Int32 // the first so many nodes are cut off from the others
	sent   atomic.Int64
	stop   chan struct{}
	ended  sync.WaitGroup
}

type gossipNode struct {
	id   int
	conn *net.UDPConn

	mu     sync.Mutex // guards own and others
	own    map[uint64]*oracle.Log
	others []map[uint64]heard // by node
}

// heard is another node's count, which is believed for a window.
type heard struct{ count, atNS int64 }

const gossipEvery = 200 * time.Millisecond

// Gossip returns the way of gossiping counts.
func Gossip(nodes int, window time.Duration) (*Way, error) {
	g := &gossip{window: window, stop: make(chan struct{})}
	for i := range nodes {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			g.close()
			return nil, err
		}
		g.nodes = append(g.nodes, &gossipNode{id: i, conn: conn})
		g.forget(i)
	}
	for _, n := range g.nodes {
		g.ended.Go(func() { g.receive(n) })
		g.ended.Go(func() { g.tell(n) })
	}
	return newWay("gossip of counts", nodes, window, g), nil
}

func (g *gossip) decide(node int, key uint64, limit int64) (admitted, asked bool) {
	n := g.nodes[node]
	now := decisionlog.NowNS()
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.own[key]
	if l == nil {
		l = &oracle.Log{WindowNS: int64(g.window)}
		n.own[key] = l
	}
	l.Limit = limit
	for _, counts := range n.others {
		if h := counts[key]; now-h.atNS < int64(g.window) {
			l.Limit -= h.count
		}
	}
	return l.Admit(now, 1), false
}

// tell sends the node's counts to all others until stop.
func (g *gossip) tell(n *gossipNode) {
	tick := time.NewTicker(gossipEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-g.stop:
			return
		}
		for _, packet := range n.packets() {
			for _, to := range g.nodes {
				if to == n || g.separated(n.id, to.id) {
					continue
				}
				if k, err := n.conn.WriteToUDP(packet, to.conn.LocalAddr().(*net.UDPAddr)); err == nil {
					g.sent.Add(int64(k))
				}
			}
		}
	}
}

func (g *gossip) separated(a, b int) bool {
	side := int(g.side.Load())
	return side > 0 && (a < side) != (b < side)
}

// packets are the node's counts: its number (1), then key (8) and count (varint).
func (n *gossipNode) packets() (list [][]byte) {
	now := decisionlog.NowNS()
	n.mu.Lock()
	defer n.mu.Unlock()
	packet := []byte{byte(n.id)}
	for key, l := range n.own {
		l.Admit(now, 1<<62) // does not fit, and drops what is over
		if packet = binary.AppendUvarint(binary.LittleEndian.AppendUint64(packet, key), uint64(l.Used())); len(packet) > 1300 {
			list = append(list, packet)
			packet = []byte{byte(n.id)}
		}
		if l.Used() == 0 {
			delete(n.own, key) // it has been said once that there is nothing left
		}
	}
	if len(packet) > 1 {
		list = append(list, packet)
	}
	return list
}

// receive takes what others count until the socket is closed.
func (g *gossip) receive(n *gossipNode) {
	var buf [2048]byte
	for {
		k, err := n.conn.Read(buf[:])
		if err != nil {
			return
		}
		from, rest := int(buf[0]), buf[1:k]
		now := decisionlog.NowNS()
		n.mu.Lock()
		for len(rest) > 8 {
			key := binary.LittleEndian.Uint64(rest)
			count, size := binary.Uvarint(rest[8:])
			if size <= 0 {
				break
			}
			n.others[from][key] = heard{int64(count), now}
			rest = rest[8+size:]
		}
		n.mu.Unlock()
	}
}

func (g *gossip) forget(node int) {
	n := g.nodes[node]
	n.mu.Lock()
	defer n.mu.Unlock()
	n.own, n.others = map[uint64]*oracle.Log{}, nil
	for range maxNodes {
		n.others = append(n.others, map[uint64]heard{})
	}
}

const maxNodes = 16

func (g *gossip) cut(n int)    { g.side.Store(int32(n)) }
func (g *gossip) bytes() int64 { return g.sent.Load() }

func (g *gossip) close() {
	close(g.stop)
	for _, n := range g.nodes {
		n.conn.Close()
	}
	g.ended.Wait()
}

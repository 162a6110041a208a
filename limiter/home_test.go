package limiter

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// room is a cluster in memory.
type room struct {
	mu      sync.Mutex
	members []*seat
}

// seat is one node's place in a room.
type seat struct {
	r    *room
	self uint64
	in   chan delivery
	f    func(uint64, []byte)
	gone bool // guarded by r.mu
}

type delivery struct {
	from    uint64
	payload []byte
}

func (s *seat) Self() uint64 { return s.self }
func (s *seat) Members(to []uint64) []uint64 {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	for _, m := range s.r.members {
		if !m.gone {
			to = append(to, m.self)
		}
	}
	return to
}
func (s *seat) Send(to uint64, payload []byte) error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	for _, m := range s.r.members {
		if m.self == to && !m.gone && !s.gone {
			select {
			case m.in <- delivery{s.self, slices.Clone(payload)}:
			default:
			}
		}
	}
	return nil
}
func (s *seat) SendReliable(to uint64, payload []byte) error  { return s.Send(to, payload) }
func (s *seat) Subscribe(f func(from uint64, payload []byte)) { s.f = f }

// startRoom runs n limiters without Redis, in the bubble's time.
func startRoom(t *testing.T, ctx context.Context, n int) (*room, []*node) {
	r := &room{}
	begin := time.Now()
	clock := func() Instant { return start.after(time.Since(begin)) }
	var nodes []*node
	var run sync.WaitGroup
	for i := range n {
		s := &seat{r: r, self: uint64(i+1)<<32 | 1, in: make(chan delivery, 4096)}
		r.mu.Lock()
		r.members = append(r.members, s)
		r.mu.Unlock()
		o := Options{Clock: clock, Cluster: ClusterOptions{Peers: s, Nodes: n}}
		o.Secret[0] = 1
		l := New(o)
		l.fleet.boot = func() int64 { return clock().MonoNS }
		own, cancel := context.WithCancel(ctx)
		run.Go(func() {
			for {
				select {
				case d := <-s.in:
					s.f(d.from, d.payload)
				case <-ctx.Done():
					return
				}
			}
		})
		run.Go(func() { l.Run(own) })
		nodes = append(nodes, &node{l, func() {
			r.mu.Lock()
			s.gone = true // dies without a word
			r.mu.Unlock()
			cancel()
		}})
	}
	t.Cleanup(run.Wait)
	return r, nodes
}

func TestHomeNodesKeepTheBooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, nodes := startRoom(t, ctx, 3)
		time.Sleep(12 * time.Second)
		for i, n := range nodes {
			if s := n.Stats().Cluster; !n.Ready() || s.Authority != "home" {
				t.Fatalf("node %d after 12 s: %+v", i, s)
			}
		}
		r := compile(t, "tenant", perHour(100))
		admitted := map[string]int{}
		spend := func(n *node, key string, times int) {
			for range times {
				var d Decision
				n.Decide(n.clock(), []Charge{{Rule: r, Key: n.KeyString(r, key), Cost: 1}}, &d)
				if d.Admitted {
					admitted[key]++
				}
				time.Sleep(5 * time.Millisecond)
			}
		}
		for round := range 6 {
			for _, n := range nodes {
				for k := range 8 {
					spend(n, fmt.Sprint(k), 6+round)
				}
			}
		}
		for k, n := range admitted {
			if n > 100 || n < 90 {
				t.Errorf("key %s: %d admitted, the limit is 100", k, n)
			}
		}

		// A node dies: the standby of its keys knows what was used.
		nodes[0].stop()
		time.Sleep(40 * time.Second)
		for k := range 8 {
			for _, n := range nodes[1:] {
				spend(n, fmt.Sprint(k), 30)
				spend(n, fmt.Sprint("new", k), 30)
			}
		}
		for k, n := range admitted {
			if n > 100 || n < 60 {
				t.Errorf("key %s after the death of a node: %d admitted", k, n)
			}
		}
	})
}

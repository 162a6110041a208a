package cluster

import (
	"context"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/cluster/simnet"
	"sluice/conf"
)

// Invariant 7.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func secretOf(b byte) conf.Secret {
	key := make([]byte, 32)
	for i := range key {
		key[i] = b
	}
	return conf.Secret(base64.StdEncoding.EncodeToString(key))
}

// sim is a cluster on a simulated network.
type sim struct {
	t     *testing.T
	net   *simnet.Network
	nodes []*simNode
}

type simNode struct {
	*Node
	addr   string
	done   chan struct{}
	cancel context.CancelFunc
}

func newSim(t *testing.T, seed uint64) *sim { return &sim{t: t, net: simnet.New(seed)} }

func simAddr(i int) string { return fmt.Sprintf("10.0.%d.%d:7946", i/200, i%200+1) }

func simConfig() conf.Cluster { return conf.Cluster{Bind: "0.0.0.0:7946", Secret: secretOf(1)} }

// add starts a node; i fixes its address, and its name unless o has one. It joins
// the first node.
func (s *sim) add(i int, change ...func(*Options)) *simNode {
	s.t.Helper()
	o := Options{
		Name:   fmt.Sprintf("gw-%d", i),
		Config: simConfig(),
	}
	if i > 0 {
		o.Config.Join = []string{simAddr(0)}
	}
	addr := simAddr(i)
	for _, f := range change {
		f(&o)
	}
	o.Transport = s.net.Transport(addr)
	n, err := New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.start(n, addr)
}

func (s *sim) start(n *Node, addr string) *simNode {
	ctx, cancel := context.WithCancel(s.t.Context())
	sn := &simNode{Node: n, addr: addr, done: make(chan struct{}), cancel: cancel}
	s.nodes = append(s.nodes, sn)
	go func() {
		defer close(sn.done)
		if err := n.Run(ctx); err != nil {
			s.t.Errorf("%s: Run: %v", n.Name(), err)
		}
	}()
	return sn
}

// kill ends a node without a goodbye.
func (sn *simNode) kill() {
	sn.cancel()
	<-sn.done
}

// stop ends all nodes, and waits until what the library still has under way has
// ended, too.
func (s *sim) stop() {
	for _, n := range s.nodes {
		n.kill()
	}
	time.Sleep(time.Minute) // in a bubble this costs nothing
}

// eventually waits for a condition. In a bubble time passes when all wait.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > within {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}

func (s *sim) alive(nodes []*simNode, want int) bool {
	for _, n := range nodes {
		if len(n.roster.others())+1 < want {
			return false // cheap to see
		}
		if n.Stats().Members[Alive] != want {
			return false
		}
	}
	return true
}

func (s *sim) converged(within time.Duration) time.Duration {
	s.t.Helper()
	return eventually(s.t, within, fmt.Sprintf("%d nodes see each other", len(s.nodes)), func() bool {
		return s.alive(s.nodes, len(s.nodes))
	})
}

func get(n *simNode, kind, key string) string {
	f, _ := n.Facts().Get(kind, key)
	return string(f.Value)
}

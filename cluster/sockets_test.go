package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"sluice/cluster/facts"
	"sluice/conf"
)

// onLoopback is a node on real sockets, with gossip fast enough for a test.
func onLoopback(t *testing.T, o Options) *Node {
	t.Helper()
	o.Config.Bind = "127.0.0.1:0"
	if o.Config.Secret == "" {
		o.Config.Secret = secretOf(1)
	}
	o.Profile = func(c *memberlist.Config) { c.GossipInterval = 20 * time.Millisecond }
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// run runs a node until the test ends, or the returned function is called.
func run(t *testing.T, n *Node) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := n.Run(ctx); err != nil {
			t.Errorf("%s: Run: %v", n.Name(), err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func together(t *testing.T, nodes ...*Node) {
	t.Helper()
	eventually(t, 10*time.Second, "all see each other", func() bool {
		return !slices.ContainsFunc(nodes, func(n *Node) bool { return n.Stats().Members[Alive] != len(nodes) })
	})
}

func TestNodesOnRealSocketsJoinTalkAndLeave(t *testing.T) {
	a := onLoopback(t, Options{Name: "a", Version: "1.2.3"})
	b := onLoopback(t, Options{Name: "b", Config: conf.Cluster{Join: []string{a.Addr().String()}}})
	// A name of the join list is looked up.
	c := onLoopback(t, Options{Name: "c", Config: conf.Cluster{Join: []string{fmt.Sprintf("localhost:%d", a.Addr().Port())}}})
	var got atomic.Value
	ta := a.Topic("greeting")
	for _, n := range []*Node{b, c} {
		n.Topic("greeting").Subscribe(func(from NodeID, payload []byte) {
			if from == a.ID() && n == b {
				got.Store(string(payload))
			}
		})
	}
	if err := ta.Send(b.ID(), nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Send before Run: %v", err)
	}
	run(t, a)
	stopB := run(t, b)
	run(t, c)
	together(t, a, b, c)
	if m, ok := b.Member(a.ID()); !ok || m.Version != "1.2.3" || m.API != APIVersion || m.Address != a.Addr() {
		t.Errorf("b knows a as %+v", m)
	}
	for _, payload := range []string{"hello", strings.Repeat("long ", 10_000)} {
		if err := ta.SendReliable(b.ID(), []byte(payload)); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "b has it", func() bool { return got.Load() == payload })
	}
	if err := b.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	stopB()
	eventually(t, 5*time.Second, "b has left", func() bool { return a.Stats().Members[Left] == 1 })
	if s := a.Stats(); s.PacketBytesIn == 0 || s.PacketBytesOut == 0 || s.StreamBytesIn == 0 || s.StreamBytesOut == 0 {
		t.Errorf("traffic was not counted: %+v", s)
	}
}

func TestFactsReachTenNodesOnRealSocketsWithinASecond(t *testing.T) {
	var nodes []*Node
	for i := range 10 {
		o := Options{Name: fmt.Sprint("gw-", i)}
		if i > 0 {
			o.Config.Join = []string{nodes[0].Addr().String()}
		}
		nodes = append(nodes, onLoopback(t, o))
		run(t, nodes[i])
	}
	together(t, nodes...)
	var took []time.Duration
	for i := range 100 {
		key := fmt.Sprint(i)
		began := time.Now()
		if err := nodes[i%10].Facts().Set("ban", key, nil, began.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			for ok := false; !ok; _, ok = n.Facts().Get("ban", key) {
				if time.Since(began) > 10*time.Second {
					t.Fatalf("%s does not have fact %d", n.Name(), i)
				}
				time.Sleep(50 * time.Microsecond)
			}
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("on all 10 nodes: p50 %v, p99 %v", took[50], took[99])
	if took[99] >= time.Second {
		t.Errorf("p99 is %v", took[99])
	}
}

func TestATakenPortIsAnErrorThatSaysSo(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		other, err := Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		addr := other.TCP.Addr().String()
		if network == "udp" {
			other.TCP.Close()
		}
		_, err = New(Options{Name: "a", Config: conf.Cluster{Bind: addr, Secret: secretOf(1)}})
		if !errors.Is(err, ErrAddressTaken) || !strings.Contains(err.Error(), addr+"/"+network) {
			t.Errorf("%s: %v", network, err)
		}
	}
}

func TestANodeThatNeverRanGivesItsSocketsBack(t *testing.T) {
	a := onLoopback(t, Options{Name: "a"})
	addr := a.Addr().String()
	a.Close()
	s, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := a.Run(t.Context()); err != nil {
		t.Errorf("Run after Close: %v", err)
	}
}

func TestNodesSpeakIPv6(t *testing.T) {
	nodes := make([]*Node, 2)
	for i := range nodes {
		s, err := Listen("[::1]:0")
		if err != nil {
			t.Fatal(err)
		}
		o := Options{Name: fmt.Sprint("v6-", i), Sockets: s}
		if i > 0 {
			o.Config.Join = []string{nodes[0].Addr().String()}
		}
		nodes[i] = onLoopback(t, o)
		run(t, nodes[i])
	}
	together(t, nodes...)
	if a := nodes[1].Addr(); !a.Addr().Is6() {
		t.Errorf("the address is %v", a)
	}
}

func TestTheAdvertisedAddressIsWhatOthersAreTold(t *testing.T) {
	for text, want := range map[string]string{"192.0.2.7": "192.0.2.7:7946", "192.0.2.7:1234": "192.0.2.7:1234", "2001:db8::1": "[2001:db8::1]:7946"} {
		s, err := Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		n, err := New(Options{Name: "a", Sockets: s, Config: conf.Cluster{Bind: "0.0.0.0:7946", Advertise: text, Secret: secretOf(1)}})
		if err != nil {
			t.Fatal(err)
		}
		if got := n.Addr().String(); got != want {
			t.Errorf("advertise %s: told %s, want %s", text, got, want)
		}
		n.Close()
	}
	if _, err := New(Options{Name: "a", Config: conf.Cluster{Advertise: "gw-1.example", Secret: secretOf(1)}}); err == nil {
		t.Error("a name was taken as an address")
	}
}

// duplicate does what passing descriptors to a child process does.
func duplicate(t *testing.T, s *Sockets) *Sockets {
	t.Helper()
	tf, err := s.TCP.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer tf.Close()
	uf, err := s.UDP.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer uf.Close()
	tcp, err := net.FileListener(tf)
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.FilePacketConn(uf)
	if err != nil {
		t.Fatal(err)
	}
	return &Sockets{tcp, udp}
}

// Invariant 5. Ten upgrades in a row while a peer sends: it sees no event but updates, every
// message arrives once, and the replica stays the same.
func TestAnUpgradeIsNotNoticed(t *testing.T) {
	var mu sync.Mutex
	var events []string
	peer := onLoopback(t, Options{Name: "peer"})
	peer.OnEvent(func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Member.Name == "gw" {
			events = append(events, e.Kind.String())
		}
	})
	topic := peer.Topic("rows")
	run(t, peer)

	var got sync.Map
	var count, twice atomic.Int64
	receive := func(_ NodeID, payload []byte) {
		if _, again := got.LoadOrStore(binary.LittleEndian.Uint64(payload), true); again {
			twice.Add(1)
		}
		count.Add(1)
	}
	first, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sockets := []*Sockets{first}
	o := Options{Name: "gw", Config: conf.Cluster{Join: []string{peer.Addr().String()}}, Sockets: first, Facts: facts.Options{}}
	gw := onLoopback(t, o)
	gw.Topic("rows").Subscribe(receive)
	run(t, gw)
	together(t, peer, gw)
	gw.Facts().Set("ban", "x", []byte("1"), time.Time{})

	stop, sent := make(chan struct{}), make(chan uint64)
	id := gw.ID()
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for i := uint64(0); ; {
			select {
			case <-tick.C:
				if topic.Send(id, binary.LittleEndian.AppendUint64(nil, i)) == nil {
					i++
				}
			case <-stop:
				sent <- i
				return
			}
		}
	}()
	for generation := uint32(1); generation <= 10; generation++ {
		next := duplicate(t, sockets[len(sockets)-1])
		sockets = append(sockets, next)
		state, err := gw.Handover()
		if err != nil {
			t.Fatal(err)
		}
		gw = onLoopback(t, Options{Name: "gw", Sockets: next, Handover: state})
		gw.Topic("rows").Subscribe(receive)
		run(t, gw)
		together(t, peer, gw)
		if gw.ID() != id {
			t.Fatalf("the replica changed: %v, was %v", gw.ID(), id)
		}
		eventually(t, 5*time.Second, "the generation is known", func() bool {
			m, _ := peer.Member(id)
			return m.Generation == generation
		})
		if f, _ := gw.Facts().Get("ban", "x"); string(f.Value) != "1" {
			t.Error("a fact was lost")
		}
	}
	close(stop)
	total := int64(<-sent)
	if deadline := time.Now().Add(5 * time.Second); count.Load() < total {
		for count.Load() < total && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		if n := total - count.Load(); n > 0 {
			t.Errorf("%d of %d messages did not arrive; dropped by the last generation: %v", n, total, gw.Stats().Dropped)
		}
	}
	if twice.Load() != 0 {
		t.Errorf("%d messages arrived twice", twice.Load())
	}
	mu.Lock()
	defer mu.Unlock()
	if slices.ContainsFunc(events, func(e string) bool { return e != "joined" && e != "updated" }) || strings.Count(strings.Join(events, " "), "joined") != 1 {
		t.Errorf("the peer saw %v", events)
	}
	t.Logf("%d messages during ten upgrades, none lost, none twice", total)
}

func TestASuccessorMustHaveTheName(t *testing.T) {
	a := onLoopback(t, Options{Name: "a"})
	state, err := a.Handover()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Name: "b", Config: conf.Cluster{Bind: "127.0.0.1:0"}, Handover: state}); err == nil {
		t.Error("another name was accepted")
	}
	if _, err := New(Options{Name: "a", Config: conf.Cluster{Bind: "127.0.0.1:0"}, Handover: state[:10]}); err == nil {
		t.Error("half a handover was accepted")
	}
}

func TestOneSourceCannotHoldMoreThanItsShareOfStreams(t *testing.T) {
	a := onLoopback(t, Options{Name: "a"})
	run(t, a)
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range maxPerSource + 5 {
		c, err := net.Dial("tcp", a.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	eventually(t, 5*time.Second, "the rest is refused", func() bool { return a.Stats().Dropped["stream_refused"] == 5 })
	for _, c := range conns {
		c.Close()
	}
	eventually(t, 5*time.Second, "nothing is held any more", func() bool {
		a.sockets.mu.Lock()
		defer a.sockets.mu.Unlock()
		return len(a.sockets.conns)+len(a.sockets.sources)+a.sockets.in+a.sockets.out == 0
	})
}

package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/conf"
)

// inbox collects what a topic delivers.
type inbox struct {
	mu  sync.Mutex
	got [][]byte
}

func (b *inbox) take(_ NodeID, payload []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, bytes.Clone(payload))
}

func (b *inbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.got)
}

func (b *inbox) has(payload []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range b.got {
		if bytes.Equal(g, payload) {
			return true
		}
	}
	return false
}

// topical adds a node with a topic whose messages go to an inbox.
func (s *sim) topical(i int, topic string) (*simNode, *Topic, *inbox) {
	s.t.Helper()
	o := Options{Name: fmt.Sprintf("gw-%d", i), Config: conf.Cluster{Secret: secretOf(1)}, Transport: s.net.Transport(simAddr(i))}
	if i > 0 {
		o.Config.Join = []string{simAddr(0)}
	}
	n, err := New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	b := &inbox{}
	tp := n.Topic(topic)
	tp.Subscribe(b.take)
	return s.start(n, simAddr(i)), tp, b
}

// noise cannot be compressed.
func noise(seed uint64, size int) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	r.Read(b)
	return b
}

// Invariant 3.
func TestMessagesOfEverySizeArriveWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		s.net.Shape(lan())
		biggest := 0
		s.net.Tap(func(_, _ string, packet []byte) { biggest = max(biggest, len(packet)) })
		a, ta, _ := s.topical(0, "rows")
		b, _, box := s.topical(1, "rows")
		s.converged(20 * time.Second)
		// Below and above the bounds of one datagram, of several, of compression.
		one := a.budget - maxHeader
		for i, size := range []int{0, 1, compressAbove, compressAbove + 1, one - 1, one, one + 1, 2 * one, MaxDatagrams * one, MaxDatagrams*one + 1, 100_000, MaxMessage} {
			for _, payload := range [][]byte{noise(uint64(i), size), bytes.Repeat([]byte{byte(i)}, size)} {
				if err := ta.Send(b.ID(), payload); err != nil {
					t.Fatalf("%d bytes: %v", size, err)
				}
				eventually(t, 5*time.Second, fmt.Sprint(size, " bytes"), func() bool { return box.has(payload) })
			}
		}
		if biggest > datagram {
			t.Errorf("a packet had %d bytes, at most %d are wanted", biggest, datagram)
		}
		if err := ta.Send(b.ID(), make([]byte, MaxMessage+1)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("above MaxMessage: %v", err)
		}
		if err := ta.Send(a.ID(), nil); !errors.Is(err, ErrUnknownNode) {
			t.Errorf("to itself: %v", err)
		}
		if err := ta.Broadcast("", noise(1, MaxBroadcast+1)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("broadcast above MaxBroadcast: %v", err)
		}
		for reason, n := range b.Stats().Dropped {
			if n > 0 {
				t.Errorf("%d frames dropped: %s", n, reason)
			}
		}
	})
}

func TestReliableMessagesSurviveLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		defer s.stop()
		l := lan()
		l.Loss = 0.2
		s.net.Shape(l)
		_, ta, _ := s.topical(0, "rows")
		b, _, box := s.topical(1, "rows")
		s.converged(time.Minute)
		const count = 50
		for i := range count {
			if err := ta.SendReliable(b.ID(), []byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, time.Minute, "all have arrived", func() bool { return box.len() == count })
	})
}

func TestBroadcastsReachEveryoneInAClusterLargerThanTheFanout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 4)
		defer s.stop()
		l := lan()
		l.Loss, l.Duplicate = 0.2, 0.1
		s.net.Shape(l)
		var boxes []*inbox
		var topics []*Topic
		for i := range 30 {
			_, tp, b := s.topical(i, "limits")
			boxes, topics = append(boxes, b), append(topics, tp)
		}
		s.converged(time.Minute)
		for round := range 5 {
			payload := fmt.Appendf(nil, "version %d", round)
			if err := topics[round].Broadcast("tier", payload); err != nil {
				t.Fatal(err)
			}
			took := eventually(t, 10*time.Second, "everyone has it", func() bool {
				for i, b := range boxes {
					if i != round && !b.has(payload) {
						return false
					}
				}
				return true
			})
			t.Logf("30 nodes at 20%% loss: %v", took)
		}
		time.Sleep(10 * time.Second)
		for i, b := range boxes {
			if b.len() > 5 {
				t.Errorf("node %d was given %d messages, 5 were sent", i, b.len())
			}
		}
	})
}

// Invariant 4.
func TestASlowSubscriberLosesItsOwnMessagesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		_, ta, _ := s.topical(0, "rows")
		o := Options{Name: "gw-1", Config: conf.Cluster{Secret: secretOf(1), Join: []string{simAddr(0)}}, Transport: s.net.Transport(simAddr(1))}
		n, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		tp := n.Topic("rows")
		tp.Subscribe(func(NodeID, []byte) { <-release })
		s.start(n, simAddr(1))
		s.converged(20 * time.Second)
		const sent = TopicQueue + 500
		for range sent {
			if err := ta.Send(n.ID(), []byte("x")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(5 * time.Second)
		st := n.Stats()
		if got := st.Topics["rows"]; got.Dropped == 0 || got.Received+got.Dropped != sent {
			t.Errorf("received %d, dropped %d of %d", got.Received, got.Dropped, sent)
		}
		if st.Members[Alive] != 2 || s.nodes[0].Stats().Members[Alive] != 2 {
			t.Error("membership suffered")
		}
		close(release)
	})
}

// Invariants 1 and 2.
func TestReplayedAndForgedFramesAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		a, ta, _ := s.topical(0, "money")
		b, _, box := s.topical(1, "money")
		c, _, boxC := s.topical(2, "money")
		s.converged(20 * time.Second)
		time.Sleep(5 * time.Second) // joining is over

		var mu sync.Mutex
		var record [][]byte
		s.net.Tap(func(from, to string, packet []byte) {
			mu.Lock()
			defer mu.Unlock()
			if from == a.addr && to == b.addr {
				record = append(record, bytes.Clone(packet))
			}
		})
		if err := ta.Send(b.ID(), []byte("grant 100")); err != nil {
			t.Fatal(err)
		}
		eventually(t, time.Second, "the grant arrives", func() bool { return box.len() == 1 })
		s.net.Tap(nil)
		mu.Lock()
		packets := record
		mu.Unlock()

		wire := s.net.Transport("10.9.9.9:7946") // the attacker, who can send and record
		defer wire.Shutdown()
		for _, p := range packets {
			wire.Inject(b.addr, p, 0) // again
			wire.Inject(c.addr, p, 0) // to another
		}
		synctest.Wait()
		if box.len() != 1 || boxC.len() != 0 {
			t.Fatalf("b has %d messages, c %d: a recorded packet was taken", box.len(), boxC.len())
		}
		if d := b.Stats().Dropped; d["replayed"] == 0 {
			t.Errorf("b dropped %v, want replayed", d)
		}
		if d := c.Stats().Dropped; d["misdirected"] == 0 {
			t.Errorf("c dropped %v, want misdirected", d)
		}

		// After a restart the windows are empty, and the recorded packets still name
		// the former replica.
		b.kill()
		s.nodes = []*simNode{a, c}
		b2, _, box2 := s.topical(1, "money")
		eventually(t, 20*time.Second, "b is back", func() bool {
			_, ok := a.Member(b2.ID())
			return ok && b2.Stats().Members[Alive] == 3
		})
		for _, p := range packets {
			wire.Inject(b2.addr, p, 0)
		}
		synctest.Wait()
		if box2.len() != 0 {
			t.Fatal("a packet for the former replica was taken by its successor")
		}

		// Plain text, other keys, one bit changed.
		plain := (&frame{kind: kindMessage, from: a.ID(), to: c.ID(), seq: 999, topic: topicID("money"), payload: []byte("grant 1000")}).append([]byte{8})
		label := append([]byte{244, byte(len(DefaultLabel))}, DefaultLabel...)
		wire.Inject(c.addr, plain, 0)
		wire.Inject(c.addr, append(label, plain...), 0)
		for _, p := range packets {
			p[len(p)-1] ^= 1
			wire.Inject(c.addr, p, 0)
		}
		synctest.Wait()
		if boxC.len() != 0 {
			t.Fatal("a forged packet was taken")
		}
		if d := c.Stats().Dropped; d["wrong_label"] == 0 || d["wrong_key"] == 0 {
			t.Errorf("c dropped %v, want wrong_label and wrong_key", d)
		}

		// With the key, but not a member.
		for reason, b := range map[string][]byte{
			"stranger":      (&frame{kind: kindMessage, from: 42, to: c.ID(), seq: 1, topic: topicID("money")}).append(nil),
			"unknown_topic": (&frame{kind: kindMessage, from: a.ID(), to: c.ID(), seq: 1 << 20, topic: 7}).append(nil),
			"malformed":     {1, 2, 3},
			"version":       append([]byte{frameMagic, frameVersion + 1}, make([]byte, 40)...),
			"stale":         (&frame{kind: kindMessage, flags: flagBroadcast, from: a.ID(), seq: 1, topic: topicID("money"), sent: time.Now().Add(-time.Hour).UnixMilli()}).append(nil),
			"oversized":     (&frame{kind: kindMessage, flags: flagS2, from: a.ID(), to: c.ID(), seq: 1<<20 + 1, topic: topicID("money"), payload: []byte{0xff, 0xff, 0xff, 0x7f}}).append(nil),
		} {
			before := c.Stats().Dropped[reason]
			c.receive(b)
			if c.Stats().Dropped[reason] != before+1 {
				t.Errorf("%s was not counted: %v", reason, c.Stats().Dropped)
			}
		}
		synctest.Wait()
		if boxC.len() != 0 {
			t.Fatal("a frame was taken that should not be")
		}
	})
}

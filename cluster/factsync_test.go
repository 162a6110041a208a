package cluster

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestFactsThatGossipMissedAreFoundByTheirDigests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		for i := range 3 {
			s.add(i)
		}
		s.converged(20 * time.Second)
		// Written by a node that then hears nothing and is heard by nobody, for
		// less than it takes to be given up: its broadcasts are repeated into the
		// void.
		lone := s.nodes[2]
		s.net.Split([]string{lone.addr}, []string{s.nodes[0].addr, s.nodes[1].addr})
		const count = 1000
		for i := range count {
			lone.Facts().Set("ban", fmt.Sprint(i), []byte("x"), time.Now().Add(time.Hour))
			s.nodes[0].Facts().Set("event", fmt.Sprint(i), []byte("y"), time.Now().Add(time.Hour))
		}
		time.Sleep(3 * time.Second)
		lone.Facts().Delete("event", "0") // which it has never heard of
		lone.broadcasts.queue.Reset()
		s.nodes[0].broadcasts.queue.Reset()
		s.net.Heal()
		took := eventually(t, 20*time.Second, "all have all", func() bool {
			return !slices.ContainsFunc(s.nodes, func(n *simNode) bool {
				return len(n.Facts().Snapshot("ban")) != count || len(n.Facts().Snapshot("event")) != count-1
			})
		})
		t.Logf("repaired after %v", took)
		eventually(t, 20*time.Second, "digests agree", func() bool {
			return s.nodes[0].Facts().Root() == s.nodes[1].Facts().Root() && s.nodes[1].Facts().Root() == s.nodes[2].Facts().Root()
		})
	})
}

func TestPushPullAloneRepairsFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		a := s.add(0)
		for i := range 500 {
			a.Facts().Set("ban", fmt.Sprint(i), []byte("x"), time.Now().Add(time.Hour))
		}
		time.Sleep(10 * time.Second)
		a.broadcasts.queue.Reset() // nothing is left to tell
		b := s.add(1)
		s.converged(20 * time.Second)
		took := eventually(t, time.Second, "the newcomer has all, before the first probe", func() bool {
			return len(b.Facts().Snapshot("ban")) == 500
		})
		t.Logf("after %v", took)
	})
}

func TestDeletionsAndExpiriesReachEveryone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		for i := range 3 {
			s.add(i)
		}
		s.converged(20 * time.Second)
		all := func(key, want string) func() bool {
			return func() bool {
				return !slices.ContainsFunc(s.nodes, func(n *simNode) bool { return get(n, "bypass", key) != want })
			}
		}
		s.nodes[0].Facts().Set("bypass", "a", []byte("on"), time.Now().Add(5*time.Second))
		s.nodes[1].Facts().Set("bypass", "b", []byte("on"), time.Time{})
		eventually(t, time.Second, "both are everywhere", func() bool { return all("a", "on")() && all("b", "on")() })
		s.nodes[2].Facts().Delete("bypass", "b")
		eventually(t, time.Second, "b is gone everywhere", all("b", ""))
		eventually(t, 6*time.Second, "a has expired everywhere", all("a", ""))
		eventually(t, 3*time.Second, "a tombstone is left", func() bool {
			st := s.nodes[0].Stats().Facts
			return st.Live == 0 && st.Tombstones == 1
		})
	})
}

func TestTheLagOfFactsIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		l := lan()
		l.Delay = 20 * time.Millisecond
		s.net.Shape(l)
		a, b := s.add(0), s.add(1)
		s.converged(20 * time.Second)
		a.Facts().Set("ban", "x", nil, time.Time{})
		time.Sleep(time.Second)
		f := b.Stats().Facts
		if f.LagCount != 1 || f.LagMax < 20*time.Millisecond || f.LagMax > 25*time.Millisecond || f.LagSum != f.LagMax {
			t.Errorf("lag: count %d, sum %v, max %v; the network takes 20ms", f.LagCount, f.LagSum, f.LagMax)
		}
		time.Sleep(3 * time.Minute)
		if f := b.Stats().Facts; f.LagMax != 0 {
			t.Errorf("after three quiet minutes the largest lag is %v", f.LagMax)
		}
	})
}

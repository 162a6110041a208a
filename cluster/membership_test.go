package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/conf"
)

func TestHalvesOfASplitFindEachOtherAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		s.net.Shape(lan())
		var left, right []string
		for i := range 6 {
			n := s.add(i)
			if i < 3 {
				left = append(left, n.addr)
			} else {
				right = append(right, n.addr)
			}
		}
		s.converged(20 * time.Second)
		s.net.Split(left, right)
		eventually(t, time.Minute, "each half is alone", func() bool { return s.alive(s.nodes, 3) })

		// Long enough for the library to forget the dead.
		time.Sleep(5 * time.Minute)
		set := func(n *simNode, key, value string) {
			t.Helper()
			if err := n.Facts().Set("ban", key, []byte(value), time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		set(s.nodes[0], "left", "1")
		set(s.nodes[5], "right", "2")
		set(s.nodes[0], "both", "older")
		time.Sleep(time.Second)
		set(s.nodes[5], "both", "newer")
		s.net.Heal()
		t.Logf("one cluster again after %v", s.converged(time.Minute))
		took := eventually(t, 30*time.Second, "both halves have all facts", func() bool {
			return !slices.ContainsFunc(s.nodes, func(n *simNode) bool {
				return get(n, "ban", "left") != "1" || get(n, "ban", "right") != "2" || get(n, "ban", "both") != "newer"
			})
		})
		t.Logf("facts agree %v later", took)
	})
}

func TestANodeThatStartsAloneKeepsTrying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		s.add(1) // wants to join gw-0, which is not there
		time.Sleep(3 * time.Minute)
		if st := s.nodes[0].Stats(); st.Joins < 10 || st.JoinFailures != st.Joins {
			t.Errorf("after 3m alone: %d attempts, %d failed", st.Joins, st.JoinFailures)
		}
		s.add(0)
		t.Logf("joined %v after the other one started", s.converged(30*time.Second))
	})
}

func TestARestartIsANewReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		for i := range 3 {
			s.add(i)
		}
		s.converged(20 * time.Second)
		old := s.nodes[2]
		old.kill()
		s.nodes = s.nodes[:2]
		fresh := s.add(2) // at once: nobody had time to notice
		if old.ID() == fresh.ID() || old.ID().Stable() != fresh.ID().Stable() {
			t.Fatalf("ids %v and %v: want the same name and another nonce", old.ID(), fresh.ID())
		}
		eventually(t, 10*time.Second, "the others know the new replica, and only that", func() bool {
			for _, n := range s.nodes {
				_, have := n.Member(fresh.ID())
				_, had := n.Member(old.ID())
				if !have || had {
					return false
				}
			}
			return true
		})
	})
}

func TestTheSameNameAtANewAddressIsLetInWhenTheOldOneIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		for i := range 3 {
			s.add(i)
		}
		s.converged(20 * time.Second)
		s.nodes[2].kill()
		s.nodes = s.nodes[:2]
		fresh := s.add(7, func(o *Options) { o.Name = "gw-2" })
		took := eventually(t, 2*time.Minute, "all three see each other", func() bool {
			return s.alive(s.nodes, 3) && !slices.ContainsFunc(s.nodes, func(n *simNode) bool {
				m, ok := n.Member(fresh.ID())
				return !ok || m.Address.String() != fresh.addr
			})
		})
		t.Logf("the name moved after %v", took)
	})
}

func TestTwoNodesOfOneNameAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		var mu sync.Mutex
		var rival string
		s.add(0)
		s.nodes[0].kill()
		s.nodes = nil
		watched := s.watching(0, func(e Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == Conflicted {
				rival = e.Rival.String()
			}
		})
		first := s.add(1)
		eventually(t, 10*time.Second, "the first is in", func() bool { return s.alive(s.nodes, 2) })
		second := s.add(2, func(o *Options) { o.Name = "gw-1" })
		eventually(t, 10*time.Second, "the conflict is reported", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return rival == second.addr
		})
		eventually(t, 10*time.Second, "the second knows it, too", func() bool { return second.Stats().Conflicts > 0 })
		if _, ok := watched.Member(first.ID()); !ok {
			t.Error("the first owner lost its name")
		}
	})
}

// watching adds a node with an event subscriber.
func (s *sim) watching(i int, f func(Event)) *simNode {
	s.t.Helper()
	o := Options{Name: fmt.Sprintf("gw-%d", i), Config: conf.Cluster{Secret: secretOf(1)}, Transport: s.net.Transport(simAddr(i))}
	if i > 0 {
		o.Config.Join = []string{simAddr(0)}
	}
	n, err := New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	n.OnEvent(f)
	return s.start(n, simAddr(i))
}

func TestEventsTellWhoComesFallsSilentLeavesAndFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		var mu sync.Mutex
		var seen []string
		saw := func(want string) func() bool {
			return func() bool {
				mu.Lock()
				defer mu.Unlock()
				return slices.Contains(seen, want)
			}
		}
		s.watching(0, func(e Event) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, fmt.Sprint(e.Member.Name, " ", e.Kind, " ", e.Member.State))
		})
		for i := 1; i < 4; i++ {
			s.add(i)
		}
		s.converged(20 * time.Second)
		eventually(t, time.Second, "gw-1 joined", saw("gw-1 joined alive"))

		if err := s.nodes[1].SetMeta([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "gw-1 updated", saw("gw-1 updated alive"))
		if m, _ := s.nodes[0].Member(s.nodes[1].ID()); string(m.Meta) != "hello" {
			t.Errorf("meta data is %q", m.Meta)
		}

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.nodes[1].Leave(ctx); err != nil {
			t.Errorf("Leave: %v", err)
		}
		s.nodes[1].kill()
		eventually(t, 5*time.Second, "gw-1 left", saw("gw-1 gone left"))

		s.nodes[2].kill()
		eventually(t, 10*time.Second, "gw-2 suspected", saw("gw-2 suspected suspect"))
		eventually(t, time.Minute, "gw-2 dead", saw("gw-2 gone dead"))

		// A silent minority of one that comes back before it is given up.
		s.net.Cut(s.nodes[3].addr, s.nodes[0].addr)
		eventually(t, 10*time.Second, "gw-3 suspected", saw("gw-3 suspected suspect"))
		s.net.Heal()
		eventually(t, time.Minute, "gw-3 is a member", func() bool { return s.nodes[0].Stats().Members[Alive] == 2 })
	})
}

// Invariant 6.
func TestHomesAgreeAndMoveLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		for i := range 5 {
			s.add(i)
		}
		s.converged(20 * time.Second)
		if got := s.nodes[4].Home(nil, 1, 2); len(got) > 2 {
			t.Fatalf("more homes than asked for: %v", got)
		}
		time.Sleep(HomeAge + time.Second)
		const keys = 2000
		home := func(n *simNode, k int) []NodeID { return n.Home(nil, uint64(k)*0x9e3779b97f4a7c15, 2) }
		owned := map[NodeID]int{}
		before := make([][]NodeID, keys)
		for k := range keys {
			before[k] = home(s.nodes[0], k)
			owned[before[k][0]]++
			for _, n := range s.nodes[1:] {
				if got := home(n, k); !slices.Equal(got, before[k]) {
					t.Fatalf("key %d: %s says %v, %s says %v", k, s.nodes[0].Name(), before[k], n.Name(), got)
				}
			}
		}
		for id, n := range owned {
			if n < keys/5*7/10 || n > keys/5*13/10 {
				t.Errorf("%v owns %d of %d keys", id, n, keys)
			}
		}
		dead := s.nodes[4]
		dead.kill()
		eventually(t, time.Minute, "gw-4 is given up", func() bool { return s.nodes[0].Stats().Members[Dead] == 1 })
		for k := range keys {
			after := home(s.nodes[0], k)
			switch {
			case before[k][0] == dead.ID() && after[0] != before[k][1]:
				t.Fatalf("key %d: the standby did not take over", k)
			case before[k][0] != dead.ID() && after[0] != before[k][0]:
				t.Fatalf("key %d moved although its home lives", k)
			}
		}
	})
}

func TestAMemberOwnsKeysWhenItIsOldEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		n := s.add(0)
		synctest.Wait()
		time.Sleep(HomeAge - time.Millisecond)
		if got := n.Home(nil, 1, 1); len(got) != 0 {
			t.Errorf("a home before HomeAge: %v", got)
		}
		time.Sleep(time.Second)
		if got := n.Home(nil, 1, 1); len(got) != 1 || got[0] != n.ID() {
			t.Errorf("alone, its home is %v", got)
		}
	})
}

// Invariant 6.
func TestMajorityNeverOnBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		names := []string{"gw-0", "gw-1", "gw-2", "gw-3"}
		for i := range 4 {
			s.add(i)
		}
		s.converged(20 * time.Second)
		for _, n := range s.nodes {
			if !n.Majority(names) {
				t.Errorf("%s sees all and no majority", n.Name())
			}
		}
		a, b := s.nodes[:2], s.nodes[2:]
		s.net.Split([]string{a[0].addr, a[1].addr}, []string{b[0].addr, b[1].addr})
		time.Sleep(SuspectAfter + 2*time.Second) // before anybody is given up for dead
		for _, n := range a {
			if !n.Majority(names) {
				t.Errorf("%s is on the side of the first name and has no majority", n.Name())
			}
		}
		for _, n := range b {
			if n.Majority(names) {
				t.Errorf("%s has a majority on the other side", n.Name())
			}
		}
		// A node that is not among those named does not count.
		s.add(9, func(o *Options) { o.Config.Join = []string{b[0].addr} })
		s.net.Split([]string{a[0].addr, a[1].addr}, []string{b[0].addr, b[1].addr, s.nodes[4].addr})
		time.Sleep(10 * time.Second)
		if b[0].Majority(names) {
			t.Error("a newcomer made a majority")
		}
		if b[0].Majority(nil) {
			t.Error("a majority of nobody")
		}
	})
}

// Invariant 1.
func TestAnotherLabelOrKeyIsRefused(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"label": func(o *Options) { o.Config.Label = "staging" },
		"key":   func(o *Options) { o.Config.Secret = secretOf(2) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, 1)
				defer s.stop()
				inside := s.add(0)
				outside := s.add(1, change)
				time.Sleep(time.Minute)
				for _, n := range s.nodes {
					if st := n.Stats(); st.Members[Alive] != 1 || len(n.Members()) != 1 {
						t.Errorf("%s has members %v", n.Name(), n.Members())
					}
				}
				// Packets, too, which the join does not send.
				outside.transport.WriteTo(make([]byte, 100), inside.addr)
				time.Sleep(time.Second)
				if d := inside.Stats().Dropped; d["wrong_"+name] == 0 {
					t.Errorf("dropped: %v, want wrong_%s", d, name)
				}
				if outside.Stats().JoinFailures == 0 {
					t.Error("no failed join was counted")
				}
			})
		})
	}
}

func TestClockSkewIsMeasuredAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		s.net.Shape(lan())
		late := func(d time.Duration) func(*Options) {
			return func(o *Options) { o.Now = func() time.Time { return time.Now().Add(d) } }
		}
		s.add(0)
		s.add(1, late(5*time.Second))
		s.add(2, late(10*time.Minute))
		s.converged(20 * time.Second)
		time.Sleep(5 * time.Second)
		for _, p := range s.nodes[0].Stats().Peers {
			want := map[string]time.Duration{"gw-1": 5 * time.Second, "gw-2": 10 * time.Minute}[p.Name]
			if d := p.Skew - want; d.Abs() > 5*time.Millisecond || p.Measured.IsZero() {
				t.Errorf("%s: skew %v, want %v", p.Name, p.Skew, want)
			}
		}
		for i, n := range s.nodes {
			n.Facts().Set("ban", fmt.Sprint(i), []byte("x"), time.Time{})
		}
		time.Sleep(10 * time.Second)
		if get(s.nodes[0], "ban", "1") == "" {
			t.Error("a fact from a clock 5s ahead was refused")
		}
		if get(s.nodes[0], "ban", "2") != "" || s.nodes[0].Stats().Facts.Refused["ahead"] == 0 {
			t.Error("a fact from a clock 10m ahead was taken")
		}
		if get(s.nodes[2], "ban", "0") == "" {
			t.Error("a fact from a clock behind was refused")
		}
		// The clock that runs ahead has not dragged the others' with it.
		s.nodes[0].Facts().Set("ban", "now", nil, time.Time{})
		if f, _ := s.nodes[0].Facts().Get("ban", "now"); time.Until(f.Written) > 6*time.Second {
			t.Errorf("this node's stamps are %v ahead", time.Until(f.Written))
		}
	})
}

//go:build integration && drills

package test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// apart cuts the first node's gossip off from the others'.
func apart(f *fleet) {
	testkit.Partition([]*testkit.FaultProxy{f.nodes[0].gossip}, []*testkit.FaultProxy{f.nodes[1].gossip, f.nodes[2].gossip})
}

// together ends it.
func together(f *fleet) {
	testkit.Partition([]*testkit.FaultProxy{f.nodes[0].gossip, f.nodes[1].gossip, f.nodes[2].gossip})
}

// awaitFence waits until a node spends nothing.
func awaitFence(t *testing.T, m *member) {
	testkit.Eventually(t, takeover, func() error {
		if v, err := m.books(); err != nil || !v.Fenced {
			return fmt.Errorf("%s: %+v, %v; want fenced", m.name, v, err)
		}
		return nil
	})
}

// longDrills take their time; make drills runs them.
var longDrills = []drill{
	{name: "redis refuses", redis: true, break_: toHome(func(f *fleet) { f.redis.Set(testkit.Refuse) }), mend: mendRedis},
	{name: "redis closes", redis: true, break_: toHome(func(f *fleet) { f.redis.Set(testkit.Close) }), mend: mendRedis},
	{name: "redis is slow by 2 s", redis: true, break_: toHome(func(f *fleet) { f.redis.Delay(2 * time.Second) }), mend: mendRedis},
	{name: "redis is stopped", redis: true, break_: toHome(func(f *fleet) { f.server.Stop() }), mend: func(t *testing.T, f *fleet) {
		f.server.Continue()
		mendRedis(t, f)
	}},
	{name: "redis is restarted empty", redis: true, break_: toHome(func(f *fleet) { f.server.Kill() }), mend: func(t *testing.T, f *fleet) {
		f.server.Run()
		mendRedis(t, f)
	}},
	{
		// Redis stays the authority: gossip is not needed while it answers.
		name: "gossip is cut, redis is there", redis: true,
		break_: func(_ *testing.T, f *fleet) {
			apart(f)
			time.Sleep(15 * time.Second) // beyond the time after which members are dead, and of a fence
			f.awaitBooks("redis", takeover, f.nodes...)
		},
		mend: func(t *testing.T, f *fleet) {
			together(f)
			mendRedis(t, f)
		},
	},
	{
		name: "gossip is cut, no redis",
		break_: func(t *testing.T, f *fleet) {
			apart(f)
			awaitFence(t, f.nodes[0])
			f.nodes[0].down.Store(true) // it refuses; clients go to the others
			f.awaitBooks("home", takeover, f.nodes[1:]...)
		},
		mend: func(_ *testing.T, f *fleet) {
			together(f)
			f.awaitBooks("home", recovery, f.nodes...)
			f.nodes[0].down.Store(false)
		},
	},
	{
		name: "redis and gossip are cut", redis: true,
		break_: func(t *testing.T, f *fleet) {
			apart(f)
			f.redis.Set(testkit.Blackhole)
			awaitFence(t, f.nodes[0])
			f.awaitBooks("home", takeover, f.nodes[1:]...)
		},
		mend: func(t *testing.T, f *fleet) {
			together(f)
			mendRedis(t, f)
		},
	},
	{
		name: "a node is killed, redis is there", redis: true,
		break_: func(_ *testing.T, f *fleet) {
			f.kill(f.nodes[2])
			time.Sleep(10 * time.Second)
		},
		mend: func(_ *testing.T, f *fleet) {
			f.restart(f.nodes[2])
			f.awaitBooks("redis", recovery, f.nodes...)
		},
	},
	{name: "a node sleeps, redis is there", redis: true, break_: sleepFor20s, mend: mendRedis},
	{name: "a node sleeps", break_: sleepFor20s, mend: func(_ *testing.T, f *fleet) { f.awaitBooks("home", recovery, f.nodes...) }},
	{name: "all nodes are restarted, one after the other", redis: true, break_: func(_ *testing.T, f *fleet) {
		for _, m := range f.nodes {
			m.down.Store(true)
			m.process.Stop()
			f.restart(m)
		}
	}, mend: mendRedis},
}

// sleepFor20s stops a node that holds rights, and lets it go on when the others
// have long given it up.
func sleepFor20s(_ *testing.T, f *fleet) {
	f.freeze(f.nodes[1])
	time.Sleep(20 * time.Second)
	f.thaw(f.nodes[1])
}

// TestLongDrills is TestDrills for all that can go wrong, three at a time.
func TestLongDrills(t *testing.T) { runDrills(t, longDrills) }

// TestTheStrictModeRefusesOnTheSmallerSide: a node that is cut off from the majority
// and has no Redis admits nothing once its time is over.
func TestTheStrictModeRefusesOnTheSmallerSide(t *testing.T) {
	t.Parallel()
	f := startFleet(t, 3, false, "strict")
	l := f.send(flow{"hot", hotLimit, 1.5 * hotLimit / 10})
	l.flowing(t, 20)
	apart(f)
	awaitFence(t, f.nodes[0])
	from := l.now()
	f.awaitBooks("home", takeover, f.nodes[1:]...)
	l.flowing(t, 40)
	for _, a := range l.end() {
		if a.from > from && a.node == f.nodes[0] && a.status != http.StatusTooManyRequests {
			t.Fatalf("a node that is cut off answered %d, %v", a.status, a.err)
		}
	}
}

//go:build integration

package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// drill is one thing that goes wrong with a cluster of three nodes while clients
// send, and how it must go on.
type drill struct {
	name      string
	redis     bool
	partition string // default: strict
	// break_ does it, and returns when the cluster has found its way around it.
	// mend undoes it and returns when all is as before.
	break_, mend func(t *testing.T, f *fleet)
	// calmRefused is which share of the requests of a tenant at 30 % of its quota may be
	// refused; 0: not looked at.
	calmRefused float64
}

// Patience with what must happen, on a machine that does other things.
const (
	takeover = 40 * time.Second
	recovery = 60 * time.Second
)

// mendRedis waits until Redis is the authority again.
func mendRedis(_ *testing.T, f *fleet) {
	f.redis.Set(testkit.Pass)
	f.redis.Delay(0)
	f.awaitBooks("redis", recovery, f.nodes...)
}

// toHome does something to Redis, upon which home nodes take over.
func toHome(what func(f *fleet)) func(*testing.T, *fleet) {
	return func(_ *testing.T, f *fleet) {
		what(f)
		f.awaitBooks("home", takeover, f.nodes...)
	}
}

// homeOf asks who keeps the books of the busy tenant.
func homeOf(t *testing.T, f *fleet) *member {
	t.Helper()
	out, stderr, code := run(t, "cluster", "key", "hot-0", "-o", "json", "-c", f.nodes[0].config)
	var q struct {
		Home string
		quotaView
	}
	if code != 0 || json.Unmarshal([]byte(out), &q) != nil {
		t.Fatalf("exit %d: %s%s", code, out, stderr)
	}
	if q.Limit != hotLimit || q.Used+q.Held+q.Free != q.Limit {
		t.Errorf("the books do not add up: %+v", q)
	}
	for _, m := range f.nodes {
		if m.name == q.Home {
			return m
		}
	}
	t.Fatalf("no home in %s", out)
	return nil
}

type quotaView struct{ Limit, Used, Held, Free int }

// shortDrills are those that make test has time for.
var shortDrills = []drill{
	{
		name: "redis hangs", redis: true,
		break_: toHome(func(f *fleet) { f.redis.Set(testkit.Blackhole) }), mend: mendRedis,
	},
	{
		name: "redis is emptied", redis: true,
		break_: func(_ *testing.T, f *fleet) { f.server.Flush() }, mend: mendRedis,
	},
	{
		name: "all nodes are upgraded", redis: true,
		break_: upgradeAll, mend: mendRedis,
	},
	{
		// The books travel: no other authority has to begin, and who is below its quota
		// is hardly refused.
		name: "all nodes are upgraded, no redis",
		break_: func(t *testing.T, f *fleet) {
			epoch := f.nodes[0].epoch(t)
			upgradeAll(t, f)
			time.Sleep(4 * time.Second) // what would begin anew has begun by then
			for _, m := range f.nodes {
				if now := m.epoch(t); now != epoch {
					t.Errorf("%s: epoch %d after the upgrades, %d before", m.name, now, epoch)
				}
			}
		},
		mend:        func(_ *testing.T, f *fleet) { f.awaitBooks("home", recovery, f.nodes...) },
		calmRefused: 0.25,
	},
	{
		name: "the home is killed",
		break_: func(t *testing.T, f *fleet) {
			home := homeOf(t, f)
			f.kill(home)
			f.awaitBooks("home", takeover, f.others(home)...)
		},
		mend: func(t *testing.T, f *fleet) {
			for _, m := range f.nodes {
				if m.down.Load() {
					f.restart(m)
				}
			}
			f.awaitBooks("home", recovery, f.nodes...)
		},
	},
}

// epoch is that of the limits' authority, as a node knows it.
func (m *member) epoch(t *testing.T) uint64 {
	t.Helper()
	v, err := m.books()
	if err != nil || v.Epoch == 0 {
		t.Fatalf("%s: %+v, %v", m.name, v, err)
	}
	return v.Epoch
}

// upgradeAll replaces every process, one after the other.
func upgradeAll(t *testing.T, f *fleet) {
	for _, m := range f.nodes {
		if out, code := sluice(t, "upgrade", "-c", m.config); code != 0 {
			t.Fatalf("exit %d: %s", code, out)
		}
	}
}

// others are all nodes but one.
func (f *fleet) others(but *member) (list []*member) {
	for _, m := range f.nodes {
		if m != but {
			list = append(list, m)
		}
	}
	return list
}

// TestDrills: whatever fails, no limit is exceeded, no client is failed or kept
// waiting, and all is well again by itself.
func TestDrills(t *testing.T) { runDrills(t, shortDrills) }

func runDrills(t *testing.T, drills []drill) {
	for _, d := range drills {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			if d.partition == "" {
				d.partition = "strict"
			}
			f := startFleet(t, 3, d.redis, d.partition)
			l := f.send(flow{"hot", hotLimit, 1.5 * hotLimit / 10}, flow{"calm", calmLimit, .3 * calmLimit / 10})
			l.flowing(t, 20)
			began := l.now()
			d.break_(t, f)
			l.flowing(t, 20) // some are admitted while it is broken, too
			mending := l.now()
			d.mend(t, f)
			mended := l.now()
			l.flowing(t, 20)
			t.Logf("everybody served while broken after %v, as before after %v", (mending - began).Round(100*time.Millisecond), (mended - mending).Round(100*time.Millisecond))
			const waits = "sluice_limit_wait_seconds_"
			t.Logf("%.0f requests waited for the authority, %.0f of them up to 5 ms, %.0f up to 50 ms", f.metric(waits+"count"),
				f.metric(waits+`bucket{le="0.005"}`), f.metric(waits+`bucket{le="0.05"}`))
			answers := l.end()
			l.verdict(t, answers)
			if j := judge(answers, 1, fleetWindow); d.calmRefused > 0 && float64(j.refused) > d.calmRefused*float64(j.refused+j.admitted) {
				t.Errorf("a tenant at 30 %% of its quota was refused %d times of %d", j.refused, j.refused+j.admitted)
			}
		})
	}
}

// flowing waits until each tenant has been admitted so many times from now on.
func (l *clients) flowing(t *testing.T, times int) {
	t.Helper()
	from := l.now()
	testkit.Eventually(t, takeover, func() error {
		counts := make([]int, len(l.flows))
		for _, a := range l.since(from) {
			if a.status == http.StatusOK {
				counts[a.tenant]++
			}
		}
		for i, n := range counts {
			if n < times {
				return fmt.Errorf("%s was admitted %d times", l.flows[i].tier, n)
			}
		}
		return nil
	})
}

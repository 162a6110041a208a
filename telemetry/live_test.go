package telemetry

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/telemetry/series"
)

func window(m *Metrics, k series.Key, now int64) (p series.Point) {
	m.Live().Store().Window(&p, k, time.Unix(now, 0), time.Minute)
	return p
}

func TestRequestsBecomeSeries(t *testing.T) {
	m := newMetrics(MetricsOptions{}, newStriper(4))
	const now = 1_800_000_000
	route, acme := m.Route("/a", "s"), m.Tenant("acme")
	var busy sync.WaitGroup
	for range 4 {
		busy.Go(func() {
			for i := range 250 {
				o := Observation{Route: route, Tenant: acme, Status: 200, Duration: 10 * time.Millisecond, BytesIn: 3, BytesOut: 5}
				switch {
				case i%50 == 0:
					o.Status = 429
				case i%50 == 1:
					o.Status, o.Duration = 503, 2*time.Second
				case i%50 == 2:
					o.Status, o.Route, o.Tenant = 401, nil, nil
				case i%50 == 3:
					o.Status = 403
				}
				m.Observe(&o)
			}
		})
	}
	busy.Wait()
	m.collectLive(now)
	m.collectLive(now + 1) // nothing new

	total := window(m, series.Key{Kind: series.Total}, now+2)
	want := [6]uint64{0, 920, 0, 60, 20, 0}
	if total.Classes != want || total.Limited != 20 || total.Unauthenticated != 20 || total.Forbidden != 20 || total.BytesIn != 3000 || total.BytesOut != 5000 {
		t.Errorf("in all: %+v", total)
	}
	if p99 := total.Latency.Quantile(.99); (p99 - 2*time.Second).Abs() > 2*time.Second/16 {
		t.Errorf("p99 %v", p99)
	}
	for k, n := range map[series.Key]uint64{{Kind: series.Route, Name: "/a"}: 980, {Kind: series.Route, Name: "none"}: 20, {Kind: series.Tenant, Name: "acme"}: 980, {Kind: series.Tenant, Name: "other"}: 0} {
		if p := window(m, k, now+2); p.Requests() != n {
			t.Errorf("%v: %d requests, want %d", k, p.Requests(), n)
		}
	}
}

func TestQuietTenantsMakeRoomForBusyOnes(t *testing.T) {
	m := newMetrics(MetricsOptions{}, newStriper(1))
	m.live.max.MaxTenants, m.live.max.MaxRoutes = 2, 1
	now := int64(1_800_000_000)
	send := func(tenant string, n int) {
		for range n {
			m.Observe(&Observation{Tenant: m.Tenant(tenant), Status: 200})
		}
	}
	second := func() { m.collectLive(now); now++ }
	for i := range 4 {
		send(fmt.Sprint("t", i), 1)
	}
	second()
	if got := m.Live().Store().Keys(series.Tenant); !slices.Equal(got, []string{"other", "t0", "t1"}) {
		t.Fatalf("series of %v", got)
	}
	now += quietTenant / 2
	send("t1", 1)
	second()
	now += quietTenant / 2
	send("t2", 1)
	send("t3", 5)
	second() // t0 has been quiet for an hour, t1 for half of it
	send("t3", 7)
	second()
	if got := m.Live().Store().Keys(series.Tenant); !slices.Equal(got, []string{"other", "t1", "t3"}) {
		t.Errorf("series of %v, want t3 in place of t0", got)
	}
	if p := window(m, series.Key{Kind: series.Tenant, Name: "t3"}, now); p.Requests() != 7 {
		t.Errorf("t3 has %d requests, want the 7 since it has a series", p.Requests())
	}
	send("t0", 3)
	second()
	if p := window(m, series.Key{Kind: series.Tenant, Name: "other"}, now); p.Requests() != 3+6 {
		t.Errorf("others have %d requests, want 9", p.Requests())
	}
	m.Route("/a", "s")
	if m.Route("/b", "s").route.live != m.live.otherRoutes {
		t.Error("there are more routes than may be")
	}
}

func TestASeriesGrowsBySecondsUntilItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMetrics(MetricsOptions{}, newStriper(1))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		time.Sleep(500 * time.Millisecond) // between two ticks
		for range 30 {
			m.Observe(&Observation{Status: 200})
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if steps := m.Live().Store().History(series.Key{Kind: series.Total}, time.Now(), time.Minute); len(steps) < 29 {
			t.Errorf("%d steps after 30 seconds", len(steps))
		}
		cancel()
		<-done
	})
}

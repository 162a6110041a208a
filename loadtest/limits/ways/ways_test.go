package ways

import (
	"net"
	"sync"
	"testing"
	"time"

	"sluice/loadtest/limits/oracle"
	"sluice/loadtest/limits/redisd"
	"sluice/loadtest/limits/traffic"
)

// TestWaysAreWhatTheyAreKnownFor gives all of them the same two attacks at once.
func TestWaysAreWhatTheyAreKnownFor(t *testing.T) {
	redisd.Quiet()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	server, err := redisd.Start(address, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	const window = time.Second
	gossip, err := Gossip(3, window)
	if err != nil {
		t.Fatal(err)
	}
	all := []*Way{Share(3, window), gossip, Buckets(address, 3, window), EachRequest(address, 3, window)}
	for _, w := range all {
		defer w.Stop()
	}
	p := traffic.New("ways", 1, 3, window, 4*window,
		traffic.Flow{Name: "over", Load: 3, Tenants: 2, Limit: 100},
		traffic.Flow{Name: "edge", Shape: traffic.Edge, Load: 1.2, Tenants: 1, Limit: 101},
	)
	start := time.Now()
	for _, w := range all {
		if err := w.Begin(p, start); err != nil {
			t.Fatal(err)
		}
	}
	p.Drive(t.Context(), start, func(r traffic.Request) {
		var asked sync.WaitGroup
		for _, w := range all {
			asked.Go(func() { w.Ask(r) })
		}
		asked.Wait()
	})
	got := map[string]oracle.Summary{}
	for _, w := range all {
		list, err := w.Decisions()
		if err != nil || len(list) != len(p.Requests) {
			t.Fatalf("%s: %d decisions about %d requests, %v", w.Name(), len(list), len(p.Requests), err)
		}
		got[w.Name()] = oracle.Summarize(list)
	}
	if s := got["limit/N"]; s.Excess != 0 || s.Needless == 0 {
		t.Errorf("limit/N: %d above the limit, %d needless refusals", s.Excess, s.Needless)
	}
	if s := got["gossip of counts"]; s.Excess == 0 {
		t.Error("gossip of counts kept the limit")
	}
	if s := got["two buckets in Redis"]; s.ExcessShare < 0.3 {
		t.Errorf("two buckets: %.2f above the limit, under an attack on the edge", s.ExcessShare)
	}
	if s := got["Redis on every request"]; s.Throughput() < 0.98 {
		t.Errorf("Redis on every request: %.3f of what an exact log admits", s.Throughput())
	}
	if n, err := server.Calls(); err != nil || n < 2*int64(len(p.Requests)) {
		t.Errorf("%d calls for %d requests, %v", n, 2*len(p.Requests), err)
	}
	if n, err := gossip.GossipBytes(); err != nil || n == 0 {
		t.Errorf("%d bytes of gossip, %v", n, err)
	}
}

// TestWithoutRedisTheyAdmit is what failing open means.
func TestWithoutRedisTheyAdmit(t *testing.T) {
	redisd.Quiet()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close() // nobody is there any more
	p := traffic.New("ways", 1, 1, time.Second, time.Second, traffic.Flow{Name: "none", Load: 0, Tenants: 1, Limit: 1})
	for _, w := range []*Way{Buckets(address, 1, time.Second), EachRequest(address, 1, time.Second)} {
		if err := w.Begin(p, time.Now()); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			w.Ask(traffic.Request{})
		}
		list, err := w.Decisions()
		if s := oracle.Summarize(list); err != nil || s.Excess != 2 {
			t.Errorf("%s: %+v, %v", w.Name(), s, err)
		}
		w.Stop()
	}
}

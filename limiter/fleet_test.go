package limiter

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/conf"
	"sluice/limiter/redis/redistest"
)

// node is one limiter of a cluster in this process, running.
type node struct {
	*Limiter
	stop func()
}

// cluster runs n limiters on one Redis.
func cluster(t testing.TB, s *redistest.Server, n int) []*node {
	t.Helper()
	var nodes []*node
	for range n {
		nodes = append(nodes, startNode(t, s))
	}
	for _, n := range nodes {
		n.await(t, func() bool { return n.Ready() })
	}
	return nodes
}

func startNode(t testing.TB, s *redistest.Server) *node {
	o := Options{Cluster: ClusterOptions{Redis: &conf.Redis{Addresses: []string{s.Address}}}}
	o.Secret[0] = 1
	// The machine that runs tests may be busy.
	o.Cluster.Redis.Timeout = conf.Duration(time.Second)
	l := New(o)
	l.fleet.budget = time.Second
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { l.Run(ctx) })
	n := &node{l, sync.OnceFunc(func() { cancel(); run.Wait() })}
	t.Cleanup(n.stop)
	return n
}

// await waits for what the node's goroutine will bring about.
func (n *node) await(t testing.TB, what func() bool) {
	t.Helper()
	end := time.Now().Add(20 * time.Second)
	for !what() {
		if time.Now().After(end) {
			t.Fatalf("does not come to pass: %+v", n.Stats().Cluster)
		}
		time.Sleep(time.Millisecond)
	}
}

// try decides about one request of cost c now.
func (n *node) try(r *Rule, key string, c int64) (bool, Decision) {
	var d Decision
	n.Decide(Now(), []Charge{{Rule: r, Key: n.KeyString(r, key), Cost: c}}, &d)
	return d.Admitted, d
}

// worst is the most admissions in any trailing window.
func worst(at []int64, window time.Duration) (most int) {
	slices.Sort(at)
	first := 0
	for i, t := range at {
		for at[first] <= t-int64(window) {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

func TestNodesShareALimitThroughRedis(t *testing.T) {
	s := redistest.Start(t)
	s.Open("sluice", 1<<16)
	nodes := cluster(t, s, 3)
	const limit, window, windows = 300, time.Second, 4
	r := compile(t, "tenant", per(limit, window))
	var mu sync.Mutex
	var admitted []int64
	var clients sync.WaitGroup
	begin := Now().MonoNS
	for _, n := range nodes {
		for range 2 {
			clients.Go(func() {
				pace := time.NewTicker(4 * time.Millisecond) // 1,500 a second altogether
				defer pace.Stop()
				for Now().MonoNS < begin+int64(windows*window) {
					<-pace.C
					if ok, _ := n.try(r, "acme", 1); ok {
						now := Now().MonoNS
						mu.Lock()
						admitted = append(admitted, now)
						mu.Unlock()
					}
				}
			})
		}
	}
	clients.Wait()
	if most := worst(admitted, window); most > limit {
		t.Errorf("%d admissions in one window, the limit is %d", most, limit)
	}
	share := float64(len(admitted)) / (limit * windows)
	t.Logf("%d admitted, %.1f %% of what an exact log admits; %d takes", len(admitted), 100*share, s.Calls("evalsha"))
	if share < 0.8 {
		t.Errorf("%.2f of the limit was admitted", share)
	}
}

func TestWhatANodeUsesOthersSee(t *testing.T) {
	s := redistest.Start(t)
	s.Open("sluice", 1<<16)
	nodes := cluster(t, s, 2)
	r := compile(t, "tenant", perHour(10))
	admitted := 0
	for i := range 30 {
		if ok, _ := nodes[i%2].try(r, "acme", 1); ok {
			admitted++
		}
	}
	if admitted > 10 || admitted < 9 {
		t.Errorf("%d of 10 admitted", admitted)
	}
	h, err := nodes[0].Holdings(t.Context(), nodes[0].KeyString(r, "acme"))
	var sum int64
	for _, n := range h.Nodes {
		sum += n.Held + n.Used
	}
	if err != nil || h.Authority != "redis" || !h.Known || len(h.Nodes) != 2 || sum > 10 || sum < int64(admitted) {
		t.Errorf("%v %+v", err, h)
	}
	// Others have rights: the refusal does not hold for the whole window.
	_, d := nodes[0].try(r, "acme", 1)
	if d.Admitted || d.RetryAfter <= 0 || d.Remaining != 0 {
		t.Errorf("%+v", d)
	}
}

func TestAnExhaustedKeyAsksNobody(t *testing.T) {
	s := redistest.Start(t)
	s.Open("sluice", 1<<16)
	n := cluster(t, s, 1)[0]
	r := compile(t, "tenant", perHour(100))
	for range 100 {
		if ok, d := n.try(r, "acme", 1); !ok {
			t.Fatalf("%+v", d)
		}
	}
	n.try(r, "acme", 1)
	before := n.Stats().Cluster.Takes
	for range 10000 {
		if ok, _ := n.try(r, "acme", 1); ok {
			t.Fatal("admitted above the limit")
		}
	}
	if after := n.Stats().Cluster.Takes; after != before {
		t.Errorf("%d questions about an exhausted key", after-before)
	}
	if _, d := n.try(r, "acme", 1); d.Zone != Red || d.RetryAfter < 59*time.Minute {
		t.Errorf("%+v", d)
	}
}

// A limit that an operator raises helps at once, not when the window is over that
// the former limit was used up in.
func TestARaisedLimitHoldsAtOnce(t *testing.T) {
	s := redistest.Start(t)
	s.Open("sluice", 1<<16)
	n := cluster(t, s, 1)[0]
	rule := func(limit int64, revision uint64) *Rule {
		t.Helper()
		r, err := CompileRevision("tenant", perHour(limit), revision)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	low := rule(5, 1)
	n.await(t, func() bool { ok, _ := n.try(low, "acme", 1); return !ok })
	if ok, d := n.try(rule(50, 2), "acme", 1); !ok {
		t.Errorf("refused by the raised limit: %+v", d)
	}
}

// What nodes hold by a limit that is lowered is not spent by the new one.
func TestALoweredLimitHoldsOnAllNodesAtOnce(t *testing.T) {
	s := redistest.Start(t)
	s.Open("sluice", 1<<16)
	nodes := cluster(t, s, 3)
	rule := func(limit int64, revision uint64) *Rule {
		t.Helper()
		r, err := CompileRevision("tenant", perHour(limit), revision)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	high, low := rule(10_000, 1), rule(30, 2)
	used := 0
	for _, n := range nodes { // each holds hundreds from here on
		n.await(t, func() bool {
			ok, _ := n.try(high, "acme", 1)
			if ok {
				used++
			}
			return ok
		})
	}
	for i := 0; i < 600; i++ {
		if ok, _ := nodes[i%3].try(low, "acme", 1); ok {
			used++
		}
	}
	if used > 30 {
		t.Errorf("%d were admitted in all, the limit is 30 now", used)
	}
	// Nothing of what was given back is lost.
	nodes[0].await(t, func() bool {
		for _, n := range nodes {
			if ok, _ := n.try(low, "acme", 1); ok {
				used++
			}
		}
		return used >= 30
	})
	if used > 30 {
		t.Errorf("%d were admitted in all, the limit is 30 now", used)
	}
}

func TestRightsSurviveTheEndOfANode(t *testing.T) {
	s := redistest.Start(t)
	s.Open("sluice", 1<<16)
	nodes := cluster(t, s, 2)
	r := compile(t, "tenant", perHour(100))
	for range 10 {
		nodes[0].try(r, "acme", 1)
	}
	nodes[0].stop()
	admitted := 0
	for range 200 {
		if ok, _ := nodes[1].try(r, "acme", 1); ok {
			admitted++
		}
	}
	if admitted != 90 {
		t.Errorf("%d admitted after 10 of 100 were used by a node that has stopped, want 90", admitted)
	}
}

func TestCostsAboveTheHotWord(t *testing.T) {
	s := redistest.Start(t)
	s.Open("sluice", 1<<16)
	n := cluster(t, s, 1)[0]
	r := compile(t, "bytes", perHour(1_000_000))
	for i := range 5 {
		if ok, d := n.try(r, "acme", 200_000); !ok {
			t.Fatalf("%d: %+v", i, d)
		}
	}
	if ok, _ := n.try(r, "acme", 1); ok {
		t.Error("admitted above the limit")
	}
}

func TestALostRedisIsToldWhatWasUsed(t *testing.T) {
	s := redistest.Start(t)
	s.Open("sluice", 1<<16)
	nodes := cluster(t, s, 2)
	r := compile(t, "tenant", perHour(100))
	admitted := 0
	spend := func(n *node, times int) {
		for range times {
			if ok, _ := n.try(r, "acme", 1); ok {
				admitted++
			}
		}
	}
	spend(nodes[0], 30)
	spend(nodes[1], 30)
	s.Flush()
	for _, n := range nodes {
		epoch := n.Stats().Cluster.Epoch
		n.await(t, func() bool { return n.Stats().Cluster.Epoch > 1<<16 && n.Ready() })
		if epoch == 0 {
			t.Fatal("no epoch")
		}
	}
	spend(nodes[0], 100)
	spend(nodes[1], 100)
	if admitted > 100 || admitted < 95 {
		t.Errorf("%d admitted, the limit is 100", admitted)
	}
}

func TestARedisThatHangsDoesNotHoldRequests(t *testing.T) {
	s := redistest.Start(t)
	s.Open("sluice", 1<<16)
	n := cluster(t, s, 1)[0]
	n.fleet.budget = waitBudget
	r := compile(t, "tenant", perHour(1000))
	for range 10 {
		n.try(r, "acme", 1)
	}
	s.Stop()
	defer s.Continue()
	var slow time.Duration
	admitted := 0
	for range 1000 {
		begin := time.Now()
		if ok, _ := n.try(r, "acme", 1); ok {
			admitted++
		}
		slow = max(slow, time.Since(begin))
	}
	if admitted == 0 || admitted >= 990 {
		t.Errorf("%d admitted from rights in hand", admitted)
	}
	if slow > time.Second {
		t.Errorf("a request took %v", slow)
	}
	s.Continue()
	n.await(t, func() bool { ok, _ := n.try(r, "acme", 1); return ok })
}

// BenchmarkDecideHotInACluster is BenchmarkDecideHot with the authority elsewhere.
func BenchmarkDecideHotInACluster(b *testing.B) {
	s := redistest.Start(b)
	s.Open("sluice", 1<<16)
	n := cluster(b, s, 1)[0]
	r := compile(b, "tenant", perHour(MaxRequests))
	charges := []Charge{{Rule: r, Key: n.KeyString(r, "acme"), Cost: 1}}
	var d Decision
	now := Now()
	i := 0
	refused := 0
	b.ReportAllocs()
	for b.Loop() {
		if i++; i%64 == 0 {
			now = Now() // as requests would bring it
		}
		if n.Decide(now, charges, &d); !d.Admitted {
			refused++
		}
	}
	b.ReportMetric(float64(refused)/float64(i), "refused/op")
}

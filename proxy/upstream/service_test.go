package upstream

import (
	"context"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/conf"
)

// compile makes a service that nothing is dialled for.
func compile(t testing.TB, balance string, weights ...int) *Service {
	t.Helper()
	c := conf.Service{Balance: balance}
	for i, w := range weights {
		c.Upstreams = append(c.Upstreams, conf.Upstream{URL: "http://upstream-" + string(rune('a'+i)), Weight: w})
	}
	r := NewRegistry(Options{})
	s, err := r.Service("test", c)
	if err != nil {
		t.Fatal(err)
	}
	r.Use([]*Service{s})
	return s
}

func TestSharesFollowWeights(t *testing.T) {
	weights := []int{1, 2, 5}
	for _, balance := range balanceWords {
		s := compile(t, balance, weights...)
		count := make(map[string]int)
		const picks = 16000
		for range picks {
			e, err := s.Pick(rand.Uint64(), nil)
			if err != nil {
				t.Fatal(err)
			}
			count[e.URL()]++
			e.load.Add(loadBegin) // exchanges without end: what is under way is what was chosen
		}
		for i, m := range s.members {
			want := float64(picks) * float64(weights[i]) / 8
			if got := float64(count[m.URL()]); math.Abs(got-want) > want/8 {
				t.Errorf("%s: weight %d was chosen %v times, want about %v", balance, weights[i], got, want)
			}
		}
	}
}

func TestLeastRequestChoosesTheLeastLoaded(t *testing.T) {
	s := compile(t, "least_request", 1, 1, 4)
	s.members[0].load.Store(3)
	s.members[1].load.Store(2)
	s.members[2].load.Store(11) // 12/4 = 3 a unit of weight, as 3/1
	for range 20 {
		if e, _ := s.Pick(0, nil); e == s.members[0].Endpoint {
			t.Fatal("the most loaded was chosen")
		}
	}
}

func TestHashMovesOnlyWhatItMust(t *testing.T) {
	s := compile(t, "hash", 1, 1, 1, 1)
	gone := s.members[2].Endpoint
	before := make(map[uint64]*Endpoint)
	for i := range uint64(2000) {
		before[i], _ = s.Pick(mix(i), nil)
	}
	gone.state.healthy, gone.state.answered = false, false
	s.rebuild()
	for i, was := range before {
		is, _ := s.Pick(mix(i), nil)
		if is == gone || was != gone && is != was {
			t.Fatalf("%d moved from %s to %s", i, was.URL(), is.URL())
		}
	}
}

func TestTriedEndpointsAreAvoidedWhileThereAreOthers(t *testing.T) {
	for _, balance := range balanceWords {
		s := compile(t, balance, 1, 3, 1)
		for range 50 {
			var tried Tried
			for range s.members {
				e, err := s.Pick(rand.Uint64(), &tried)
				if err != nil || tried.has(e) {
					t.Fatalf("%s: %v %v", balance, e, err)
				}
				tried.Add(e)
			}
			if e, err := s.Pick(1, &tried); e == nil || err != nil {
				t.Fatalf("%s: nothing is left, although nothing is unhealthy: %v", balance, err)
			}
		}
	}
}

func TestRoundRobinIsSmooth(t *testing.T) {
	s := compile(t, "round_robin", 5, 1, 1)
	got := ""
	for range 7 {
		e, _ := s.Pick(0, nil)
		got += e.URL()[len("http://upstream-"):]
	}
	if got+got != "aabacaa"+"aabacaa" && len(got) != 7 {
		t.Errorf("order %q", got)
	}
	longest, run := 0, 0
	for _, c := range got + got {
		if run++; c != 'a' {
			run = 0
		}
		longest = max(longest, run)
	}
	if longest > 5 {
		t.Errorf("order %q: %d times the same", got, longest)
	}
}

func TestSameUpstreamTwiceHasTwiceTheShare(t *testing.T) {
	c := conf.Service{Upstreams: []conf.Upstream{{URL: "http://a"}, {URL: "http://b"}, {URL: "http://a", Weight: 2}}}
	s, err := NewRegistry(Options{}).Service("test", c)
	if err != nil || len(s.members) != 2 || s.members[0].weight != 3 {
		t.Errorf("%v, %v", s.members, err)
	}
}

func TestNoneAvailable(t *testing.T) {
	s := compile(t, "", 1, 1)
	set := func(i int, healthy, answered bool) {
		s.members[i].state.healthy, s.members[i].state.answered = healthy, answered
		s.rebuild()
	}
	set(0, false, true)
	for range 10 {
		if e, _ := s.Pick(0, nil); e != s.members[1].Endpoint {
			t.Fatal("an unhealthy one was chosen although there was another")
		}
	}
	set(1, false, false)
	if e, err := s.Pick(0, nil); e != s.members[0].Endpoint || err != nil || !s.table.Load().panic {
		t.Errorf("got %v, %v: the one that answers at all should be tried", e, err)
	}
	set(0, false, false)
	if e, err := s.Pick(0, nil); err != ErrNoUpstream {
		t.Errorf("got %v, %v", e, err)
	}
}

func TestEjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry(Options{})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()
		defer func() { cancel(); <-ended }()
		c := conf.Service{Eject: &conf.Eject{Errors: 3, For: conf.Duration(10 * time.Second), Max: 0.5}}
		s := use(t, r, c, "http://a", "http://b", "http://c", "http://d")
		state := func(i int) string { return r.Snapshot()[0].Endpoints[i].State }
		fail := func(i, n int) {
			for range n {
				s.members[i].failed(&Error{Kind: Reset})
			}
		}
		fail(0, 2)
		s.members[0].answered(200) // breaks the row
		fail(0, 2)
		s.members[0].failed(&Error{Kind: Canceled}) // nobody's fault
		if state(0) != Healthy {
			t.Error("ejected without enough failures in a row")
		}
		s.members[0].answered(503)
		if state(0) != Ejected {
			t.Error("not ejected after three")
		}
		for range 100 {
			if e, _ := s.Pick(0, nil); e == s.members[0].Endpoint {
				t.Fatal("an ejected endpoint was chosen")
			}
		}
		fail(1, 3)
		fail(2, 30)
		if state(1) != Ejected || state(2) != Healthy {
			t.Errorf("states %s %s: at most half may be out", state(1), state(2))
		}
		time.Sleep(10*time.Second + 2*tick)
		if state(0) != Healthy || state(1) != Healthy {
			t.Error("not readmitted")
		}
		// Out again soon: for twice as long each time, ten times at most.
		for _, want := range []time.Duration{20, 40, 80, 100, 100} {
			fail(0, 3)
			begun := time.Now()
			if got := r.Snapshot()[0].Endpoints[0].EjectedUntil.Sub(begun); got != want*time.Second {
				t.Errorf("out for %v, want %v", got, want*time.Second)
			}
			time.Sleep(want*time.Second + 2*tick)
		}
		time.Sleep(101 * time.Second) // it lasted: from the start
		fail(0, 3)
		if got := time.Until(r.Snapshot()[0].Endpoints[0].EjectedUntil); got != 10*time.Second {
			t.Errorf("out for %v, want 10s", got)
		}
		if n := r.Snapshot()[0].Endpoints[0].Ejections; n != 7 {
			t.Errorf("%d ejections counted, want 7", n)
		}
	})
}

func TestTheLastEndpointIsNeverEjected(t *testing.T) {
	r := NewRegistry(Options{})
	s := use(t, r, conf.Service{Eject: &conf.Eject{Errors: 1}}, "http://a")
	s.members[0].failed(&Error{Kind: Connect})
	if e, err := s.Pick(0, nil); e == nil || err != nil || r.Snapshot()[0].Endpoints[0].State != Healthy {
		t.Errorf("%v, %v", e, err)
	}
}

func TestHealthChecks(t *testing.T) {
	var status, asked atomic.Int64
	status.Store(200)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/base/ok" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		asked.Add(1)
		w.WriteHeader(int(status.Load()))
	})
	r := running(t, Options{})
	c := conf.Service{Health: &conf.Health{Path: "/ok", Interval: conf.Duration(5 * time.Millisecond)}}
	use(t, r, c, url+"/base", "http://127.0.0.1:1")
	state := func(i int) EndpointStatus { return r.Snapshot()[0].Endpoints[i] }
	eventually(t, "the dead one is out", func() bool { return state(1).State == Unhealthy })
	if s := state(0); s.State != Healthy {
		t.Errorf("state %+v", s)
	}
	status.Store(500)
	eventually(t, "the bad one is out", func() bool { return state(0).State == Unhealthy })
	if !r.Snapshot()[0].Panic {
		t.Error("none is available, and it does not show")
	}
	if s := state(0); s.LastError != "health check: status 500" || s.Exchanges != 0 || s.Failures != 0 {
		t.Errorf("state %+v", s)
	}
	status.Store(302)
	eventually(t, "it is back", func() bool { return state(0).State == Healthy })

	use(t, r, conf.Service{}, url+"/base", "http://127.0.0.1:1") // no checks any more
	if state(0).State != Healthy || state(1).State != Healthy {
		t.Error("what checks said outlives them")
	}
	n := asked.Load()
	eventually(t, "the last check ends", func() bool { old := n; n = asked.Load(); return n == old })
}

func TestHealthCheckOfHTTP2(t *testing.T) {
	var asked atomic.Int64
	url := h2cServer(t, func(w http.ResponseWriter, r *http.Request) { asked.Add(1) })
	r := running(t, Options{})
	use(t, r, conf.Service{Protocol: "h2c", Health: &conf.Health{Interval: conf.Duration(5 * time.Millisecond)}}, url)
	eventually(t, "it was asked", func() bool { return asked.Load() > 2 })
	if s := r.Snapshot()[0].Endpoints[0]; s.State != Healthy {
		t.Errorf("%+v", s)
	}
}

func TestBudget(t *testing.T) {
	var b Budget
	b.set(0.2)
	now := time.Unix(1_700_000_000, 0)
	take := func(now time.Time) (n int) {
		for b.Take(now) {
			n++
		}
		return n
	}
	if n := take(now); n != budgetFloor {
		t.Errorf("%d retries of no requests, want %d", n, budgetFloor)
	}
	for i := range 1000 {
		b.Count(now.Add(time.Duration(i) * 5 * time.Millisecond)) // over five seconds
	}
	now = now.Add(5 * time.Second)
	if n := take(now); n != 200-budgetFloor {
		t.Errorf("%d more retries, want %d", n, 200-budgetFloor)
	}
	// At +12 the requests of the first two seconds and the first retries have left the window.
	if n := take(now.Add(7 * time.Second)); n != 0 {
		t.Errorf("%d retries while those at +5 are in the window, want 0", n)
	}
	if n := take(now.Add(20 * time.Second)); n != budgetFloor {
		t.Errorf("%d retries after the window, want %d", n, budgetFloor)
	}
}

func TestDialFailures(t *testing.T) {
	hang := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	e, err := use(t, running(t, Options{Dial: hang}), conf.Service{}, "http://a").Pick(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	out := get("/")
	out.Timeouts.Connect = 10 * time.Millisecond
	if err := e.Do(context.Background(), out, new(Response)); kindOf(err) != ConnectTimeout {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := e.Do(ctx, get("/"), new(Response)); kindOf(err) != Canceled {
		t.Errorf("got %v", err)
	}
	quiet(t, e)
	if s := e.status(1); s.Failures != 1 || s.LastError == "" {
		t.Errorf("%+v", s)
	}
}

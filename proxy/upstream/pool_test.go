package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/conf"
)

func TestConnectionsAreLimitedAndWaitedFor(t *testing.T) {
	const most, workers, each = 3, 16, 50
	var open, peak atomic.Int64
	url := script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		n := open.Add(1)
		defer open.Add(-1)
		for old := peak.Load(); n > old && !peak.CompareAndSwap(old, n); old = peak.Load() {
		}
		for i := 0; readRequest(r) != nil; i++ {
			answer := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
			if i%7 == 6 { // permits to dial are handed on, too
				answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
			}
			io.WriteString(c, answer)
		}
	})
	e, err := use(t, running(t, Options{}), conf.Service{MaxConns: most, MaxIdle: 2}, url).Pick(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			var in Response
			for range each {
				out := get("/")
				out.Timeouts.Connect = 10 * time.Second
				if _, err := exchange(e, out, &in); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	quiet(t, e)
	if n := e.pool.open.Load(); n > 2 {
		t.Errorf("%d idle connections, want at most 2", n)
	}
	// The server may still be closing one when the next is accepted.
	if n := peak.Load(); n > 2*most {
		t.Errorf("%d connections at once, want about %d", n, most)
	}
	if n := e.pool.waiting.Load(); n != 0 {
		t.Errorf("%d still wait", n)
	}
}

func TestWaitingForAConnectionHasAnEnd(t *testing.T) {
	release := make(chan struct{})
	url := serve(t, func(w http.ResponseWriter, r *http.Request) { <-release })
	e, err := use(t, running(t, Options{}), conf.Service{MaxConns: 1}, url).Pick(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan error)
	go func() { _, err := exchange(e, get("/"), new(Response)); first <- err }()
	eventually(t, "the only connection is busy", func() bool { return e.pool.open.Load() == 1 })

	out := get("/")
	out.Timeouts.Connect = 20 * time.Millisecond
	var f *Error
	if err := e.Do(context.Background(), out, new(Response)); !errors.As(err, &f) || f.Kind != Exhausted || f.Sent {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := e.Do(ctx, get("/"), new(Response)); kindOf(err) != Canceled {
		t.Errorf("got %v", err)
	}
	second := make(chan error)
	go func() { _, err := exchange(e, get("/"), new(Response)); second <- err }()
	eventually(t, "somebody waits", func() bool { return e.pool.waiting.Load() == 1 })
	e.pool.waiting.Add(mostWaiting - 1)
	patient := get("/")
	patient.Timeouts.Connect = time.Hour
	if err := e.Do(context.Background(), patient, new(Response)); kindOf(err) != Exhausted {
		t.Errorf("the queue has no end: %v", err)
	}
	e.pool.waiting.Add(1 - mostWaiting)
	close(release)
	if err := errors.Join(<-first, <-second); err != nil {
		t.Error(err)
	}
	quiet(t, e)
	if n := e.status(1).Failures; n != 0 {
		t.Errorf("%d failures counted against the upstream", n)
	}
}

// Shares of the idle connections add up to the limit, whatever the number of shards.
func TestIdleLimitIsExact(t *testing.T) {
	for _, shards := range []int{1, 2, 8} {
		for _, most := range []int{1, 3, 8, 13} {
			p := newPool(new(atomic.Int64), time.Hour)
			p.shards = make([]shard, shards)
			p.limit(1000, most)
			for range 100 {
				near, far := net.Pipe()
				defer far.Close()
				p.permit()
				c := newConn(p, near, near)
				p.add(c)
				p.put(c)
			}
			if n := p.idle(); n != most || p.open.Load() != int64(most) {
				t.Errorf("%d shards: %d idle and %d open, want %d", shards, n, p.open.Load(), most)
			}
			p.retire()
			if p.open.Load() != 0 || len(p.all) != 0 {
				t.Errorf("%d open after the end", p.open.Load())
			}
		}
	}
}

func TestRetiredEndpointClosesItsConnections(t *testing.T) {
	release := make(chan struct{})
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
	})
	r := running(t, Options{})
	s := use(t, r, conf.Service{}, url)
	e, _ := s.Pick(0, nil)
	slow := make(chan error)
	go func() { _, err := exchange(e, get("/slow"), new(Response)); slow <- err }()
	eventually(t, "one is under way", func() bool { return e.pool.open.Load() == 1 })
	fetch(t, e, get("/"))

	again := use(t, r, conf.Service{MaxConns: 7}, url)
	if e2, _ := again.Pick(0, nil); e2 != e {
		t.Error("the same upstream was made anew")
	}
	if again.Budget() != s.Budget() {
		t.Error("the retry budget was made anew")
	}
	if e.pool.idle() != 1 || e.pool.maxConns.Load() != 7 {
		t.Error("the pool did not live on, or did not follow")
	}
	other := use(t, r, conf.Service{}, "http://127.0.0.1:1")
	if e3, _ := other.Pick(0, nil); e3 == e {
		t.Error("the new one is the old one")
	}
	if n := e.pool.idle(); n != 0 {
		t.Errorf("%d idle connections of a retired endpoint", n)
	}
	close(release)
	if err := <-slow; err != nil {
		t.Errorf("what was under way failed: %v", err)
	}
	fetch(t, e, get("/")) // a request with the old snapshot
	eventually(t, "all connections closed", func() bool { return e.pool.open.Load() == 0 })
	eventually(t, "the registry forgets it", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.watched) == 1
	})
}

func TestUnusedServiceLeavesNoTrace(t *testing.T) {
	r := NewRegistry(Options{})
	for _, url := range []string{"http://a", "ftp://a", "http://", "http://a?q", "http://u:p@a", "http://a/%zz"} {
		r.Service("s", conf.Service{Upstreams: []conf.Upstream{{URL: url}}})
	}
	if _, err := r.Service("s", conf.Service{}); err == nil {
		t.Error("a service without upstreams was accepted")
	}
	if _, err := r.Service("s", conf.Service{Upstreams: []conf.Upstream{{URL: "http://a"}}, Balance: "fair"}); err == nil {
		t.Error("an unknown balance was accepted")
	}
	if len(r.used)+len(r.groups)+len(r.watched)+len(r.checks) != 0 {
		t.Errorf("the registry remembers: %+v", r)
	}
}

func TestExchangesAllocateNextToNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops items at random under the race detector")
	}
	e := endpointOf(t, respond(t, 0, response(1000)))
	var out Request
	var in Response
	header := clientHeader()
	n := testing.AllocsPerRun(500, func() {
		out.Method, out.Target, out.Header = "GET", "/", header
		if err := e.Do(context.Background(), &out, &in); err != nil {
			t.Fatal(err)
		}
		in.WriteTo(io.Discard)
		in.Close()
		out.Release()
	})
	if n > 1.5 { // the string that the response head is copied into
		t.Errorf("%v allocations an exchange, want 1", n)
	}
}

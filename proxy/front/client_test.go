package front

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Many clients at once, each asking for what only its own answer can be: what
// is pooled must never show up in another's.
func TestManyClientsGetTheirOwnAnswers(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		r := e.run(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id := r.Header.Get("X-Id")
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			if id != r.URL.Query().Get("id") || !bytes.Equal(body, bytes.Repeat([]byte(id), len(body)/len(id))) {
				t.Errorf("request %s %s with a body of %.20q", r.URL, id, body)
			}
			w.Header().Set("X-Id", id)
			n, _ := strconv.Atoi(r.Header.Get("X-Size"))
			if n%3 == 0 {
				w.Header().Set("Content-Length", strconv.Itoa(n*len(id)))
			}
			for range n {
				_, _ = io.WriteString(w, id)
			}
			if n%5 == 0 {
				w.Header().Set(http.TrailerPrefix+"X-Late", id)
			}
		}), options{})
		transport := &http.Transport{MaxIdleConnsPerHost: 8}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		requests := 300
		if raceEnabled {
			requests = 60
		}
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(worker), 1))
				for i := range requests {
					id := fmt.Sprintf("%d-%d;", worker, i)
					up, down := sizes[rng.IntN(len(sizes))], sizes[rng.IntN(len(sizes))]
					var body io.Reader = strings.NewReader(strings.Repeat(id, up))
					if rng.IntN(2) == 0 {
						body = io.MultiReader(body) // of unknown length: chunked
					}
					req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.addr+"/?id="+url.QueryEscape(id), body)
					if err != nil {
						t.Error(err)
						return
					}
					req.Header.Set("X-Id", id)
					req.Header.Set("X-Size", strconv.Itoa(down))
					resp, err := client.Do(req)
					if err != nil {
						t.Error(err)
						return
					}
					got, err := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if err != nil || string(got) != strings.Repeat(id, down) || resp.Header.Get("X-Id") != id {
						t.Errorf("asked for %d times %s: got %d bytes, %.20q, %v, id %s", down, id, len(got), got, err, resp.Header.Get("X-Id"))
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

var sizes = []int{0, 1, 10, 100, 500, 820, 1000, 3000, 10_000}

// net/http's proxy keeps requests, bodies and contexts in other goroutines.
func TestReverseProxyBehindFront(t *testing.T) {
	backend := runNetHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/early" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	}), options{})
	target, _ := url.Parse("http://" + backend.addr)
	upstream := &http.Transport{MaxIdleConnsPerHost: 4}
	defer upstream.CloseIdleConnections()
	proxy := &httputil.ReverseProxy{Transport: upstream, Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }}
	r := runFront(t, proxy, options{})
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for i := range 50 {
		path, want := "/", 200
		if i%5 == 4 {
			path, want = "/early", 403
		}
		body := strings.Repeat("x", 1000*i)
		resp, err := (&http.Client{Transport: transport}).Post("http://"+r.addr+path, "text/plain", strings.NewReader(body))
		if err != nil {
			if want == 403 {
				continue // refused early, the client may find the connection closed
			}
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != want || want == 200 && string(got) != body {
			t.Errorf("%d: status %d, %d bytes, %v", i, resp.StatusCode, len(got), err)
		}
	}
}

func TestThousandWebSockets(t *testing.T) {
	sockets := 1000
	if raceEnabled {
		sockets = 100
	}
	r := runFront(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.CloseNow() }()
		for {
			kind, message, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if err := c.Write(r.Context(), kind, message); err != nil {
				return
			}
		}
	}), options{})
	open := make([]*websocket.Conn, sockets)
	for i := range open {
		c, _, err := websocket.Dial(t.Context(), "ws://"+r.addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		open[i] = c
	}
	// The last one's 101 may be here before its handler has the connection.
	for s := r.server.Stats(); s.Connections != 0; s = r.server.Stats() {
		if t.Context().Err() != nil {
			t.Fatalf("hijacked connections are counted: %+v", s)
		}
		runtime.Gosched()
	}
	for round := range 2 {
		for i, c := range open {
			if err := c.Write(t.Context(), websocket.MessageText, fmt.Appendf(nil, "%d %d", round, i)); err != nil {
				t.Fatal(err)
			}
		}
		for i, c := range open {
			_, got, err := c.Read(t.Context())
			if err != nil || string(got) != fmt.Sprintf("%d %d", round, i) {
				t.Fatalf("socket %d: %q, %v", i, got, err)
			}
		}
	}
	for _, c := range open {
		_ = c.CloseNow()
	}
}

// Events reach the client when they are flushed, not when a buffer is full.
func TestFlushedEventsArriveAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, e engine) {
		next := make(chan string)
		r := e.run(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for event := range next {
				_, _ = io.WriteString(w, event)
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Error(err)
				}
			}
		}), options{})
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
		go func() { next <- "data: first\n\n" }()
		resp, err := client.Get("http://" + r.addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		buf := make([]byte, 100)
		for i, event := range []string{"data: first\n\n", "data: second\n\n", "data: third\n\n"} {
			if i > 0 {
				next <- event
			}
			if n, err := io.ReadFull(resp.Body, buf[:len(event)]); err != nil || string(buf[:n]) != event {
				t.Fatalf("got %q, %v", buf[:n], err)
			}
		}
		close(next)
	})
}

package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
)

// refusing returns an address at which nobody listens.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// counting serves handler and counts the requests.
func counting(t *testing.T, handler http.HandlerFunc) (url string, n *atomic.Int64) {
	t.Helper()
	n = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, n
}

// hangUp takes the request and breaks the connection.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func forwardRig(t *testing.T, service string) *rig {
	t.Helper()
	return newRig(t, http.HandlerFunc(seen), "  other: "+service+"\nroutes:\n  - {path: /*, service: other, auth: none, cost: 0}\n")
}

func TestRefusedConnectionsAreTriedElsewhere(t *testing.T) {
	up, n := counting(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	g := forwardRig(t, fmt.Sprintf("{upstreams: [%q, %q], balance: round_robin, retry: {budget: 100%%}}", refusing(t), up))
	for i := range 10 {
		if a := g.do("POST", "/x", strings.NewReader("body")); a.StatusCode != 200 || a.body != "body" {
			t.Fatalf("request %d: %d %s", i, a.StatusCode, a.body)
		}
	}
	if n.Load() != 10 {
		t.Errorf("the living upstream saw %d requests", n.Load())
	}
}

func TestOnlyIdempotentRequestsAreRepeatedOnceSent(t *testing.T) {
	up, n := counting(t, hangUp)
	g := forwardRig(t, fmt.Sprintf("{upstreams: [%q], retry: {attempts: 3, budget: 100%%}}", up))
	for method, want := range map[string]int64{"GET": 3, "POST": 1} {
		n.Store(0)
		a := g.do(method, "/x", nil)
		if a.StatusCode != 502 || !strings.HasSuffix(a.problem(t).Type, "/upstream-reset") {
			t.Errorf("%s: %d %s", method, a.StatusCode, a.body)
		}
		if n.Load() != want {
			t.Errorf("%s was sent %d times, want %d", method, n.Load(), want)
		}
	}
}

func TestStatusesAreRetriedWhereTheServiceSaysSo(t *testing.T) {
	sick, sickN := counting(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "sick", http.StatusServiceUnavailable) })
	well, wellN := counting(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "well") })
	g := forwardRig(t, fmt.Sprintf("{upstreams: [%q, %q], balance: round_robin, retry: {on: [503], budget: 100%%}}", sick, well))
	for range 6 {
		if a := g.get("/x"); a.StatusCode != 200 || a.body != "well" {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
	}
	if sickN.Load() == 0 || wellN.Load() != 6 {
		t.Errorf("sick saw %d, well saw %d", sickN.Load(), wellN.Load())
	}
}

func TestRetriesStayWithinTheBudget(t *testing.T) {
	up, n := counting(t, hangUp)
	g := forwardRig(t, fmt.Sprintf("{upstreams: [%q], retry: {attempts: 2, budget: 10%%}}", up))
	const requests = 400
	for range requests {
		g.get("/x")
	}
	if tries := n.Load(); tries < requests || tries > requests*5/4 {
		t.Errorf("%d tries for %d requests under a budget of 10 %%", tries, requests)
	}
}

func TestNoUpstreamIsSaidApart(t *testing.T) {
	g := forwardRig(t, fmt.Sprintf("{upstreams: [%q], retry: {attempts: 1}}", refusing(t)))
	if a := g.get("/x"); a.StatusCode != 502 || !strings.HasSuffix(a.problem(t).Type, "/connect-failed") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if line := g.lines()[0]; line["origin"] != "connect-failed" || !strings.Contains(fmt.Sprint(line["error"]), "refused") {
		t.Errorf("line %v", line)
	}
}

func TestInterimResponsesAndTrailersPass(t *testing.T) {
	up, _ := counting(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "X-Checksum")
		io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set("X-Checksum", "abc")
		w.Header().Set(http.TrailerPrefix+"X-Late", "yes")
	})
	g := forwardRig(t, fmt.Sprintf("{upstreams: [%q]}", up))
	hints := ""
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = fmt.Sprint(code, h.Get("Link"))
		return nil
	}}
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", g.server.URL+"/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "body" || hints != "103</style.css>; rel=preload" {
		t.Errorf("%q, %v, hints %q", body, err, hints)
	}
	if resp.Trailer.Get("X-Checksum") != "abc" || resp.Trailer.Get("X-Late") != "yes" {
		t.Errorf("trailer %v", resp.Trailer)
	}
}

func TestAnswersWithoutBodies(t *testing.T) {
	up, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/204" {
			w.WriteHeader(204)
			return
		}
		w.Header().Set("Content-Length", "5")
		if r.Method != http.MethodHead {
			io.WriteString(w, "hello")
		}
	})
	g := forwardRig(t, fmt.Sprintf("{upstreams: [%q]}", up))
	for range 2 { // on one connection: nothing may be left over
		if a := g.do("HEAD", "/x", nil); a.StatusCode != 200 || a.ContentLength != 5 || a.body != "" {
			t.Errorf("HEAD: %d, length %d, %q", a.StatusCode, a.ContentLength, a.body)
		}
		if a := g.get("/204"); a.StatusCode != 204 || a.body != "" {
			t.Errorf("204: %d %q", a.StatusCode, a.body)
		}
		if a := g.get("/x"); a.body != "hello" {
			t.Errorf("GET: %d %q", a.StatusCode, a.body)
		}
	}
}

func TestPanicEndsOneRequest(t *testing.T) {
	g := newRig(t, http.HandlerFunc(seen), apiRoutes)
	broken := *g.live.Load()
	broken.routes = append([]*route(nil), broken.routes...)
	one := *broken.routes[0]
	one.service, one.auth = nil, authNone // what compile would never make
	broken.routes[0] = &one
	g.live.Store(&broken)
	if a := g.get("/api/x"); a.StatusCode != 500 || !strings.HasSuffix(a.problem(t).Type, "/internal") || strings.Contains(a.body, "nil") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := g.get("/public/x"); a.StatusCode != 200 {
		t.Errorf("the next request: %d", a.StatusCode)
	}
	if lines := g.lines(); len(lines) != 2 || !strings.Contains(fmt.Sprint(lines[0]["error"]), "panic") {
		t.Errorf("lines %v", lines)
	}
}

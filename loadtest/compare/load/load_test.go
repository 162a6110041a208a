package load

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	var sorted []time.Duration
	for i := range 200 {
		sorted = append(sorted, time.Duration(i+1))
	}
	for _, c := range []struct {
		p    float64
		want time.Duration
	}{{0, 1}, {0.5, 100}, {0.99, 198}, {0.991, 199}, {1, 200}} {
		if got := percentile(sorted, c.p); got != c.want {
			t.Errorf("percentile %v = %d, want %d", c.p, got, c.want)
		}
	}
	if got := percentile(nil, 0.5); got != 0 {
		t.Errorf("percentile of nothing = %v", got)
	}
}

func TestParseWrk(t *testing.T) {
	out := "Running 1s test @ http://127.0.0.1:1/\n  Requests/sec: 12\n\n" +
		`{"requests":1500,"micros":1002000,"errors":3,"p50":410,"p99":2200}` + "\n"
	got, err := parseWrk([]byte(out))
	want := Result{Requests: 1500, Errors: 3, Elapsed: 1002 * time.Millisecond, P50: 410 * time.Microsecond, P99: 2200 * time.Microsecond}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "unable to connect to 127.0.0.1:1", "{}"} {
		if r, err := parseWrk([]byte(bad)); err == nil {
			t.Errorf("parseWrk(%q) = %+v, want an error", bad, r)
		}
	}
}

func TestWholeSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Second: "1s", 1001 * time.Millisecond: "2s", 3 * time.Second: "3s"} {
		if got := wholeSeconds(d); got != want {
			t.Errorf("wholeSeconds(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestParseHead(t *testing.T) {
	whole := "HTTP/1.1 204 No Content\r\nX-Content-Length: 9\r\ncontent-length: 12 \r\nA: b\r\n\r\n"
	for i := range len(whole) {
		if _, size, err := parseHead([]byte(whole[:i])); size != 0 || err != nil {
			t.Fatalf("first %d bytes: size %d, %v; want more asked for", i, size, err)
		}
	}
	h, size, err := parseHead([]byte(whole + "body"))
	if want := (head{204, 12}); h != want || size != len(whole) || err != nil {
		t.Errorf("got %+v, %d, %v; want %+v, %d", h, size, err, want, len(whole))
	}
	for _, bad := range []string{
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
		"HTTP/1.1 2\r\n\r\n",
		"HTTP/1.1 abc\r\nContent-Length: 1\r\n\r\n",
		"RTSP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
		"\r\n\r\n",
	} {
		if h, size, err := parseHead([]byte(bad)); err == nil {
			t.Errorf("parseHead(%q) = %+v, %d; want an error", bad, h, size)
		}
	}
}

func FuzzParseHead(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, size, err := parseHead(data)
		if size > len(data) || (err == nil && size > 0 && h.length < 0) {
			t.Errorf("parseHead(%q) = %+v, %d, %v", data, h, size, err)
		}
	})
}

func target(t *testing.T, h http.Handler) Target {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return Target{Address: strings.TrimPrefix(s.URL, "http://"), Path: "/json", Tokens: []string{"one", "two"}, Conns: 4}
}

func TestRateSendsEvenlyWithTokensInTurn(t *testing.T) {
	var ones, twos atomic.Int64
	to := target(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Authorization") {
		case "Bearer one":
			ones.Add(1)
		case "Bearer two":
			twos.Add(1)
		}
		fmt.Fprint(w, strings.Repeat("x", 1000))
	}))
	res, err := Rate(context.Background(), to, 500, 400*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if res.Requests != 200 || res.Errors != 0 || ones.Load() != 100 || twos.Load() != 100 {
		t.Errorf("%+v, tokens %d and %d; want 200 answered, 100 each", res, ones.Load(), twos.Load())
	}
	if res.P50 <= 0 || res.P99 < res.P50 {
		t.Errorf("p50 %v, p99 %v", res.P50, res.P99)
	}
}

func TestRateCountsRefusalsAndClosedConnections(t *testing.T) {
	var n atomic.Int64
	to := target(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) % 4 {
		case 1:
			w.WriteHeader(http.StatusTooManyRequests)
			w.(http.Flusher).Flush() // chunked: not understood
		case 2:
			http.Error(w, "no", http.StatusTooManyRequests)
		case 3:
			panic(http.ErrAbortHandler)
		default:
			fmt.Fprint(w, "ok")
		}
	}))
	res, err := Rate(context.Background(), to, 400, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if res.Requests != 10 || res.Errors < 30 {
		t.Errorf("%+v, want 10 answered and at least 30 errors", res)
	}
}

// A server that stands still must show in the latency of every request that was
// due meanwhile, not only of those few that had been sent.
func TestRateChargesAStallToAllRequestsDue(t *testing.T) {
	const stall = 300 * time.Millisecond
	var once atomic.Bool
	var until atomic.Int64
	begin := time.Now()
	to := target(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if once.CompareAndSwap(false, true) {
			until.Store(int64(time.Since(begin) + stall))
		}
		time.Sleep(time.Duration(until.Load()) - time.Since(begin))
		fmt.Fprint(w, "ok")
	}))
	res, err := Rate(context.Background(), to, 200, 400*time.Millisecond) // 80 requests, 60 of them due in the stall
	if err != nil {
		t.Fatal(err)
	}
	if res.Requests != 80 || res.P50 < 50*time.Millisecond {
		t.Errorf("%+v, want 80 answered and a median latency of about 100ms", res)
	}
}

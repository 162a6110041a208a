//go:build integration

package test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sluice/internal/testkit"
)

// bigBytes is what an upload or download has, and pace the pause after each of its
// hundred pieces.
const (
	bigBytes = 50 << 20
	pace     = 5 * time.Millisecond
)

// everything is an upstream with what traffic can be: small answers, uploads,
// downloads, event streams and WebSockets.
func everything(t *testing.T) *httptest.Server {
	chunk := make([]byte, 512<<10)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ws":
			ws, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			defer ws.CloseNow()
			for {
				kind, text, err := ws.Read(context.Background())
				if err != nil || ws.Write(context.Background(), kind, text) != nil {
					return
				}
			}
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for i := 0; ; i++ {
				fmt.Fprintf(w, "id: %d\ndata: tick\n\n", i)
				if http.NewResponseController(w).Flush() != nil {
					return
				}
				select {
				case <-tick.C:
				case <-r.Context().Done():
					return
				}
			}
		case "/upload":
			n, err := io.Copy(io.Discard, r.Body)
			if err != nil {
				return
			}
			fmt.Fprint(w, n)
		case "/download":
			w.Header().Set("Content-Length", strconv.Itoa(bigBytes))
			for left := bigBytes; left > 0; left -= min(left, len(chunk)) {
				if _, err := w.Write(chunk[:min(left, len(chunk))]); err != nil {
					return
				}
				time.Sleep(pace) // so that it lasts for more than a moment
			}
		default:
			io.WriteString(w, "ok")
		}
	}))
	t.Cleanup(func() {
		up.CloseClientConnections()
		up.Close()
	})
	return up
}

// strict is a client that does what HTTP asks of one and no more: it keeps its
// connection, ends it when told so, and never sends anything again. Every error is
// the gateway's.
type strict struct {
	addr string
	tls  bool
	conn net.Conn
	r    *bufio.Reader
}

func (c *strict) do(method, path string, header string, body io.Reader, length int64) (*http.Response, []byte, error) {
	if c.conn == nil {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			return nil, nil, err
		}
		if c.tls {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a certificate made for this test
		}
		c.conn, c.r = conn, bufio.NewReader(conn)
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: gateway.example\r\n%s", method, path, header)
	if body != nil {
		head += fmt.Sprintf("Content-Length: %d\r\n", length)
	}
	if _, err := io.WriteString(c.conn, head+"\r\n"); err != nil {
		return nil, nil, err
	}
	if body != nil {
		if _, err := io.Copy(struct{ io.Writer }{c.conn}, body); err != nil {
			return nil, nil, err
		}
	}
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.Close {
		c.close()
	}
	return resp, text, err
}

func (c *strict) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// paced gives so many bytes as slowly as the download comes.
type paced struct{ left, sincePause int }

func (p *paced) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	if p.sincePause >= bigBytes/100 {
		p.sincePause = 0
		time.Sleep(pace)
	}
	n := min(len(b), p.left)
	p.left -= n
	p.sincePause += n
	return n, nil
}

// load is what clients did meanwhile.
type load struct {
	t    *testing.T
	addr string
	stop atomic.Bool
	wg   sync.WaitGroup

	requests, bytes, sockets, events atomic.Int64

	mu        sync.Mutex
	latencies []latency
}

type latency struct {
	at   time.Time
	took time.Duration
}

// startLoad saturates the gateway with every kind of traffic; secure is its listener
// with TLS, other the one that is served by net/http.
func startLoad(t *testing.T, g *testkit.Gateway, secure, other string) *load {
	l := &load{t: t, addr: strings.TrimPrefix(g.URL, "http://")}
	for range 6 {
		l.wg.Go(func() { l.small(strict{addr: l.addr}, 0) })
	}
	l.wg.Go(func() { l.small(strict{addr: secure, tls: true}, 0) })
	l.wg.Go(func() { l.small(strict{addr: other}, 0) })
	for range 10 { // those that are idle when they are told to go
		l.wg.Go(func() { l.small(strict{addr: l.addr}, 400*time.Millisecond) })
		l.wg.Go(func() { l.small(strict{addr: secure, tls: true}, 400*time.Millisecond) })
		l.wg.Go(func() { l.small(strict{addr: other}, 400*time.Millisecond) })
	}
	l.wg.Go(func() {
		l.big("POST", "/upload", func() io.Reader { return &paced{left: bigBytes} })
	})
	l.wg.Go(func() { l.big("GET", "/download", func() io.Reader { return nil }) })
	for range 5 {
		l.wg.Go(l.socket)
		l.wg.Go(l.stream)
	}
	l.wg.Go(l.http2)
	return l
}

// small sends requests that may not be repeated, one after the other.
func (l *load) small(c strict, pause time.Duration) {
	defer c.close()
	var own []latency
	for !l.stop.Load() {
		began := time.Now()
		resp, text, err := c.do("POST", "/x", "", strings.NewReader("hello"), 5)
		if err != nil || resp.StatusCode != 200 || string(text) != "ok" {
			l.t.Errorf("request: %v %v %q", err, resp, text)
			return
		}
		own = append(own, latency{began, time.Since(began)})
		l.requests.Add(1)
		time.Sleep(pause)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latencies = append(l.latencies, own...)
}

func (l *load) big(method, path string, body func() io.Reader) {
	c := strict{addr: l.addr}
	defer c.close()
	for !l.stop.Load() {
		resp, text, err := c.do(method, path, "", body(), bigBytes)
		want := bigBytes
		if method == "POST" {
			want = len(strconv.Itoa(bigBytes))
		}
		if err != nil || resp.StatusCode != 200 || len(text) != want {
			l.t.Errorf("%s: %v, %d bytes", path, err, len(text))
			return
		}
		l.bytes.Add(bigBytes)
	}
}

// http2 sends several requests at once over HTTP/2. Its client does as GOAWAY says.
func (l *load) http2() {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !l.stop.Load() {
				r, err := http.NewRequest("GET", "http://"+l.addr+"/x", nil)
				if err != nil {
					l.t.Error(err)
					return
				}
				resp, err := transport.RoundTrip(r)
				if err != nil || resp.ProtoMajor != 2 || resp.StatusCode != 200 {
					l.t.Errorf("over HTTP/2: %v %v", err, resp)
					return
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					l.t.Errorf("over HTTP/2: %v", err)
				}
				resp.Body.Close()
				l.requests.Add(1)
			}
		})
	}
	wg.Wait()
}

// socket echoes on a WebSocket; it is opened again when it is closed with 1001,
// and any other end is a failure.
func (l *load) socket() {
	for !l.stop.Load() {
		ws, _, err := websocket.Dial(context.Background(), "ws://"+l.addr+"/ws", nil)
		if err != nil {
			l.t.Errorf("open WebSocket: %v", err)
			return
		}
		for err == nil && !l.stop.Load() {
			var text []byte
			if err = ws.Write(context.Background(), websocket.MessageText, []byte("hi")); err == nil {
				_, text, err = ws.Read(context.Background())
			}
			if err == nil && string(text) != "hi" {
				err = fmt.Errorf("echo %q", text)
			}
			time.Sleep(5 * time.Millisecond)
		}
		if err != nil && websocket.CloseStatus(err) != websocket.StatusGoingAway {
			// A write may meet the closing connection; what was said is still to be read.
			if _, _, rerr := ws.Read(context.Background()); websocket.CloseStatus(rerr) != websocket.StatusGoingAway {
				l.t.Errorf("WebSocket: %v, then %v", err, rerr)
			}
		}
		ws.CloseNow()
		l.sockets.Add(1)
	}
}

// stream reads events; the stream must end as if the service had ended it.
func (l *load) stream() {
	transport := &http.Transport{DisableKeepAlives: true}
	for !l.stop.Load() {
		ctx, cancel := context.WithCancel(context.Background())
		r, err := http.NewRequestWithContext(ctx, "GET", "http://"+l.addr+"/events", nil)
		if err != nil {
			l.t.Error(err)
		}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			cancel()
			l.t.Errorf("open event stream: %v", err)
			return
		}
		lines := bufio.NewScanner(resp.Body)
		for !l.stop.Load() && lines.Scan() {
			l.events.Add(1)
		}
		if err := lines.Err(); err != nil {
			l.t.Errorf("event stream: %v", err)
		}
		resp.Body.Close()
		cancel()
	}
}

func (l *load) end() {
	l.stop.Store(true)
	l.wg.Wait()
}

// p99 of the requests that began in the second from at on.
func (l *load) p99(at time.Time) time.Duration {
	var took []time.Duration
	for _, one := range l.latencies {
		if d := one.at.Sub(at); d >= 0 && d < time.Second {
			took = append(took, one.took)
		}
	}
	if len(took) == 0 {
		return 0
	}
	return percentile(took, 0.99)
}

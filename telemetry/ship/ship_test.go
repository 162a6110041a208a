package ship

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func line(i int) string {
	return fmt.Sprintf(`{"time":"2026-11-25T20:00:00.%03dZ","request_id":"r-%d","tenant":"acme","status":%d,"path":"/a \"b\" \\u00e9","duration_ms":1.5}`, i%1000, i, 200+i%3*150)
}

func someLines(from, to int) []byte {
	var b bytes.Buffer
	for i := from; i < to; i++ {
		b.WriteString(line(i) + "\n")
	}
	return b.Bytes()
}

// receiver is what a log server is: it takes requests, and can hang or refuse.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	bodies [][]byte
	last   http.Header
	path   string
	status int           // when not 0
	answer string        // body of the answer
	hang   chan struct{} // requests wait for its end
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		r.mu.Lock()
		hang := r.hang
		r.mu.Unlock()
		if hang != nil {
			select {
			case <-hang:
			case <-q.Context().Done():
			}
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.status != 0 {
			http.Error(w, "no", r.status)
			return
		}
		if err == nil {
			r.bodies, r.last, r.path = append(r.bodies, body), q.Header.Clone(), q.URL.Path
		}
		io.WriteString(w, r.answer)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Join(r.bodies, nil)
}

func (r *receiver) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func start(t *testing.T, o Options) (out *Output, stop func()) {
	t.Helper()
	out, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- out.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return out, stop
}

// eventually waits for ok, which something else makes true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

func TestJSONLinesArriveAsTheyAre(t *testing.T) {
	r := newReceiver(t)
	out, stop := start(t, Options{Name: "v", Protocol: NewJSON(HTTPOptions{URL: r.URL + "/insert", Token: "tok", Headers: map[string]string{"X-Scope-OrgID": "a"}})})
	want := someLines(0, 5000)
	for i := 0; i < 5000; i += 100 {
		out.Offer(someLines(i, i+100))
	}
	stop() // what is left is delivered on the way out
	if !bytes.Equal(r.all(), want) {
		t.Errorf("%d bytes arrived of %d", len(r.all()), len(want))
	}
	if s := out.Stats(); s.Sent != 5000 || s.Dropped != 0 || s.Queued != 0 {
		t.Errorf("%+v", s)
	}
	if r.last.Get("Authorization") != "Bearer tok" || r.last.Get("X-Scope-OrgID") != "a" || r.path != "/insert" {
		t.Errorf("path %s, header %v", r.path, r.last)
	}
}

func TestLoki(t *testing.T) {
	r := newReceiver(t)
	out, stop := start(t, Options{Protocol: NewLoki(HTTPOptions{URL: r.URL, Stream: "access", Node: "gw-1", Labels: map[string]string{"env": "prod"}})})
	out.Offer(someLines(0, 300))
	stop()
	var push struct {
		Streams []struct {
			Stream map[string]string
			Values [][2]string
		}
	}
	if err := json.Unmarshal(r.all(), &push); err != nil {
		t.Fatal(err)
	}
	s := push.Streams[0]
	if s.Stream["job"] != "sluice" || s.Stream["stream"] != "access" || s.Stream["node"] != "gw-1" || s.Stream["env"] != "prod" {
		t.Errorf("labels %v", s.Stream)
	}
	for i, v := range s.Values {
		at := time.Date(2026, 11, 25, 20, 0, 0, i*1e6, time.UTC)
		if v[0] != strconv.FormatInt(at.UnixNano(), 10) || v[1] != line(i) {
			t.Fatalf("line %d is %v", i, v)
		}
	}
	if len(s.Values) != 300 {
		t.Errorf("%d lines", len(s.Values))
	}
}

func TestElasticsearch(t *testing.T) {
	r := newReceiver(t)
	r.answer = `{"errors":false,"items":[]}`
	out, stop := start(t, Options{Protocol: NewElasticsearch(HTTPOptions{URL: r.URL, Stream: "access", Index: "gw", Username: "u", Password: "p"})})
	out.Offer(someLines(0, 100))
	stop()
	n := 0
	for s := bufio.NewScanner(bytes.NewReader(r.all())); s.Scan(); n++ {
		var v map[string]any
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			t.Fatalf("%v: %s", err, s.Text())
		}
		if n%2 == 0 {
			if s.Text() != `{"create":{"_index":"gw-access"}}` {
				t.Errorf("action %s", s.Text())
			}
		} else if v["@timestamp"] != v["time"] || v["request_id"] != fmt.Sprintf("r-%d", n/2) {
			t.Errorf("document %s", s.Text())
		}
	}
	user, password, _ := (&http.Request{Header: r.last}).BasicAuth()
	if n != 200 || r.path != "/_bulk" || user != "u" || password != "p" {
		t.Errorf("%d lines to %s by %s", n, r.path, user)
	}
}

func TestElasticsearchSendsAgainOnlyWhatWasNotTaken(t *testing.T) {
	again, refused, err := inspectBulk([]byte(`{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":429}},{"create":{"status":400,"error":{"type":"mapper","reason":"bad"}}}]}`), someLines(0, 3))
	if string(again) != line(1)+"\n" || refused != 1 || err == nil || !strings.Contains(err.Error(), "mapper") {
		t.Errorf("again %q, refused %d, %v", again, refused, err)
	}
}

func TestOTLP(t *testing.T) {
	r := newReceiver(t)
	out, stop := start(t, Options{Protocol: NewOTLP(HTTPOptions{URL: r.URL, Stream: "access", Node: "gw-1", Labels: map[string]string{"env": "prod"}})})
	l := `{"time":"2026-11-25T20:00:00.000Z","trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331","status":503,"tenant":"a\"b","rules":[1,{"x":"]"}],"last":1.5}`
	out.Offer([]byte(l + "\n"))
	stop()
	var got logs.LogsData
	if err := proto.Unmarshal(r.all(), &got); err != nil {
		t.Fatal(err)
	}
	res := got.ResourceLogs[0]
	rec := res.ScopeLogs[0].LogRecords[0]
	about := map[string]string{}
	for _, a := range res.Resource.Attributes {
		about[a.Key] = a.Value.GetStringValue()
	}
	attrs := map[string]any{}
	for _, a := range rec.Attributes {
		switch {
		case a.Value.GetStringValue() != "":
			attrs[a.Key] = a.Value.GetStringValue()
		case a.Value.GetIntValue() != 0:
			attrs[a.Key] = a.Value.GetIntValue()
		default:
			attrs[a.Key] = a.Value.GetDoubleValue()
		}
	}
	if r.path != "/v1/logs" || about["service.name"] != "sluice" || about["env"] != "prod" || about["log.stream"] != "access" {
		t.Errorf("%s %v", r.path, about)
	}
	if fmt.Sprintf("%x", rec.TraceId) != "0af7651916cd43dd8448eb211c80319c" || fmt.Sprintf("%x", rec.SpanId) != "b7ad6b7169203331" ||
		rec.SeverityText != "ERROR" || rec.Body.GetStringValue() != l || rec.TimeUnixNano != uint64(time.Date(2026, 11, 25, 20, 0, 0, 0, time.UTC).UnixNano()) {
		t.Errorf("record %v", rec)
	}
	if attrs["tenant"] != `a"b` || attrs["status"] != int64(503) || attrs["last"] != 1.5 || attrs["rules"] != `[1,{"x":"]"}]` {
		t.Errorf("attributes %v", attrs)
	}
}

// message is the form of RFC 5424 §6.
var message = regexp.MustCompile(`^<(\d+)>1 (\S+) (\S+) (\S+) (\S+) (\S+) - (\{.*\})$`)

func checkMessage(t *testing.T, m string, i int) {
	t.Helper()
	f := message.FindStringSubmatch(m)
	if f == nil {
		t.Fatalf("no message of RFC 5424: %q", m)
	}
	want := map[int]string{200: "134", 350: "134", 500: "131"}[200+i%3*150] // local0.info, local0.err
	if f[1] != want || f[3] != "gw-1" || f[4] != "sluice" || f[5] != strconv.Itoa(os.Getpid()) || f[6] != "access" || f[7] != line(i) {
		t.Errorf("line %d: %q", i, f)
	}
	if _, err := time.Parse(time.RFC3339, f[2]); err != nil {
		t.Error(err)
	}
}

func TestSyslogOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := NewSyslog(SyslogOptions{URL: "tcp://" + l.Addr().String(), Stream: "access", Node: "gw-1"})
	if err != nil {
		t.Fatal(err)
	}
	out, stop := start(t, Options{Protocol: p})
	seen := 0
	accept := func(n int) {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		r := bufio.NewReader(c)
		for range n {
			count, err := r.ReadString(' ')
			if err != nil {
				t.Fatal(err)
			}
			size, err := strconv.Atoi(strings.TrimSpace(count))
			if err != nil {
				t.Fatal(err)
			}
			m := make([]byte, size)
			if _, err := io.ReadFull(r, m); err != nil {
				t.Fatal(err)
			}
			checkMessage(t, string(m), seen)
			seen++
		}
	}
	out.Offer(someLines(0, 100))
	accept(100) // and closes the connection, which the sender notices before it loses a line
	eventually(t, "the receiver's end is noticed", func() bool { return p.(*syslog).gone != nil && p.(*syslog).gone.Load() })
	out.Offer(someLines(100, 200))
	accept(100)
	stop()
}

func TestSyslogDatagrams(t *testing.T) {
	for _, network := range []string{"udp", "unixgram"} {
		address := "127.0.0.1:0"
		if network == "unixgram" {
			address = filepath.Join(t.TempDir(), "log")
		}
		c, err := net.ListenPacket(network, address)
		if err != nil {
			t.Fatal(err)
		}
		u := "udp://" + c.LocalAddr().String()
		if network == "unixgram" {
			u = "unix://" + address
		}
		p, err := NewSyslog(SyslogOptions{URL: u, Stream: "access", Node: "gw-1"})
		if err != nil {
			t.Fatal(err)
		}
		out, stop := start(t, Options{Protocol: p})
		out.Offer(someLines(0, 5))
		b := make([]byte, 64<<10)
		for i := range 5 {
			n, _, err := c.ReadFrom(b)
			if err != nil {
				t.Fatal(err)
			}
			checkMessage(t, string(b[:n]), i)
		}
		stop()
		c.Close()
	}
}

// Invariants 1, 2 and 4: a receiver that hangs takes nothing from whoever offers; what
// fits neither in memory nor on disk is counted; when it answers again, it is
// caught up with in order.
func TestAHangingReceiver(t *testing.T) {
	r := newReceiver(t)
	r.hang = make(chan struct{})
	dir := t.TempDir()
	out, stop := start(t, Options{
		Name: "loki", Protocol: NewJSON(HTTPOptions{URL: r.URL}), Timeout: 100 * time.Millisecond,
		Buffer: 256 << 10, SpillDir: dir, Spill: 1 << 20,
	})
	offered := 0
	eventually(t, "memory and disk are full", func() bool {
		out.Offer(someLines(offered, offered+100))
		offered += 100
		return out.Stats().Dropped > 0 && out.disk.full()
	})
	s := out.Stats()
	if !s.Down || s.Spilled < 1<<20 || s.Queued > 256<<10 || s.Sent != 0 {
		t.Errorf("%+v", s)
	}
	r.set(func() { close(r.hang); r.hang = nil })
	eventually(t, "all that was kept arrives", func() bool {
		s := out.Stats()
		return s.Sent+s.Dropped == uint64(offered) && s.Spilled == 0
	})
	out.Offer(someLines(offered, offered+1)) // and it goes on
	offered++
	stop()
	last := -1
	for l := range bytes.Lines(r.all()) {
		var v struct {
			ID string `json:"request_id"`
		}
		if err := json.Unmarshal(l, &v); err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimPrefix(v.ID, "r-"))
		if err != nil || n <= last {
			t.Fatalf("line %d after %d", n, last)
		}
		last = n
	}
	if last != offered-1 {
		t.Errorf("the last line is %d, want %d", last, offered-1)
	}
	if s := out.Stats(); s.Down || s.Sent+s.Dropped != uint64(offered) {
		t.Errorf("%+v of %d", s, offered)
	}
}

func TestAReceiverThatIsGoneAndComesBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	out, stop := start(t, Options{Protocol: NewJSON(HTTPOptions{URL: "http://" + address})})
	out.Offer(someLines(0, 10))
	eventually(t, "it is noticed", func() bool { return out.Stats().Down })
	out.Offer(someLines(10, 20))
	if l, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []byte
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, b...)
	})}
	go server.Serve(l)
	defer server.Close()
	eventually(t, "all lines arrive", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return bytes.Equal(got, someLines(0, 20))
	})
	stop()
	if s := out.Stats(); s.Down || s.Dropped != 0 || s.Sent != 20 {
		t.Errorf("%+v", s)
	}
}

// Invariant 2: what could not be delivered is there for the next process.
func TestLinesSurviveTheProcess(t *testing.T) {
	r := newReceiver(t)
	r.status = 503
	dir := t.TempDir()
	o := Options{Protocol: NewJSON(HTTPOptions{URL: r.URL}), SpillDir: dir, Spill: 10 << 20, Timeout: time.Second}
	first, stop := start(t, o)
	first.Offer(someLines(0, 500))
	eventually(t, "the receiver refuses", func() bool { return first.Stats().Down })
	stop()
	if s := first.Stats(); s.Dropped != 0 || s.Sent != 0 {
		t.Errorf("%+v", s)
	}
	made, err := os.ReadDir(dir)
	if err != nil || len(made) != 1 {
		t.Fatal(made, err)
	}
	// As if it had been there for a while.
	if err := os.Rename(filepath.Join(dir, made[0].Name()), filepath.Join(dir, "1000-1")); err != nil {
		t.Fatal(err)
	}
	r.set(func() { r.status = 0 })
	second, stop := start(t, o)
	second.Offer(someLines(500, 600))
	eventually(t, "both processes' lines arrive", func() bool { return second.Stats().Sent == 600 })
	stop()
	if !bytes.Equal(r.all(), someLines(0, 600)) {
		t.Error("not the lines that were offered, in their order")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left on disk: %v %v", left, err)
	}
}

func TestTwoProcessesDoNotShareADirectory(t *testing.T) {
	dir := t.TempDir()
	a, err := openSpill(dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.append(someLines(0, 10)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(a.dir, filepath.Join(dir, "1000-1")); err != nil {
		t.Fatal(err)
	}
	b, err := openSpill(dir, 1<<20) // a still holds its lock
	if err != nil {
		t.Fatal(err)
	}
	if b.size() != 0 {
		t.Error("took lines whose owner lives")
	}
	_ = a.lock.Close()
	if err := b.adopt(); err != nil || b.size() != int64(len(someLines(0, 10))) {
		t.Errorf("%d bytes, %v", b.size(), err)
	}
	if err := b.close(); err != nil {
		t.Error(err)
	}
}

func TestRefusedLinesAreDroppedAndCounted(t *testing.T) {
	r := newReceiver(t)
	r.status = 400
	out, stop := start(t, Options{Protocol: NewJSON(HTTPOptions{URL: r.URL})})
	out.Offer(someLines(0, 7))
	eventually(t, "the lines are given up", func() bool { return out.Stats().Dropped == 7 })
	r.set(func() { r.status = 0 })
	out.Offer(someLines(7, 9))
	stop()
	if s := out.Stats(); s.Sent != 2 || s.Down {
		t.Errorf("%+v", s)
	}
}

// A disk that is full costs the lines that would have gone there.
func TestAFullSpillDisk(t *testing.T) {
	s, err := openSpill(t.TempDir(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.append(someLines(0, 1)); err != nil {
		t.Fatal(err)
	}
	path := s.files[0].path
	_ = s.open.Close()
	if s.open, err = os.Open(path); err != nil { // cannot be written
		t.Fatal(err)
	}
	if err := s.append(someLines(1, 2)); err == nil {
		t.Error("no error")
	}
	lines, done, err := s.head(1 << 20)
	if string(lines) != string(someLines(0, 1)) || err != nil {
		t.Fatalf("%q %v", lines, err)
	}
	done()
	if err := s.close(); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

func TestStdoutThatNobodyReads(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, stop := start(t, Options{Protocol: &stdout{f: w}, Timeout: 50 * time.Millisecond, Buffer: 200 << 10})
	eventually(t, "the pipe is full", func() bool {
		out.Offer(someLines(0, 100))
		return out.Stats().Down && out.Stats().Dropped > 0
	})
	r.Close()
	stop()
}

func FuzzFields(f *testing.F) {
	f.Add(line(1))
	f.Add(`{"a":[{"b":"]"}],"c":-1e9,"d":"\u12`)
	f.Fuzz(func(t *testing.T, s string) {
		got := map[string]string{}
		for name, v := range fields([]byte(s)) {
			got[unquote(name)] = unquote(v.text)
		}
		lineTime([]byte(s))
		lineStatus([]byte(s))
		var flat map[string]string
		if json.Unmarshal([]byte(s), &flat) == nil && !strings.ContainsAny(s, "\n\t\r\\") && strings.HasPrefix(s, "{") && json.Valid([]byte(s)) {
			for name, want := range flat {
				if g, ok := got[name]; ok && g != want && bytes.ContainsRune([]byte(want), '\uFFFD') == false {
					t.Errorf("%s: %q, want %q, of %s", name, g, want, s)
				}
			}
		}
	})
}

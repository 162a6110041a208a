package payload

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/telemetry"
	"sluice/telemetry/redact"
)

type lines [][]byte

func (l *lines) Write(line []byte) { *l = append(*l, append([]byte(nil), line...)) }

func newRecorder(l *lines, maxBody int) *Recorder {
	return New(Options{Writer: l, Redact: redact.Default(), MaxBody: maxBody})
}

func record(status int) *telemetry.Record {
	return &telemetry.Record{Time: time.Now(), RequestID: "r1", Route: "items", Tenant: "acme", Status: status, Method: "POST", Host: "api.acme.example", Path: "/items/bob@example.com"}
}

func TestALineHasBothSidesRedacted(t *testing.T) {
	var l lines
	r := newRecorder(&l, 0)
	r.Use([]Rule{{Name: "all", Sample: 1, Until: time.Now().Add(time.Hour)}})
	c := r.Begin("items", "acme", time.Now())
	request := http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer abcdef123456"}, "X-Trace": {"1"}}
	response := http.Header{"Content-Type": {"text/plain"}, "Set-Cookie": {"sid=1", "b=2"}}
	c.Request(request, []byte(`{"password":"hun`))
	c.Request(request, []byte(`ter2","a":1}`))
	c.RequestEnded()
	c.Response(response, []byte("card 4111 1111 1111 1111"))
	c.ResponseEnded()
	c.End(record(200), "token=abc&page=2", request, response)
	if len(l) != 1 {
		t.Fatalf("%d lines", len(l))
	}
	var got map[string]any
	if err := json.Unmarshal(l[0], &got); err != nil {
		t.Fatalf("%v: %s", err, l[0])
	}
	for _, gone := range []string{"hunter2", "abcdef", "4111", "sid=1", "bob@", "token=abc"} {
		if strings.Contains(string(l[0]), gone) {
			t.Errorf("%q is in %s", gone, l[0])
		}
	}
	if got["request_body"] != `{"password":"[redacted:field]","a":1}` || got["response_body"] != "card [redacted:card]" ||
		got["request_bytes"] != 28.0 || got["request_cut"] != nil || got["rule"] != "all" || got["query"] != "token=[redacted:field]&page=2" {
		t.Errorf("%s", l[0])
	}
	if h := got["request_headers"].(map[string]any); h["X-Trace"] != "1" || h["Authorization"] != "[redacted:field]" {
		t.Errorf("%v", h)
	}
}

func TestRulesChoose(t *testing.T) {
	until := time.Now().Add(time.Hour)
	for _, c := range []struct {
		rule Rule
		want bool
	}{
		{Rule{Sample: 1, Until: until}, true},
		{Rule{Sample: 1, Until: until, Tenant: "acme", Routes: []string{"x", "items"}, Status: "5xx"}, true},
		{Rule{Sample: 1, Until: until, Tenant: "globex"}, false},
		{Rule{Sample: 1, Until: until, Routes: []string{"x"}}, false},
		{Rule{Sample: 1, Until: until, Status: "404"}, false},
		{Rule{Sample: 1, Until: until, Status: ">=500"}, true},
		{Rule{Sample: 1, Until: until, Status: "<500"}, false},
		{Rule{Sample: 0, Until: until}, false},
		{Rule{Sample: 1, Until: time.Now().Add(-time.Second)}, false},
		{Rule{Sample: 1, Until: time.Now().Add(8 * 24 * time.Hour)}, false},
		{Rule{Sample: 1}, false},
	} {
		var l lines
		r := newRecorder(&l, 0)
		r.UseExtra([]Rule{c.rule})
		if capture := r.Begin("items", "acme", time.Now()); capture != nil {
			capture.End(record(503), "", nil, nil)
		}
		if got := len(l) == 1; got != c.want {
			t.Errorf("%+v: %v", c.rule, got)
		}
	}
}

// Invariant 2.
func TestRulesEndByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(new(lines), 0)
		r.Use([]Rule{{Name: "a", Sample: 1, Until: time.Now().Add(time.Minute)}})
		r.UseExtra([]Rule{{Name: "b", Sample: 1, Until: time.Now().Add(time.Hour)}})
		time.Sleep(time.Minute)
		if a := r.Active(time.Now()); len(a) != 1 || a[0].Name != "b" {
			t.Errorf("after a minute: %v", a)
		}
		time.Sleep(time.Hour)
		if r.Begin("items", "acme", time.Now()) != nil || r.rules.Load() != nil {
			t.Error("still captures after the last end")
		}
	})
}

func TestLongBodiesAndLinesAreCut(t *testing.T) {
	var l lines
	const maxBody = 1000
	r := newRecorder(&l, maxBody)
	r.Use([]Rule{{Name: "all", Sample: 1, Until: time.Now().Add(time.Hour)}})
	c := r.Begin("", "", time.Now())
	h := http.Header{"Content-Type": {"text/plain"}}
	for i := range 300 {
		h[strings.Repeat("x", 100)+string(rune('a'+i%26))+strings.Repeat("y", i)] = []string{strings.Repeat("\x01", 2000)}
	}
	for range 1000 {
		c.Request(h, []byte("line \x01\x02\x03\n"))
		c.Response(h, []byte("line \"\\\n"))
	}
	c.End(record(200), strings.Repeat("q", 10_000), h, h)
	if n := len(l[0]); n >= MaxLine(maxBody) {
		t.Errorf("the line has %d bytes, at most %d are promised", n, MaxLine(maxBody))
	}
	var got map[string]any
	if err := json.Unmarshal(l[0], &got); err != nil {
		t.Fatal(err)
	}
	if got["request_cut"] != true || got["request_bytes"] != 9000.0 {
		t.Errorf("cut %v, size %v", got["request_cut"], got["request_bytes"])
	}
}

func TestCompressedBodiesAreNotShown(t *testing.T) {
	var l lines
	r := newRecorder(&l, 0)
	r.Use([]Rule{{Name: "all", Sample: 1, Until: time.Now().Add(time.Hour)}})
	c := r.Begin("", "", time.Now())
	h := http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}
	c.Response(h, []byte("\x1f\x8bsecret"))
	c.ResponseEnded()
	c.End(record(200), "", nil, h)
	if s := string(l[0]); strings.Contains(s, "secret") || !strings.Contains(s, `"response_encoding":"gzip","response_body":"","response_bytes":8`) {
		t.Error(s)
	}
}

// Invariant 1.
func BenchmarkBeginWithoutRules(b *testing.B) {
	r := newRecorder(new(lines), 0)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		r.Begin("items", "acme", now)
	}
}

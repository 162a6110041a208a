package event

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sluice/telemetry"
	"sluice/telemetry/redact"
)

type lines []string

func (l *lines) Write(line []byte) { *l = append(*l, string(line)) }

func full() *Event {
	at := time.Date(2026, 11, 26, 12, 0, 0, 123e6, time.UTC)
	return &Event{
		Time: at, RequestID: "r1", Tenant: "acme", Route: "/api/*", Status: 403, Client: netip.MustParseAddr("203.0.113.7"),
		Kind: Ban, Action: "block", Rule: "brute_force", Target: "203.0.113.7", Reason: "20 failed", By: "detector",
		Until: at.Add(time.Hour), Strikes: 2, Count: 20, Limit: 20, Method: "GET", Path: "/api/x", Agent: "curl/8",
	}
}

func TestALineSaysWhatIsKnownInOrder(t *testing.T) {
	var got lines
	l := New(&got, redact.Default())
	l.Write(full())
	l.Write(&Event{Time: full().Time, Kind: BanOver, Action: "end"})
	want := []string{
		`{"time":"2026-11-26T12:00:00.123Z","request_id":"r1","tenant":"acme","route":"/api/*","status":403,"client_ip":"203.0.113.7","kind":"ban","action":"block","rule":"brute_force","target":"203.0.113.7","reason":"20 failed","by":"detector","until":"2026-11-26T13:00:00.123Z","strikes":2,"count":20,"limit":20,"method":"GET","path":"/api/x","user_agent":"curl/8"}`,
		`{"time":"2026-11-26T12:00:00.123Z","kind":"ban_over","action":"end"}`,
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
}

// A client that chooses its user agent, path or request id cannot forge a line,
// make one that is too long, or leave a secret in it.
func TestClientsCannotForgeLines(t *testing.T) {
	var got lines
	l := New(&got, redact.Default())
	e := full()
	e.Agent = strings.Repeat("\x1b[2J\n{\"kind\":\"ban\"}\xff", 500)
	e.Path = "/reset/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlc2lnbmF0dXJl/" + strings.Repeat("x", 5000)
	e.Tenant, e.Reason = strings.Repeat("t", 5000), strings.Repeat("\"", 5000)
	l.Write(e)
	var back map[string]any
	if err := json.Unmarshal([]byte(got[0]), &back); err != nil {
		t.Fatalf("%v: %s", err, got[0])
	}
	if len(got[0]) >= telemetry.MaxLine {
		t.Errorf("%d bytes", len(got[0]))
	}
	if strings.ContainsAny(got[0], "\n\x1b") || strings.Contains(got[0], "c2lnbmF0dXJl") {
		t.Errorf("%s", got[0])
	}
}

func TestTheMetricIsBounded(t *testing.T) {
	var got lines
	l := New(&got, redact.Default())
	for range 3 {
		for i := range 5000 {
			l.Write(&Event{Kind: Suspicion, Action: "observe", Tenant: strings.Repeat("t", i%1000+1)})
		}
	}
	series, total := 0, 0.0
	l.Collect(func(_ string, v float64, _ ...string) { series++; total += v })
	if series > maxTenants+1 || total != 15000 {
		t.Errorf("%d series, %v events", series, total)
	}
}

func TestALineAllocatesLittle(t *testing.T) {
	l := New(nothing{}, redact.Default())
	e := full()
	e.Path = ""
	l.Write(e)
	if n := testing.AllocsPerRun(100, func() { l.Write(e) }); n > 0.5 {
		t.Errorf("%v allocations", n)
	}
}

type nothing struct{}

func (nothing) Write([]byte) {}

package proxy

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter/mmdbtype"

	"sluice/internal/geofile"
	"sluice/internal/issuer"
	"sluice/telemetry"
	"sluice/waf/bans"
	"sluice/waf/detector"
)

// textLines are lines as they were written.
type textLines struct {
	mu  sync.Mutex
	all strings.Builder
}

func (l *textLines) Write(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Write(append(line, '\n'))
}

func (l *textLines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// The detector bans whoever fails again and again, whichever of us says no; who
// is allowed, and proxies that are trusted, are not counted.
func TestAttackersAreBannedOnTheRoad(t *testing.T) {
	g := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/public/login":
			w.WriteHeader(http.StatusUnauthorized)
		case "/public/nothing":
			w.WriteHeader(http.StatusNotFound)
		}
	}), apiRoutes+`
waf: {ip: {allow: [192.0.2.0/24]}, detector: {mode: enforce, brute_force: {count: 5}, scanning: {count: 8}, throttled: {count: 3}}}
limits: {anonymous: {requests: 40, per: 1h}}
`, "trusted_proxies: [127.0.0.1]")
	from := func(a string) string { return "X-Forwarded-For: " + a }
	banned := func(a string) bool {
		at, _ := bans.ParseTarget(a)
		return g.deps.Bans.Find(bans.Detected, at) != nil
	}
	// A request is judged when its answer has gone: the client may be faster.
	soon := func(what string, f func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not within 10 s: %s", what)
			}
		}
	}
	again := func(n int, f func(i int)) {
		for i := range n {
			f(i)
		}
	}
	bad := "Authorization: Bearer a.b.c"
	ann := "Authorization: " + g.token(issuer.Claims{Tenant: "acme", Subject: "auth0|ann"})

	again(5, func(int) { g.get("/api/x", from("203.0.113.1"), bad) })
	soon("five wrong tokens", func() bool { return banned("203.0.113.1") })
	if a := g.get("/public/x", from("203.0.113.1")); a.StatusCode != 403 {
		t.Errorf("after five wrong tokens: %d", a.StatusCode)
	}
	again(5, func(int) { g.do("POST", "/public/login", nil, from("203.0.113.2")) })
	soon("log-ins that fail at the service", func() bool { return banned("203.0.113.2") })
	again(20, func(int) { g.get("/api/x", from("203.0.113.3")) })
	if banned("203.0.113.3") {
		t.Error("who asks for one path without a credential is banned")
	}
	again(8, func(i int) { g.get(fmt.Sprint("/wp-admin/", i, ".php"), from("203.0.113.4")) })
	soon("a scan of paths without a route", func() bool { return banned("203.0.113.4") })
	again(43, func(int) { g.get("/public/x", from("203.0.113.5")) })
	soon("going on beyond the limit", func() bool { return banned("203.0.113.5") })
	if a := g.get("/public/x", from("203.0.113.5")); a.StatusCode != 429 || a.problem(t).Type == "" || !strings.Contains(a.body, "abnormal-usage") {
		t.Errorf("who goes on beyond the limit: %d %s", a.StatusCode, a.body)
	}

	// Allowed: by the file, by an allowance, or because it is only a proxy.
	again(9, func(int) { g.get("/api/x", from("192.0.2.7"), bad) })
	if banned("192.0.2.7") {
		t.Error("an allowed address is banned")
	}
	again(9, func(int) { g.get("/api/x", bad) })
	if banned("127.0.0.1") {
		t.Error("a trusted proxy is banned")
	}
	put(t, g.deps.Bans, bans.Allowed, bans.Block, "subject=auth0|ann")
	again(9, func(i int) { g.get(fmt.Sprint("/nowhere/", i), from("203.0.113.6"), ann) })
	again(20, func(i int) { g.get(fmt.Sprint("/api/x", i), from("203.0.113.6"), ann) })
	// It looked for nine paths that no route has, where no credential is looked at.
	soon("a scan by who would be allowed elsewhere", func() bool { return banned("203.0.113.6") })
	if got := g.deps.Bans.Entries(bans.Detected); len(got) != 5 {
		t.Errorf("%d bans, want the four above and 203.0.113.6", len(got))
	}

	// The security log tells of all of it.
	text := g.events.text()
	for _, want := range []string{
		`"kind":"detector","action":"block","rule":"brute_force","target":"203.0.113.1"`, `"rule":"scanning","target":"203.0.113.4"`,
		`"kind":"ban","action":"block","target":"203.0.113.1"`, `"kind":"ban","action":"challenge","target":"203.0.113.5"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no event has %s in\n%s", want, text)
		}
	}
}

func TestPlacesAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "geo.mmdb")
	in := func(code string, asn uint32) mmdbtype.DataType {
		return mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code)}, "autonomous_system_number": mmdbtype.Uint32(asn)}
	}
	if err := geofile.Write(file, map[string]mmdbtype.DataType{
		"203.0.113.0/24": in("KP", 64496), "198.51.100.0/24": in("DE", 64497), "192.0.2.0/24": in("FR", 64498),
	}); err != nil {
		t.Fatal(err)
	}
	g := newRig(t, http.HandlerFunc(seen), apiRoutes, "trusted_proxies: [127.0.0.1]")
	status := func(from string) int { return g.get("/public/x", "X-Forwarded-For: "+from).StatusCode }
	for _, c := range []struct {
		geo  string
		want [4]int // KP, DE, FR, unknown
	}{
		{"", [4]int{200, 200, 200, 200}},
		{"deny: [KP, FR]", [4]int{403, 200, 403, 200}},
		{"deny_asn: [64497]", [4]int{200, 403, 200, 200}},
		{"allow: [DE]", [4]int{403, 200, 403, 403}},
	} {
		g.recompile(t, func(text string) string {
			return text + fmt.Sprintf("waf: {geo: {database: %q, %s}}\n", file, c.geo)
		})
		if got := [4]int{status("203.0.113.7"), status("198.51.100.7"), status("192.0.2.7"), status("8.8.8.8")}; got != c.want {
			t.Errorf("%s: got %v, want %v", c.geo, got, c.want)
		}
	}
	// Bans by place need no filter in the file.
	g.recompile(t, func(text string) string { return text + fmt.Sprintf("waf: {geo: {database: %q}}\n", file) })
	for target, from := range map[string]string{"country=KP": "203.0.113.7", "asn=64497": "198.51.100.7"} {
		at := put(t, g.deps.Bans, bans.Banned, bans.Block, target)
		if got := [2]int{status(from), status("192.0.2.7")}; got != [2]int{403, 200} {
			t.Errorf("%s: %v", target, got)
		}
		if _, err := g.deps.Bans.Remove(bans.Banned, at); err != nil {
			t.Fatal(err)
		}
		if got := status(from); got != 200 {
			t.Errorf("%s ended: %d", target, got)
		}
	}
}

// What the firewall calls an attack counts as one, refused or only detected; a
// ban that was met does not count again.
func TestSignalsOfARequest(t *testing.T) {
	for _, c := range []struct {
		rec  telemetry.Record
		want detector.Signal
	}{
		{telemetry.Record{Status: 403, Origin: "blocked", WAF: &telemetry.WAFRecord{Attack: true}}, detector.Attack},
		{telemetry.Record{Status: 200, Origin: "upstream", WAF: &telemetry.WAFRecord{Attack: true}}, detector.Attack},
		{telemetry.Record{Status: 200, Origin: "upstream", WAF: &telemetry.WAFRecord{}}, 0},
		{telemetry.Record{Status: 403, Origin: "blocked"}, 0},
		{telemetry.Record{Status: 404, Origin: "upstream"}, detector.Refused},
	} {
		e := &exchange{record: c.rec}
		if got := e.signals(); got != c.want {
			t.Errorf("%+v: got %b, want %b", c.rec, got, c.want)
		}
	}
}

package proxy

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"sluice/internal/issuer"
)

const apiRoutes = `
routes:
  - {path: /api/*, service: app}
  - {path: /public/*, service: app, auth: none}
`

// Invariant 2: nobody becomes a tenant by saying so.
func TestForgedIdentityNeverReachesTheService(t *testing.T) {
	g := newRig(t, http.HandlerFunc(seen), apiRoutes)
	forged := []string{
		"X-Tenant-ID: evil", "X-Tenant-Tier: enterprise", "X-Auth-Subject: root", "X-Forwarded-For: 1.2.3.4",
		"Forwarded: for=1.2.3.4", "X-Real-IP: 1.2.3.4", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https",
		"X-Forwarded-Prefix: /evil", "Connection: X-Tenant-ID, close",
	}
	h := g.get("/api/x", append(forged, "Authorization: "+g.token(issuer.Claims{Tenant: "acme", Subject: "auth0|ann"}))...).seen(t)
	for name, want := range map[string]string{
		"X-Tenant-Id": "acme", "X-Tenant-Tier": "standard", "X-Auth-Subject": "auth0|ann",
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Real-Ip": "", "X-Forwarded-Prefix": "",
		"X-Forwarded-Host": strings.TrimPrefix(g.server.URL, "http://"),
		"Forwarded":        `for=127.0.0.1;host="` + strings.TrimPrefix(g.server.URL, "http://") + `";proto=http`,
	} {
		if got := strings.Join(h.Values(name), "|"); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	h = g.get("/public/x", forged...).seen(t)
	for _, name := range []string{"X-Tenant-Id", "X-Tenant-Tier", "X-Auth-Subject"} {
		if got := h.Values(name); len(got) > 0 {
			t.Errorf("anonymous request arrived with %s: %q", name, got)
		}
	}
}

func TestForgedTrailersNeverReachTheService(t *testing.T) {
	g := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		json.NewEncoder(w).Encode(r.Trailer)
	}), apiRoutes)
	r, err := http.NewRequest("POST", g.server.URL+"/public/x", io.NopCloser(strings.NewReader("body")))
	if err != nil {
		t.Fatal(err)
	}
	r.Trailer = http.Header{"X-Tenant-Id": {"evil"}, "X-Auth-Subject": {"root"}, "X-Checksum": {"abc"}}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got http.Header
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Get("X-Checksum") != "abc" || got.Get("X-Tenant-Id") != "" || got.Get("X-Auth-Subject") != "" {
		t.Errorf("the service saw the trailer %v", got)
	}
}

func TestTrustedProxyIsBelieved(t *testing.T) {
	g := newRig(t, http.HandlerFunc(seen), apiRoutes, "trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]")
	h := g.get("/public/x", "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.2.3", "X-Forwarded-Proto: https", "X-Forwarded-Host: api.example").seen(t)
	for name, want := range map[string]string{
		"X-Forwarded-For":   "6.6.6.6, 203.0.113.9, 10.1.2.3, 127.0.0.1",
		"X-Forwarded-Proto": "https", "X-Forwarded-Host": "api.example",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	token := "Authorization: " + g.token(issuer.Claims{Tenant: "acme"})
	if a := g.get("/api/x", token, "X-Tenant-ID: acme"); a.StatusCode != 200 {
		t.Errorf("a tenant header that agrees with the token: %d", a.StatusCode)
	}
	if a := g.get("/api/x", token, "X-Tenant-ID: globex"); a.StatusCode != 403 || !strings.HasSuffix(a.problem(t).Type, "/tenant-mismatch") {
		t.Errorf("a tenant header that contradicts the token: %d %s", a.StatusCode, a.body)
	}
	if lines := g.lines(); lines[0]["client_ip"] != "203.0.113.9" || lines[0]["peer_ip"] != "127.0.0.1" {
		t.Errorf("client %v, peer %v", lines[0]["client_ip"], lines[0]["peer_ip"])
	}
}

// The order of the road is security: a request that every stage would refuse
// is refused by the first, and by the next one when the first passes it.
func TestOrderOfTheRoad(t *testing.T) {
	g := newRig(t, http.HandlerFunc(seen), `
waf: {ip: {deny: [192.0.2.0/24]}}
limits: {address: {requests: 3, per: 1h}}
tiers: {standard: {requests: 1, per: 1h}}
routes:
  - {path: /api/*, methods: [POST], service: app, require: [items:write], max_body: 4B}
`, "trusted_proxies: [127.0.0.1]")
	good := "Authorization: " + g.token(issuer.Claims{Tenant: "acme", Permissions: []string{"items:write"}})
	big := func() *strings.Reader { return strings.NewReader("larger than four bytes") }
	for _, step := range []struct {
		what, method, path string
		body               *strings.Reader
		headers            []string
		status             int
		code               string
	}{
		{"denied address, encoded slash", "GET", "/nowhere%2f", big(), []string{"X-Forwarded-For: 192.0.2.1"}, 400, "bad-request"},
		{"denied address, no route", "GET", "/nowhere", big(), []string{"X-Forwarded-For: 192.0.2.1"}, 403, "blocked"},
		{"no route", "GET", "/nowhere", big(), nil, 404, "no-route"},
		{"wrong method, no token", "GET", "/api/x", big(), nil, 405, "method-not-allowed"},
		{"no token, large body", "POST", "/api/x", big(), nil, 401, "unauthenticated"},
		{"no permission, large body", "POST", "/api/x", big(), []string{"Authorization: " + g.token(issuer.Claims{Tenant: "acme"})}, 403, "forbidden"},
		{"large body, quota left", "POST", "/api/x", big(), []string{good}, 413, "body-too-large"},
		{"address limit before the credential", "POST", "/api/x", big(), []string{"Authorization: Bearer nonsense"}, 429, ""},
		{"another address: quota is whole", "POST", "/api/x", strings.NewReader("ok"), []string{good, "X-Forwarded-For: 198.51.100.1"}, 200, ""},
		{"another address: quota is spent", "POST", "/api/x", strings.NewReader("ok"), []string{good, "X-Forwarded-For: 198.51.100.1"}, 429, ""},
	} {
		a := g.do(step.method, step.path, step.body, step.headers...)
		if a.StatusCode != step.status {
			t.Errorf("%s: status %d, want %d: %s", step.what, a.StatusCode, step.status, a.body)
		}
		if step.code != "" && !strings.HasSuffix(a.problem(t).Type, "/"+step.code) {
			t.Errorf("%s: type %s, want …/%s", step.what, a.problem(t).Type, step.code)
		}
	}
	// Invariant 4.
	if lines := g.lines(); len(lines) != 10 {
		t.Errorf("%d access lines for 10 requests", len(lines))
	}
}

func TestQuotaHeadersAndRefusal(t *testing.T) {
	g := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-RateLimit-Limit", "7") // the service's own: not doubled
		w.Write([]byte("hello"))
	}), `
tiers: {standard: {requests: 3, per: 1h}, premium: {requests: 5, per: 1h}}
`+apiRoutes)
	token := "Authorization: " + g.token(issuer.Claims{Tenant: "acme"})
	for i := range 3 {
		a := g.get("/api/x", token)
		want := []string{"2", "1", "0"}[i]
		if a.StatusCode != 200 || a.Header.Get("X-RateLimit-Remaining") != want || strings.Join(a.Header.Values("X-RateLimit-Limit"), "|") != "3" {
			t.Fatalf("request %d: %d %v", i+1, a.StatusCode, a.Header)
		}
		if got := a.Header.Get("RateLimit-Policy"); got != `"tenant";q=3;w=3600` {
			t.Errorf("RateLimit-Policy %q", got)
		}
		if got := a.Header.Get("RateLimit"); !strings.HasPrefix(got, `"tenant";r=`+want+`;t=`) {
			t.Errorf("RateLimit %q", got)
		}
	}
	a := g.get("/api/x", token)
	p := a.problem(t)
	if a.StatusCode != 429 || a.Header.Get("Retry-After") == "" || a.Header.Get("X-RateLimit-Remaining") != "0" ||
		p.Limit != 3 || p.RetryAfter < 3590 || !strings.HasSuffix(p.Type, "#quota-exceeded") {
		t.Errorf("fourth request: %d %v %s", a.StatusCode, a.Header, a.body)
	}
	if a := g.get("/api/x", "Authorization: "+g.token(issuer.Claims{Tenant: "globex", Tier: "premium"})); a.StatusCode != 200 || a.Header.Get("X-RateLimit-Limit") != "5" {
		t.Errorf("another tenant: %d %v", a.StatusCode, a.Header)
	}
	if a := g.get("/api/x", "Authorization: "+g.token(issuer.Claims{Tenant: "acme", Permissions: []string{"platform:admin"}})); a.StatusCode != 200 || a.Header.Get("X-RateLimit-Remaining") != "" || a.Header.Get("X-RateLimit-Limit") != "7" {
		t.Errorf("super admin, whom only the service's own limit holds: %d %v", a.StatusCode, a.Header)
	}
	if a := g.get("/healthz"); a.StatusCode != 200 {
		t.Errorf("/healthz: %d", a.StatusCode)
	}
}

// Which route answers may depend on the tenant; what it demands must hold all
// the same, whatever another candidate would have demanded.
func TestEachRoutesOwnDemandHolds(t *testing.T) {
	g := newRig(t, http.HandlerFunc(seen), `
routes:
  - {path: /api/items/*, service: app, tenants: [acme], auth: optional}
  - {path: /api/*, service: app}
  - {path: /open/items/*, service: app, tenants: [acme]}
  - {path: /open/*, service: app, auth: none}
`)
	acme, globex := "Authorization: "+g.token(issuer.Claims{Tenant: "acme"}), "Authorization: "+g.token(issuer.Claims{Tenant: "globex"})
	for _, c := range []struct {
		path   string
		header []string
		status int
		tenant string
	}{
		{"/api/items/x", nil, 401, ""},
		{"/api/items/x", []string{"Authorization: Bearer wrong"}, 401, ""},
		{"/api/items/x", []string{acme}, 200, "acme"},
		{"/api/items/x", []string{globex}, 200, "globex"},
		{"/open/items/x", nil, 200, ""},
		{"/open/items/x", []string{"Authorization: Bearer wrong"}, 200, ""},
		{"/open/items/x", []string{globex}, 200, ""},
		{"/open/items/x", []string{acme}, 200, "acme"},
	} {
		a := g.get(c.path, c.header...)
		if a.StatusCode != c.status {
			t.Errorf("%s with %v: %d, want %d", c.path, c.header, a.StatusCode, c.status)
		} else if c.status == 200 && a.seen(t).Get("X-Tenant-Id") != c.tenant {
			t.Errorf("%s with %v: tenant %q, want %q", c.path, c.header, a.seen(t).Get("X-Tenant-Id"), c.tenant)
		}
	}
}

func TestBurstIsAPolicyOfItsOwn(t *testing.T) {
	g := newRig(t, http.HandlerFunc(seen), `
tiers: {standard: {requests: 100, per: 1h, burst: {rate: 1/m, size: 2}}}
`+apiRoutes)
	token := "Authorization: " + g.token(issuer.Claims{Tenant: "acme"})
	g.get("/api/x", token)
	if a := g.get("/api/x", token); a.StatusCode != 200 || a.Header.Get("RateLimit-Policy") != `"tenant";q=100;w=3600, "tenant-burst";q=2;w=120` {
		t.Errorf("within the burst: %d %v", a.StatusCode, a.Header)
	}
	a := g.get("/api/x", token)
	p := a.problem(t)
	if a.StatusCode != 429 || p.Limit != 2 || p.Remaining != 0 || p.RetryAfter > 60 || !strings.Contains(a.body, `["tenant-burst"]`) ||
		a.Header.Get("X-RateLimit-Limit") != "2" || !strings.Contains(a.Header.Get("RateLimit"), `"tenant";r=98`) || !strings.Contains(a.Header.Get("RateLimit"), `"tenant-burst";r=0;t=`) {
		t.Errorf("beyond it: %v %s", a.Header, a.body)
	}
}

func TestRoutesCostWhatTheySay(t *testing.T) {
	g := newRig(t, http.HandlerFunc(seen), `
tiers: {standard: {requests: 3, per: 1h}}
routes:
  - {path: /free, service: app, cost: 0}
  - {path: /dear, service: app, cost: 2}
  - {path: /api, service: app}
`)
	token := "Authorization: " + g.token(issuer.Claims{Tenant: "acme"})
	for range 5 {
		if a := g.get("/free", token); a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
	}
	for i, c := range []struct {
		path   string
		status int
	}{{"/dear", 200}, {"/dear", 429}, {"/api", 200}, {"/api", 429}, {"/free", 200}} {
		if a := g.get(c.path, token); a.StatusCode != c.status {
			t.Errorf("step %d, %s: %d, want %d", i, c.path, a.StatusCode, c.status)
		}
	}
}

func TestTenantChoosesRouteAndService(t *testing.T) {
	named := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(name)) }
	}
	g := newRig(t, named("app"), "")
	other := newRig(t, named("other"), "")
	g2 := newRig(t, named("app"), `
  own: {upstreams: ["`+other.upstream.URL+`"]}
routes:
  - {path: /api/*, service: app, service_for: {tenants: {acme: own}, tiers: {premium: own}}}
  - {path: /only/*, service: own, tenants: [acme]}
  - {path: /mixed/*, service: own, tiers: [premium]}
  - {path: /mixed/*, service: app}
`)
	_ = g
	for _, c := range []struct{ path, tenant, tier, want string }{
		{"/api/x", "acme", "", "other"}, {"/api/x", "globex", "premium", "other"}, {"/api/x", "globex", "", "app"},
		{"/only/x", "acme", "", "other"}, {"/mixed/x", "acme", "premium", "other"}, {"/mixed/x", "acme", "", "app"},
	} {
		if a := g2.get(c.path, "Authorization: "+g2.token(issuer.Claims{Tenant: c.tenant, Tier: c.tier})); a.body != c.want {
			t.Errorf("%s for %s/%s: %d %s, want %s", c.path, c.tenant, c.tier, a.StatusCode, a.body, c.want)
		}
	}
	if a := g2.get("/only/x", "Authorization: "+g2.token(issuer.Claims{Tenant: "globex"})); a.StatusCode != 404 {
		t.Errorf("a route of another tenant: %d", a.StatusCode)
	}
}

// Invariant 4 holds for what never becomes a request, too.
func TestUnreadRequestsHaveAnAccount(t *testing.T) {
	g := newRig(t, http.HandlerFunc(seen), apiRoutes)
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nBad : x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 400 ") || !strings.Contains(string(text), `"status":400`) {
		t.Fatalf("%v: %s", err, text)
	}
	lines := g.lines()
	if len(lines) != 1 || lines[0]["client_ip"] != "127.0.0.1" || lines[0]["status"] != 400.0 || lines[0]["origin"] != "bad-request" {
		t.Errorf("lines %v", lines)
	}
}

package proxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/auth"
	"sluice/conf"
	"sluice/internal/issuer"
	"sluice/store"
)

const keyRoutes = `
tiers: {standard: {requests: 10}, premium: {requests: 50}}
limits: {default_tier: standard}
routes:
  - {path: /api/*, service: app}
  - {name: export, path: /export, service: app, limit: {requests: 4}}
  - {path: /public/*, service: app, auth: none}
`

// object makes an object as the store would tell it; nil is a deleted one.
func object(t testing.TB, kind, id string, revision int64, body any) store.Object {
	t.Helper()
	o := store.Object{Kind: kind, ID: id, Revision: revision, UpdatedMS: time.Now().UnixMilli() + revision, UpdatedBy: "ann"}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		o.Body = text
	}
	return o
}

// limits are the X-RateLimit-Limit and what is left.
func limits(a answer) string {
	return fmt.Sprintf("%d %s/%s", a.StatusCode, a.Header.Get("X-RateLimit-Remaining"), a.Header.Get("X-RateLimit-Limit"))
}

func TestWhatOperatorsDecideHoldsForTheNextRequest(t *testing.T) {
	g := newRig(t, http.HandlerFunc(seen), keyRoutes)
	acme := "Authorization: " + g.token(issuer.Claims{Tenant: "acme"})
	expect := func(what, path, want string) answer {
		t.Helper()
		a := g.get(path, acme)
		if got := limits(a); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
		return a
	}
	use := func(revision int64, tenant any) {
		t.Helper()
		g.UsePolicies([]store.Object{object(t, store.KindTenant, "acme", revision, tenant)}, false)
	}
	expect("by the configuration", "/api/x", "200 9/10")
	use(1, store.Tenant{Tier: "premium"})
	if h := expect("its tier", "/api/x", "200 48/50").seen(t); h.Get("X-Tenant-Tier") != "premium" {
		t.Errorf("the service is told the tier %q", h.Get("X-Tenant-Tier"))
	}
	use(2, store.Tenant{Tier: "premium", Limit: &store.Limit{Requests: 100}})
	expect("its own limit", "/api/x", "200 97/100")
	use(3, store.Tenant{Limit: &store.Limit{Requests: 100}, Raise: &store.Raise{Limit: store.Limit{Requests: 1000}, Until: time.Now().Add(time.Hour), Reason: "launch"}})
	expect("a raise", "/api/x", "200 996/1000")
	use(4, store.Tenant{Limit: &store.Limit{Requests: 100}, Raise: &store.Raise{Limit: store.Limit{Requests: 1000}, Until: time.Now().Add(-time.Second), Reason: "launch"}})
	expect("a raise that is over", "/api/x", "200 95/100")
	expect("the route's limit", "/export", "200 3/4")
	use(5, store.Tenant{Routes: map[string]store.Limit{"export": {Requests: 8}}})
	expect("the tenant's own for the route", "/export", "200 3/10") // the tenant's tier is the tightest
	use(6, store.Tenant{Suspended: "unpaid since May"})
	a := expect("a suspension", "/api/x", "403 /")
	if p := a.problem(t); !strings.HasSuffix(p.Type, "tenant-suspended") || !strings.Contains(p.Detail, "unpaid since May") {
		t.Errorf("%+v", p)
	}
	if a := g.get("/public/x", acme); a.StatusCode != 200 {
		t.Errorf("a route that asks for no credential: %d", a.StatusCode)
	}
	use(7, nil)
	expect("deleted", "/api/x", "200 2/10")

	// The next configuration keeps what was decided.
	use(8, store.Tenant{Tier: "premium"})
	g.apply(strings.Replace(g.text, "premium: {requests: 50}", "premium: {requests: 60}", 1))
	expect("after a reload", "/api/x", "200 51/60")
	g.UsePolicies([]store.Object{object(t, store.KindTier, "premium", 9, store.Tier{Limit: store.Limit{Requests: 70}}), object(t, store.KindTier, "gold", 10, store.Tier{Limit: store.Limit{Requests: 80}})}, false)
	expect("a tier that was decided", "/api/x", "200 60/70")
	use(11, store.Tenant{Tier: "gold"})
	expect("a tier that the configuration does not have", "/api/x", "200 69/80")
	if u := g.Usage("acme", ""); len(u) != 2 || u[1].Policy != "route:export" || u[0].Limit != 80 || u[0].Used != 11 || u[0].Tier != "gold" {
		t.Errorf("usage %+v", u)
	}
	g.UsePolicies(nil, true)
	expect("with nothing decided", "/api/x", "429 0/10")
}

func TestAPolicyThatCannotBeUsedLeavesTheOneBefore(t *testing.T) {
	g := newRig(t, http.HandlerFunc(seen), keyRoutes)
	acme := "Authorization: " + g.token(issuer.Claims{Tenant: "acme"})
	good := object(t, store.KindTenant, "acme", 1, store.Tenant{Limit: &store.Limit{Requests: 100}})
	bad := object(t, store.KindTenant, "acme", 2, store.Tenant{Limit: &store.Limit{Requests: -5}})
	g.UsePolicies([]store.Object{good}, true)
	g.UsePolicies([]store.Object{bad}, false)
	if got := limits(g.get("/api/x", acme)); got != "200 99/100" {
		t.Error(got)
	}
	g.apply(g.text)
	if got := limits(g.get("/api/x", acme)); got != "200 98/100" {
		t.Errorf("after a reload: %s", got)
	}
}

func TestABypassCountsAndRefusesNothing(t *testing.T) {
	g := newRig(t, http.HandlerFunc(seen), strings.Replace(keyRoutes, "requests: 10", "requests: 2", 1))
	acme, other := "Authorization: "+g.token(issuer.Claims{Tenant: "acme"}), "Authorization: "+g.token(issuer.Claims{Tenant: "other"})
	for range 3 {
		g.get("/api/x", acme)
		g.get("/api/x", other)
	}
	for what, c := range map[string]struct {
		b           Bypass
		acme, other int
	}{
		"of everybody":     {Bypass{Until: time.Now().Add(time.Hour)}, 200, 200},
		"of a tenant":      {Bypass{Tenant: "acme", Until: time.Now().Add(time.Hour)}, 200, 429},
		"of a route":       {Bypass{Route: "/api/*", Until: time.Now().Add(time.Hour)}, 200, 200},
		"of another route": {Bypass{Route: "export", Until: time.Now().Add(time.Hour)}, 429, 429},
		"that is over":     {Bypass{Until: time.Now().Add(-time.Second)}, 429, 429},
	} {
		g.UseBypasses([]Bypass{c.b})
		if a, b := g.get("/api/x", acme).StatusCode, g.get("/api/x", other).StatusCode; a != c.acme || b != c.other {
			t.Errorf("a bypass %s: %d %d, want %d %d", what, a, b, c.acme, c.other)
		}
	}
	bypassed := 0
	for _, line := range g.lines() {
		if line["limit_result"] == "bypass" {
			bypassed++
		}
	}
	if bypassed == 0 {
		t.Error("the access log does not tell that a bypass let requests through")
	}
	g.UseBypasses(nil)
	if a := g.get("/api/x", acme); a.StatusCode != 429 {
		t.Errorf("when it is over: %d", a.StatusCode)
	}
}

func TestAPIKeys(t *testing.T) {
	g := newRig(t, http.HandlerFunc(seen), keyRoutes)
	g.text = strings.Replace(g.text, "auth:\n", "auth:\n  api_keys: {}\n", 1)
	g.apply(g.text)
	id := auth.NewKeyID()
	text := auth.NewKey("slc", id)
	hash := auth.HashKey(text)
	key := store.Key{Name: "ci", Tenant: "acme", Hash: hash[:], Permissions: []string{"items:read"}, Routes: []string{"/api/*"}, Limit: &store.Limit{Requests: 3}}
	use := func(revision int64, body any) {
		t.Helper()
		g.UsePolicies([]store.Object{object(t, store.KindKey, id, revision, body)}, false)
	}
	if a := g.get("/api/x", "X-API-Key: "+text); a.StatusCode != 401 || !strings.Contains(a.Header.Get("WWW-Authenticate"), "invalid_token") {
		t.Errorf("a key that nobody made: %d %v", a.StatusCode, a.Header)
	}
	use(1, key)
	for _, header := range []string{"X-API-Key: " + text, "Authorization: Bearer " + text} {
		a := g.get("/api/x", header)
		if a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		if h := a.seen(t); h.Get("X-Tenant-Id") != "acme" || h.Get("X-Auth-Subject") != "key:"+id || h.Get("X-Api-Key") != "" || h.Get("Authorization") != "" {
			t.Errorf("the service sees %v", h)
		}
	}
	if a := g.get("/api/x", "X-API-Key: "+text, "Authorization: "+g.token(issuer.Claims{Tenant: "evil"})); a.StatusCode != 400 {
		t.Errorf("two credentials: %d", a.StatusCode)
	}
	if a := g.get("/export", "X-API-Key: "+text); a.StatusCode != 403 {
		t.Errorf("another route: %d", a.StatusCode)
	}
	if got := limits(g.get("/api/x", "X-API-Key: "+text)); got != "200 0/3" {
		t.Errorf("its own limit: %s", got)
	}
	if got := limits(g.get("/api/x", "X-API-Key: "+text)); got != "429 0/3" {
		t.Errorf("its own limit: %s", got)
	}
	if used := g.KeysUsed(); time.Since(used[id]) > time.Hour {
		t.Errorf("last used %v", used)
	}
	key.Limit = nil
	use(2, key)
	if got := limits(g.get("/api/x", "X-API-Key: "+text)); got != "200 6/10" {
		t.Errorf("the tenant's limit: %s", got)
	}
	next := auth.HashKey(auth.NewKey("slc", id))
	key.Hash, key.Rotated = next[:], &store.Rotated{Hash: hash[:], Until: time.Now().Add(time.Hour)}
	use(3, key)
	if a := g.get("/api/x", "X-API-Key: "+text); a.StatusCode != 200 {
		t.Errorf("rotated, within the overlap: %d", a.StatusCode)
	}
	key.Rotated.Until = time.Now().Add(-time.Second)
	use(4, key)
	if a := g.get("/api/x", "X-API-Key: "+text); a.StatusCode != 401 {
		t.Errorf("rotated, after the overlap: %d", a.StatusCode)
	}
	key.Hash = hash[:]
	use(5, key)
	use(6, nil)
	if a := g.get("/api/x", "X-API-Key: "+text); a.StatusCode != 401 {
		t.Errorf("revoked: %d", a.StatusCode)
	}
	use(7, key)
	g.UsePolicies(nil, true)
	if a := g.get("/api/x", "X-API-Key: "+text); a.StatusCode != 401 {
		t.Errorf("not among all there are: %d", a.StatusCode)
	}
	for _, line := range g.lines() {
		if s := fmt.Sprint(line); strings.Contains(s, text) {
			t.Errorf("the log tells the key: %s", s)
		}
	}
}

// BenchmarkUsePolicies is the start of a node with 100,000 tenants and keys, and
// one change after it.
func BenchmarkUsePolicies(b *testing.B) {
	g := newRig(b, http.HandlerFunc(seen), keyRoutes)
	objects := make([]store.Object, 0, 200_000)
	for i := range 100_000 {
		objects = append(objects, object(b, store.KindTenant, fmt.Sprintf("tenant-%06d", i), int64(i), store.Tenant{Tier: "premium", Limit: &store.Limit{Requests: int64(i + 1), Per: conf.Duration(time.Hour)}}))
		id := fmt.Sprintf("%012d", i)
		hash := auth.HashKey(id)
		objects = append(objects, object(b, store.KindKey, id, int64(i), store.Key{Name: "x", Tenant: "acme", Hash: hash[:]}))
	}
	b.Run("start", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			g.UsePolicies(objects, true)
		}
	})
	b.Run("tier", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			g.UsePolicies([]store.Object{object(b, store.KindTier, "premium", int64(i), store.Tier{Limit: store.Limit{Requests: int64(i + 1)}})}, false)
		}
	})
	b.Run("change", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			g.UsePolicies(objects[i%1000*2:i%1000*2+1], false)
		}
	})
}

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/auth"
	"sluice/conf"
	"sluice/store"
)

// desk are the policies of a test: a real store, and what the gateway would say.
type desk struct {
	*store.Store
	mu       sync.Mutex
	bypasses []Bypass
	down     bool
}

func newDesk(t testing.TB) *desk {
	s, err := store.Open(store.Options{URL: "sqlite://" + filepath.Join(t.TempDir(), "s.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &desk{Store: s}
}

func (d *desk) Put(ctx context.Context, by store.Entry, match int64, kind, id string, body json.RawMessage) (store.Object, error) {
	if d.down {
		return store.Object{}, store.ErrDown
	}
	return d.Store.Put(ctx, by, match, kind, id, body)
}

func (d *desk) Entries(ctx context.Context, before int64, limit int, f store.Filter) ([]store.Entry, error) {
	return d.Audit(ctx, before, limit, f)
}

func (d *desk) Tiers() map[string]conf.Limit {
	tiers := map[string]conf.Limit{"standard": {Requests: 1000, Per: conf.Duration(time.Hour)}, "premium": {Requests: 5000, Per: conf.Duration(time.Hour)}}
	list, err := d.List(context.Background(), store.Query{Kind: store.KindTier, Limit: 10})
	if err != nil {
		panic(err)
	}
	for _, o := range list {
		tiers[o.ID] = conf.Limit{Requests: 1, Per: conf.Duration(time.Hour)}
	}
	return tiers
}
func (d *desk) Routes() []string  { return []string{"export", "/api/*"} }
func (d *desk) KeyPrefix() string { return "slc" }
func (d *desk) CheckExclusion(rule int, tag string) error {
	if rule == 4711 {
		return errors.New("the firewall has no rule with this id")
	}
	return nil
}
func (d *desk) Usage(tenant, tier string) []Usage {
	return []Usage{{Policy: "tenant", Tier: "standard", Limit: 1000, Used: 3, Remaining: 997, Window: conf.Duration(time.Hour), Reset: time.Now().UTC()}}
}

func (d *desk) Bypasses() []Bypass {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Bypass{}, d.bypasses...)
}

func (d *desk) StartBypass(b Bypass) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bypasses = append(d.bypasses, b)
	return nil
}

func (d *desk) EndBypass(id string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, b := range d.bypasses {
		if b.ID == id {
			d.bypasses = append(d.bypasses[:i], d.bypasses[i+1:]...)
			return true, nil
		}
	}
	return false, nil
}

const asAdmin, asOperator, asViewer = "Bearer oidc-admin", "Bearer oidc-operator", "Bearer oidc-viewer"

// with sends a request with header fields, "Name: value".
func with(t testing.TB, s *Server, method, path, authorization, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", authorization)
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	return do(t, s, r)
}

// expect fails unless the answer has the status; it returns the body.
func expect(t testing.TB, w *httptest.ResponseRecorder, status int) string {
	t.Helper()
	if w.Code != status {
		t.Errorf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	return w.Body.String()
}

// faults are where an answer says that something is wrong.
func faults(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	expect(t, w, http.StatusUnprocessableEntity)
	var p struct {
		Errors []struct{ Pointer, Parameter string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	var at []string
	for _, e := range p.Errors {
		at = append(at, e.Pointer+e.Parameter)
	}
	return strings.Join(at, " ")
}

func TestTenantsAreDecidedByRevision(t *testing.T) {
	s, _ := newServer(t, new(bool))
	w := send(t, s, "PUT", "/api/v1/tenants/acme", asOperator, `{"name":"Acme","tier":"premium"}`)
	expect(t, w, 201)
	tag := w.Header().Get("ETag")
	if tag == "" {
		t.Fatal("no ETag")
	}
	expect(t, with(t, s, "PUT", "/api/v1/tenants/acme", asOperator, `{}`, "If-None-Match: *"), 412)
	expect(t, with(t, s, "PUT", "/api/v1/tenants/acme", asOperator, `{"tier":"standard"}`, "If-Match: "+tag), 200)
	expect(t, with(t, s, "PUT", "/api/v1/tenants/acme", asOperator, `{"tier":"premium"}`, "If-Match: "+tag), 412)
	expect(t, with(t, s, "PATCH", "/api/v1/tenants/acme", asOperator, `{"tier":"premium"}`, "If-Match: "+tag), 412)
	expect(t, with(t, s, "DELETE", "/api/v1/tenants/acme", asAdmin, "", "If-Match: "+tag), 412)
	got := expect(t, send(t, s, "PATCH", "/api/v1/tenants/acme", asOperator, `{"limit":{"requests":7,"per":"1m"},"notes":"x"}`), 200)
	if !strings.Contains(got, `"tier": "standard"`) || !strings.Contains(got, `"per": "1m"`) {
		t.Errorf("patched: %s", got)
	}
	got = expect(t, send(t, s, "PATCH", "/api/v1/tenants/acme", asOperator, `{"limit":null,"notes":null}`), 200)
	if strings.Contains(got, `"limit"`) || !strings.Contains(got, `"tier": "standard"`) {
		t.Errorf("patched: %s", got)
	}
	expect(t, send(t, s, "PATCH", "/api/v1/tenants/new", asOperator, `{"notes":"by patch"}`), 201)
	expect(t, send(t, s, "PUT", "/api/v1/tenants/dry?dry_run=true", asOperator, `{"tier":"premium"}`), 200)
	expect(t, ask(t, s, "GET", "/api/v1/tenants/dry", asViewer), 404)
	expect(t, ask(t, s, "DELETE", "/api/v1/tenants/acme?reason=left", asAdmin), 204)
	expect(t, ask(t, s, "DELETE", "/api/v1/tenants/acme?reason=left", asAdmin), 404)
	expect(t, ask(t, s, "GET", "/api/v1/tenants/acme", asViewer), 404)

	got = expect(t, ask(t, s, "GET", "/api/v1/audit?kind=tenant&id=acme&limit=2", asViewer), 200)
	var trail struct {
		Items []store.Entry
		Next  string
	}
	if err := json.Unmarshal([]byte(got), &trail); err != nil || len(trail.Items) != 2 {
		t.Fatalf("%v %s", err, got)
	}
	first := trail.Items[0]
	if first.Action != "DELETE /api/v1/tenants/{id}" || first.Operator != "the admin" || first.Reason != "left" || first.After != nil ||
		!strings.Contains(string(first.Before), "standard") || first.Address != "192.0.2.1" {
		t.Errorf("%+v", first)
	}
	expect(t, ask(t, s, "GET", "/api/v1/audit?kind=tenant&id=acme&after="+trail.Next, asViewer), 200)
	if got := faults(t, ask(t, s, "GET", "/api/v1/audit?after=x", asViewer)); got != "after" {
		t.Error(got)
	}
}

func TestTenantsAreSuspendedAndRaised(t *testing.T) {
	s, _ := newServer(t, new(bool))
	expect(t, send(t, s, "POST", "/api/v1/tenants/acme/resume", asOperator, ""), 404)
	expect(t, send(t, s, "POST", "/api/v1/tenants/acme/suspend", asOperator, `{"reason":"unpaid"}`), 201)
	if got := expect(t, ask(t, s, "GET", "/api/v1/tenants?suspended=true", asViewer), 200); !strings.Contains(got, "unpaid") {
		t.Error(got)
	}
	expect(t, send(t, s, "POST", "/api/v1/tenants/acme/resume", asOperator, ""), 200)
	expect(t, send(t, s, "POST", "/api/v1/tenants/acme/resume", asOperator, ""), 409)
	got := expect(t, send(t, s, "POST", "/api/v1/tenants/acme/raise", asOperator, `{"limit":{"requests":9000},"for":"2h","reason":"launch"}`), 200)
	if !strings.Contains(got, `"requests": 9000`) || strings.Contains(got, "suspended") {
		t.Error(got)
	}
	if got := faults(t, send(t, s, "POST", "/api/v1/tenants/acme/raise", asOperator, `{"limit":{"requests":9000},"for":"91d","reason":"launch"}`)); got != "#/for" {
		t.Error(got)
	}
	expect(t, ask(t, s, "GET", "/api/v1/tenants/acme/usage", asViewer), 200)
}

func TestRolesHoldForPolicies(t *testing.T) {
	s, _ := newServer(t, new(bool))
	for _, c := range []struct{ method, path, who string }{
		{"PUT", "/api/v1/tenants/a", asViewer}, {"PATCH", "/api/v1/tenants/a", asViewer}, {"DELETE", "/api/v1/tenants/a", asOperator},
		{"POST", "/api/v1/tenants/a/suspend", asViewer}, {"PUT", "/api/v1/tiers/a", asOperator}, {"DELETE", "/api/v1/tiers/a", asOperator},
		{"POST", "/api/v1/keys", asOperator}, {"POST", "/api/v1/keys/a/rotate", asOperator}, {"DELETE", "/api/v1/keys/a", asOperator},
		{"POST", "/api/v1/bypasses", asViewer}, {"DELETE", "/api/v1/bypasses/a", asViewer},
	} {
		expect(t, send(t, s, c.method, c.path, c.who, `{}`), 403)
	}
}

// Names that look like code are names; what no credential can hold is refused.
func TestNamesOfTenantsAreData(t *testing.T) {
	s, _ := newServer(t, new(bool))
	for _, id := range []string{"a'--", "%", "_", "org_1|x", "a/b", "..", "$1", "A=B&c=d"} {
		path := "/api/v1/tenants/" + strings.ReplaceAll(url.PathEscape(id), "..", "%2E%2E")
		expect(t, send(t, s, "PUT", path, asOperator, `{"name":"'; DROP TABLE objects; -- Zoë \u0000 🚀"}`), 201)
		if got := expect(t, ask(t, s, "GET", path, asViewer), 200); !strings.Contains(got, "Zoë") {
			t.Error(got)
		}
	}
	for _, id := range []string{"Zoë", "a b", "a,b", "x\x00", strings.Repeat("x", 129), `"`} {
		if got := faults(t, send(t, s, "PUT", "/api/v1/tenants/"+url.PathEscape(id), asOperator, `{}`)); got != "id" {
			t.Errorf("%q: %s", id, got)
		}
	}
}

func TestEachFieldsErrorsAreSaid(t *testing.T) {
	s, _ := newServer(t, new(bool))
	for _, c := range []struct{ method, path, body, want string }{
		{"PUT", "tenants/a", `{"tier":"gold","limit":{"requests":0},"routes":{"nope":{"requests":1}},"x":1}`, "#/x #/limit/requests"},
		{"PUT", "tenants/a", `{"tier":"gold","limit":{"requests":5,"per":"1ms"},"routes":{"nope":{"requests":1,"burst":{"rate":"1/s","size":2147483647}}}}`, "#/limit #/tier #/routes/nope #/routes/nope"},
		{"PUT", "tenants/a", `{"raise":{"limit":{"requests":5}}}`, "#/raise/until #/raise/reason"},
		{"PUT", "tenants/a", `{"limit":{"requests":5,"per":"soon","burst":{"rate":"fast"}}}`, "#/limit/per #/limit/burst/rate"},
		{"PUT", "tiers/a", `{"requests":5,"per":"5"}`, "#/per"},
		{"PATCH", "tenants/a", `{"limit":{"requests":"many"}}`, "#/limit/requests"},
		{"POST", "tenants/a/suspend", `{"reason":""}`, "#/reason"},
		{"PUT", "tiers/gold", `{}`, "#/requests"},
		{"PUT", "tiers/go%20ld", `{"requests":1}`, "name"},
		{"PUT", "tiers/gold", `{"requests":1,"per":"400d"}`, "#"},
		{"POST", "keys", `{"name":"","permissions":["a b"]}`, "#/tenant #/name #/permissions/0"},
		{"POST", "keys", `{"name":"x","tenant":"a b","addresses":["192.0.2.1/24"],"for":"1h","expires":"2031-01-01T00:00:00Z"}`, "#/addresses/0 #/expires #/tenant"},
		{"POST", "bypasses", `{"reason":"x"}`, "#/for #/all"},
		{"POST", "bypasses", `{"reason":"x","for":"25h","route":"nope"}`, "#/for #/route"},
	} {
		if got := faults(t, send(t, s, c.method, "/api/v1/"+c.path, asAdmin, c.body)); !sameWords(got, c.want) {
			t.Errorf("%s %s: faults at %s, want %s", c.path, c.body, got, c.want)
		}
	}
	if got := expect(t, send(t, s, "PUT", "/api/v1/tenants/a", asAdmin, `{"limit":{"requests":5,"per":"5"}}`), 422); !strings.Contains(got, "5s") {
		t.Errorf("it does not say what would be right: %s", got)
	}
	for _, body := range []string{"", "{", "[]x", `{"notes":"\ud800"`} {
		expect(t, send(t, s, "PUT", "/api/v1/tenants/a", asAdmin, body), 400)
	}
}

func sameWords(a, b string) bool {
	count := map[string]int{}
	for _, w := range strings.Fields(a) {
		count[w]++
	}
	for _, w := range strings.Fields(b) {
		count[w]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

func TestListsOfTenantsArePagedFilteredAndSorted(t *testing.T) {
	s, _ := newServer(t, new(bool))
	for i := range 25 {
		tier := []string{"standard", "premium"}[i%2]
		expect(t, send(t, s, "PUT", fmt.Sprintf("/api/v1/tenants/t-%02d", i*7%25), asOperator, fmt.Sprintf(`{"tier":%q,"name":"Name %d"}`, tier, i)), 201)
	}
	walk := func(query string) (ids []string) {
		t.Helper()
		for after := ""; ; {
			w := ask(t, s, "GET", "/api/v1/tenants?"+query+"&after="+after, asViewer)
			var page struct {
				Items []store.Tenant
				Next  string
			}
			if err := json.Unmarshal([]byte(expect(t, w, 200)), &page); err != nil {
				t.Fatal(err)
			}
			for _, it := range page.Items {
				ids = append(ids, it.ID)
			}
			if after = page.Next; after == "" {
				return ids
			}
		}
	}
	for query, want := range map[string]string{
		"limit=10": "25 t-00 t-24", "limit=7&sort=-id": "25 t-24 t-00", "limit=10&sort=updated": "25 t-00 t-18", "limit=4&sort=-updated": "25 t-18 t-00",
		"limit=3&tier=premium": "12 t-02 t-24", "q=T-1&limit=4": "10 t-10 t-19", "q=name+24": "1 t-18 t-18", "limit=1000": "25 t-00 t-24",
	} {
		ids := walk(query)
		if got := fmt.Sprint(len(ids), " ", ids[0], " ", ids[len(ids)-1]); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	for query, want := range map[string]string{"limit=0": "limit", "limit=100000000": "limit", "limit=x": "limit", "sort=color": "sort", "after=zzz": "after"} {
		if got := faults(t, ask(t, s, "GET", "/api/v1/tenants?"+query, asViewer)); got != want {
			t.Errorf("%s: %s", query, got)
		}
	}
}

// Of many operators who change one tenant at once, none undoes another's work
// unseen.
func TestOperatorsAtOnceDoNotUndoEachOther(t *testing.T) {
	s, _ := newServer(t, new(bool))
	expect(t, send(t, s, "PUT", "/api/v1/tenants/acme", asOperator, `{"notes":"0"}`), 201)
	var all sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 8 {
		all.Go(func() {
			for range 5 {
				w := ask(t, s, "GET", "/api/v1/tenants/acme", asViewer)
				var now store.Tenant
				if err := json.Unmarshal(w.Body.Bytes(), &now); err != nil {
					t.Error(err)
					return
				}
				w = with(t, s, "PUT", "/api/v1/tenants/acme", asOperator, fmt.Sprintf(`{"notes":"%sx"}`, now.Notes), "If-Match: "+w.Header().Get("ETag"))
				switch w.Code {
				case 200:
					mu.Lock()
					won++
					mu.Unlock()
				case 412:
				default:
					t.Errorf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
	all.Wait()
	var now store.Tenant
	if err := json.Unmarshal(ask(t, s, "GET", "/api/v1/tenants/acme", asViewer).Body.Bytes(), &now); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(now.Notes, "x"); got != won || won == 0 {
		t.Errorf("%d changes were accepted, %d are there", won, got)
	}
}

func TestTiersAreSeededByTheFile(t *testing.T) {
	s, _ := newServer(t, new(bool))
	if got := expect(t, ask(t, s, "GET", "/api/v1/tiers", asViewer), 200); strings.Count(got, `"source": "file"`) != 2 {
		t.Error(got)
	}
	expect(t, ask(t, s, "DELETE", "/api/v1/tiers/premium", asAdmin), 409)
	expect(t, ask(t, s, "DELETE", "/api/v1/tiers/gold", asAdmin), 404)
	expect(t, send(t, s, "PUT", "/api/v1/tiers/gold?dry_run=true", asAdmin, `{"requests":5}`), 200)
	expect(t, ask(t, s, "GET", "/api/v1/tiers/gold", asViewer), 404)
	expect(t, send(t, s, "PUT", "/api/v1/tiers/gold", asAdmin, `{"requests":9,"per":"1m","burst":{"rate":"5/s","size":9}}`), 201)
	w := ask(t, s, "GET", "/api/v1/tiers/gold", asViewer)
	if got := expect(t, w, 200); !strings.Contains(got, `"source": "api"`) {
		t.Error(got)
	}
	expect(t, with(t, s, "PUT", "/api/v1/tiers/gold", asAdmin, `{"requests":10}`, "If-Match: "+w.Header().Get("ETag")), 200)
	expect(t, with(t, s, "PUT", "/api/v1/tiers/gold", asAdmin, `{"requests":11}`, "If-Match: "+w.Header().Get("ETag")), 412)
	expect(t, send(t, s, "PUT", "/api/v1/tenants/acme", asOperator, `{"tier":"gold"}`), 201)
	if got := expect(t, ask(t, s, "DELETE", "/api/v1/tiers/gold", asAdmin), 409); !strings.Contains(got, "acme") {
		t.Error(got)
	}
	expect(t, ask(t, s, "DELETE", "/api/v1/tenants/acme", asAdmin), 204)
	expect(t, ask(t, s, "DELETE", "/api/v1/tiers/gold", asAdmin), 204)
}

func TestAKeysTextIsShownOnce(t *testing.T) {
	s, _ := newServer(t, new(bool))
	desk := s.deps.Policies.(*desk)
	key := func(w *httptest.ResponseRecorder, status int) (k Key) {
		t.Helper()
		if err := json.Unmarshal([]byte(expect(t, w, status)), &k); err != nil {
			t.Fatal(err)
		}
		return k
	}
	made := key(with(t, s, "POST", "/api/v1/keys", asAdmin, `{"name":"ci","tenant":"acme","routes":["export"],"addresses":["192.0.2.0/24"],"permissions":["a:b"],"limit":{"requests":5},"for":"30d"}`, "Idempotency-Key: once"), 201)
	if auth.ParseKey("slc", made.Text) != made.ID {
		t.Fatalf("%+v", made)
	}
	if again := expect(t, with(t, s, "POST", "/api/v1/keys", asAdmin, `{"name":"ci","tenant":"acme"}`, "Idempotency-Key: once"), 409); !strings.Contains(again, made.ID) {
		t.Error(again)
	}
	o, err := desk.Get(t.Context(), store.KindKey, made.ID)
	if err != nil || strings.Contains(string(o.Body), made.Text[len("slc_live_")+12:]) {
		t.Errorf("kept: %s %v", o.Body, err)
	}
	kept, err := store.ParseKey(o)
	if hash := auth.HashKey(made.Text); err != nil || auth.KeyHash(kept.Hash) != hash {
		t.Errorf("the hash is not the text's: %v", err)
	}
	shown := key(ask(t, s, "GET", "/api/v1/keys/"+made.ID, asViewer), 200)
	if shown.Text != "" || shown.Hash != nil || shown.Name != "ci" {
		t.Errorf("%+v", shown)
	}
	next := key(send(t, s, "POST", "/api/v1/keys/"+made.ID+"/rotate", asAdmin, `{"overlap":"24h","reason":"leaked"}`), 200)
	if next.Text == made.Text || auth.ParseKey("slc", next.Text) != made.ID || next.Rotated == nil || next.Rotated.Hash != nil {
		t.Errorf("%+v", next)
	}
	now := key(send(t, s, "POST", "/api/v1/keys/"+made.ID+"/rotate", asAdmin, `{}`), 200)
	if now.Rotated != nil {
		t.Errorf("without an overlap the text before still opens: %+v", now)
	}
	if got := faults(t, send(t, s, "POST", "/api/v1/keys/"+made.ID+"/rotate", asAdmin, `{"overlap":"31d"}`)); got != "#/overlap" {
		t.Error(got)
	}
	if changed := key(send(t, s, "PATCH", "/api/v1/keys/"+made.ID, asAdmin, `{"routes":[],"name":"cd"}`), 200); changed.Routes != nil || changed.Name != "cd" || changed.Tenant != "acme" {
		t.Errorf("%+v", changed)
	}
	if got := expect(t, ask(t, s, "GET", "/api/v1/keys?tenant=acme&q=c", asViewer), 200); !strings.Contains(got, made.ID) || strings.Contains(got, "hash") {
		t.Error(got)
	}
	if got := expect(t, ask(t, s, "GET", "/api/v1/keys?tenant=other", asViewer), 200); strings.Contains(got, made.ID) {
		t.Error(got)
	}
	expect(t, ask(t, s, "DELETE", "/api/v1/keys/"+made.ID+"?reason=over", asAdmin), 204)
	expect(t, ask(t, s, "DELETE", "/api/v1/keys/"+made.ID+"?reason=over", asAdmin), 404)
	trail := expect(t, ask(t, s, "GET", "/api/v1/audit?kind=key", asViewer), 200)
	for _, secret := range []string{made.Text, next.Text, now.Text, "hash"} {
		if strings.Contains(trail, secret) {
			t.Errorf("the audit has %q", secret)
		}
	}
}

func TestBypassesAreMadeAndEnded(t *testing.T) {
	s, _ := newServer(t, new(bool))
	var made Bypass
	if err := json.Unmarshal([]byte(expect(t, send(t, s, "POST", "/api/v1/bypasses", asOperator, `{"tenant":"acme","for":"15m","reason":"incident 7"}`), 201)), &made); err != nil {
		t.Fatal(err)
	}
	if e := s.deps.Audit.(*journal).last(t); e.Kind != "bypass" || e.ID != made.ID || e.Reason != "incident 7" {
		t.Errorf("%+v", e)
	}
	if got := expect(t, ask(t, s, "GET", "/api/v1/bypasses", asViewer), 200); !strings.Contains(got, made.ID) {
		t.Error(got)
	}
	expect(t, ask(t, s, "DELETE", "/api/v1/bypasses/"+made.ID, asOperator), 204)
	expect(t, ask(t, s, "DELETE", "/api/v1/bypasses/"+made.ID, asOperator), 404)
}

func TestChangesAreRefusedWhileTheDatabaseIsDown(t *testing.T) {
	s, _ := newServer(t, new(bool))
	s.deps.Policies.(*desk).down = true
	w := send(t, s, "PUT", "/api/v1/tenants/acme", asOperator, `{}`)
	if expect(t, w, 503); w.Header().Get("Retry-After") == "" {
		t.Errorf("%v", w.Header())
	}
	if err := storeRefusal("tenant", store.Object{}, "x", ErrNoStore); !strings.Contains(err.Error(), "store.url") || errors.Is(err, ErrNoStore) {
		t.Error(err)
	}
}

func FuzzMergePatch(f *testing.F) {
	f.Add(`{"a":"b"}`, `{"a":null,"c":{"d":null}}`)
	f.Add(`{"a":{"b":1}}`, `{"a":{"b":{"c":null}}}`)
	f.Fuzz(func(t *testing.T, target, patch string) {
		var a, b map[string]any
		if json.Unmarshal([]byte(target), &a) != nil || json.Unmarshal([]byte(patch), &b) != nil || a == nil {
			return
		}
		mergePatch(a, b)
		once := fmt.Sprint(a)
		mergePatch(a, b)
		if again := fmt.Sprint(a); again != once {
			t.Errorf("applied twice it gives %s, once %s", again, once)
		}
	})
}

// A provider that is down locks nobody out for good: tokens that nobody can verify
// are no guesses.
func TestTokensThatNobodyCanVerifyAreNoGuesses(t *testing.T) {
	s, _ := newServer(t, new(bool))
	for range guessesAtOnce + 5 {
		expect(t, ask(t, s, "GET", "/api/v1/status", "Bearer early"), 503)
	}
	expect(t, ask(t, s, "GET", "/api/v1/status", asViewer), 200)
}

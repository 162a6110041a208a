package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/conf"
	"sluice/telemetry"
)

const token = "0123456789abcdef0123456789"

type text string

func (t text) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, string(t))
	return int64(n), err
}

// newServer returns a server whose next reload is refused when refused says so.
func newServer(t *testing.T, refused *bool) (*Server, *telemetry.Health) {
	t.Helper()
	health := new(telemetry.Health)
	return New(Deps{
		Token: token, Metrics: text("sluice_x 1\n"), Health: health, Log: slog.New(slog.DiscardHandler),
		Audit: new(journal), Cluster: oneNode{}, Operators: staff{}, Captures: &rules{}, Live: quiet{}, Bans: newBook(), FileBans: fileBans, Policies: newDesk(t),
		Status: func() any {
			return map[string]any{
				"node": "gw-1", "build": map[string]string{"version": "1", "go": "go"}, "started": time.Now(), "uptime": "1s", "ready": true,
				"config": map[string]any{"file": "f", "hash": "h", "last_reload_ok": true}, "listeners": map[string]string{}, "generation": 1,
			}
		},
		Config: func() []byte { return []byte("node: {name: gw-1}\n") },
		Reload: func(context.Context) (Reloaded, bool) {
			if *refused {
				return Reloaded{Hash: "old", Problems: conf.Problems{{Message: "wrong", Position: conf.Position{File: "f", Line: 3, Column: 5}}}}, false
			}
			return Reloaded{Hash: "new", Changed: true}, true
		},
	}), health
}

// journal is the audit of a test.
type journal struct {
	sync.Mutex
	entries []Entry
}

func (j *journal) Record(_ context.Context, e *Entry) {
	j.Lock()
	defer j.Unlock()
	j.entries = append(j.entries, *e)
}

func (j *journal) last(t *testing.T) Entry {
	t.Helper()
	j.Lock()
	defer j.Unlock()
	if len(j.entries) == 0 {
		t.Fatal("nothing is in the audit")
	}
	return j.entries[len(j.entries)-1]
}

// staff are operators whose token is their role.
type staff struct{}

func (staff) Operator(_ context.Context, token string) (Operator, error) {
	if token == "stale" {
		return Operator{}, fmt.Errorf("test: %w", ErrStaleToken)
	}
	if token == "early" {
		return Operator{}, fmt.Errorf("test: %w", ErrNoKeys)
	}
	role, ok := strings.CutPrefix(token, "oidc-")
	if !ok {
		return Operator{}, errors.New("no such token")
	}
	return Operator{Name: "the " + role, Role: ParseRole(role), Method: MethodOIDC}, nil
}

type oneNode struct{}

func (oneNode) Status() (any, error) {
	return map[string]any{
		"node": "gw-1", "address": "127.0.0.1:1", "members": []any{}, "peers": []any{}, "facts": 0,
		"gossip": map[string]any{"bytes_in": 1, "bytes_out": 2, "lag_ms": 0.5},
		"limits": map[string]any{"authority": "home", "epoch": 1, "ready": true, "fenced": false, "keys": 0, "books": 0, "takes": 0, "reports": 0, "recalls": 0, "reclaims": 0},
	}, nil
}

func (oneNode) Quota(_ context.Context, tenant, route string) (any, error) {
	if route == "gone" {
		return nil, errors.New("there is no route gone")
	}
	return map[string]any{
		"tenant": tenant, "policy": "tenant", "known": true, "authority": "home", "home": "gw-1", "limit": 10, "used": 3, "held": 2, "free": 5,
		"nodes": []any{map[string]any{"node": "gw-1", "life": "0a", "held": 2, "used": 3}},
	}, nil
}

func (oneNode) Keys(_ context.Context, change KeyChange) (any, error) {
	if change.Fingerprint == "gone" {
		return nil, errors.New("no member has it")
	}
	return []map[string]any{{"name": "gw-1", "primary": "ab", "keys": []string{"ab"}}}, nil
}

func ask(t testing.TB, s *Server, method, path, authorization string) *httptest.ResponseRecorder {
	t.Helper()
	return send(t, s, method, path, authorization, "")
}

func send(t testing.TB, s *Server, method, path, authorization, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return do(t, s, r)
}

// Invariant 1.
func TestOnlyTheOperatorSeesInside(t *testing.T) {
	s, _ := newServer(t, new(bool))
	for _, c := range []struct{ method, path string }{
		{"GET", "/api/v1/status"}, {"GET", "/api/v1/config"}, {"POST", "/api/v1/config:reload"},
		{"GET", "/debug/pprof/"}, {"GET", "/debug/pprof/cmdline"},
	} {
		for _, wrong := range []string{"", "Bearer", "Bearer ", "Bearer wrong", "Basic " + token, token, "Bearer " + token + "x", "Bearer " + token[1:]} {
			s.guesses = newGuesses(time.Now)
			w := ask(t, s, c.method, c.path, wrong)
			if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s with %q: %d %v", c.path, wrong, w.Code, w.Header())
			}
		}
	}
	if w := ask(t, s, "GET", "/api/v1/status", "bearer "+token); w.Code != 200 || !strings.Contains(w.Body.String(), "gw-1") {
		t.Errorf("with the token: %d %s", w.Code, w.Body)
	}
	if w := ask(t, s, "GET", "/api/v1/config", "Bearer "+token); w.Body.String() != "node: {name: gw-1}\n" {
		t.Errorf("configuration: %d %s", w.Code, w.Body)
	}
}

func TestHealthAndMetricsNeedNoToken(t *testing.T) {
	s, health := newServer(t, new(bool))
	if w := ask(t, s, "GET", "/metrics", ""); w.Code != 200 || w.Body.String() != "sluice_x 1\n" || w.Header().Get("Content-Type") != telemetry.MetricsContentType {
		t.Errorf("metrics: %d %v %s", w.Code, w.Header(), w.Body)
	}
	health.Set("keys", errors.New("none yet"))
	if w := ask(t, s, "GET", "/healthz", ""); w.Code != 200 {
		t.Errorf("alive but not ready: %d", w.Code)
	}
	if w := ask(t, s, "GET", "/readyz", ""); w.Code != 503 || !strings.Contains(w.Body.String(), "none yet") {
		t.Errorf("not ready: %d %s", w.Code, w.Body)
	}
	health.Set("keys", nil)
	if w := ask(t, s, "GET", "/readyz", ""); w.Code != 200 {
		t.Errorf("ready: %d", w.Code)
	}
}

func TestReloadSaysWhatCameOfIt(t *testing.T) {
	var refused bool
	s, _ := newServer(t, &refused)
	w := ask(t, s, "POST", "/api/v1/config:reload", "Bearer "+token)
	var got Reloaded
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || !got.Changed || got.Hash != "new" {
		t.Errorf("%d %v %s", w.Code, err, w.Body)
	}
	refused = true
	w = ask(t, s, "POST", "/api/v1/config:reload", "Bearer "+token)
	got = Reloaded{}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusUnprocessableEntity || got.Hash != "old" ||
		len(got.Problems) != 1 || got.Problems[0].Error() != "f:3:5: wrong" {
		t.Errorf("refused: %d %v %s", w.Code, err, w.Body)
	}
	w = httptest.NewRecorder()
	if s.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/config:reload", nil)); w.Code == 200 {
		t.Error("a GET reloads")
	}
}

// Invariant 1.
func TestRolesBoundWhatAnOperatorMayDo(t *testing.T) {
	s, _ := newServer(t, new(bool))
	for _, r := range s.routes {
		method, path, _ := strings.Cut(r.pattern, " ")
		if strings.HasPrefix(path, "/debug/pprof/profile") || strings.HasPrefix(path, "/debug/pprof/trace") {
			continue // they take their time
		}
		path = strings.NewReplacer("{", "", "}", "").Replace(path)
		for role := RoleNone; role <= RoleAdmin; role++ {
			w := ask(t, s, method, path, "Bearer oidc-"+role.String())
			if forbidden := w.Code == http.StatusForbidden; forbidden != (role < r.role) {
				t.Errorf("%s as %s: %d %s", r.pattern, role, w.Code, w.Body)
			}
		}
	}
}

// Invariant 3.
func TestGuessingFromAnAddressIsLimited(t *testing.T) {
	now := time.Now()
	s, _ := newServer(t, new(bool))
	s.guesses = newGuesses(func() time.Time { return now })
	get := func(address, authorization string) int {
		r := httptest.NewRequest("GET", "/api/v1/status", nil)
		r.RemoteAddr = address
		r.Header.Set("Authorization", authorization)
		return do(t, s, r).Code
	}
	for i := range guessesAtOnce {
		get("192.0.2.1:1", "")              // asks for nothing
		get("192.0.2.1:1", "Bearer stale")  // was right once
		get("192.0.2.1:1", "Bearer "+token) // is right
		if code := get("192.0.2.1:1", "Bearer wrong"); code != 401 {
			t.Fatalf("guess %d: %d", i, code)
		}
	}
	for _, c := range []struct {
		address, token string
		want           int
	}{
		{"192.0.2.1:2", "wrong", 429}, {"192.0.2.1:1", token, 429}, {"192.0.2.2:1", token, 200}, {"[::ffff:192.0.2.1]:1", token, 429},
	} {
		if code := get(c.address, "Bearer "+c.token); code != c.want {
			t.Errorf("%s with %s: %d, want %d", c.address, c.token, code, c.want)
		}
	}
	now = now.Add(guessEvery)
	if code := get("192.0.2.1:1", "Bearer wrong"); code != 401 {
		t.Errorf("after %v: %d", guessEvery, code)
	}
	if code := get("192.0.2.1:1", "Bearer "+token); code != 429 {
		t.Errorf("and then: %d", code)
	}
	for i := range guessesAtOnce {
		get(fmt.Sprintf("[2001:db8::%x]:1", i), "Bearer wrong")
	}
	if code := get("[2001:db8::ffff]:1", "Bearer "+token); code != 429 {
		t.Errorf("the same /64: %d", code)
	}
}

func TestGuessersAreForgottenWhenThereAreMany(t *testing.T) {
	now := time.Now()
	g := newGuesses(func() time.Time { return now })
	stubborn := netip.MustParseAddr("192.0.2.1")
	for range guessesAtOnce {
		g.failed(stubborn)
	}
	for i := range 3 * maxGuessers {
		g.failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if len(g.full) > maxGuessers {
		t.Errorf("%d are remembered, want %d", len(g.full), maxGuessers)
	}
	if g.wait(stubborn) == 0 {
		t.Error("the one with the longest wait was forgotten first")
	}
}

// Invariant 4.
func TestEveryMutatingCallIsAudited(t *testing.T) {
	refused := false
	s, _ := newServer(t, &refused)
	j := s.deps.Audit.(*journal)
	r := httptest.NewRequest("POST", "/api/v1/config:reload", nil)
	r.RemoteAddr = "192.0.2.7:99"
	r.Header.Set("Authorization", "Bearer oidc-operator")
	r.Header.Set("X-Request-ID", "0123456789abcdef")
	w := do(t, s, r)
	e := j.last(t)
	if e.Operator != "the operator" || e.Role != RoleOperator || e.Method != MethodOIDC || e.Address.String() != "192.0.2.7" ||
		e.Action != "POST /api/v1/config:reload" || e.Kind != "config" || e.ID != "new" || e.Status != 200 || !strings.Contains(string(e.After), `"changed":true`) {
		t.Errorf("%+v", e)
	}
	if e.RequestID != "0123456789abcdef" || w.Header().Get("X-Request-ID") != e.RequestID {
		t.Errorf("request id %q in the audit, %q in the answer", e.RequestID, w.Header().Get("X-Request-ID"))
	}
	ask(t, s, "POST", "/api/v1/config:reload", "Bearer oidc-viewer")
	if e := j.last(t); e.Status != 403 || e.Operator != "the viewer" {
		t.Errorf("refused: %+v", e)
	}
	n := len(j.entries)
	ask(t, s, "POST", "/api/v1/config:reload", "Bearer wrong")
	ask(t, s, "GET", "/api/v1/config", "Bearer oidc-viewer")
	if len(j.entries) != n {
		t.Errorf("%d entries of nobody, and of one who only looked", len(j.entries)-n)
	}
	send(t, s, "POST", "/api/v1/cluster/keys:install", "Bearer "+token, `{"secret":"canary-secret"}`)
	for _, e := range j.entries {
		if text := fmt.Sprintf("%+v %s %s", e, e.Before, e.After); strings.Contains(text, "canary") {
			t.Errorf("a secret is in the audit: %s", text)
		}
	}
}

// Invariant 2.
func TestBodiesAreHeldToTheDocument(t *testing.T) {
	s, _ := newServer(t, new(bool))
	for _, c := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"use", `{"fingerprint":"ab"}`, 200, `"gw-1"`},
		{"use", `{"fingerprint":"gone"}`, 409, `no member has it`},
		{"use", `{`, 400, `/bad-request`},
		{"use", ``, 400, `/bad-request`},
		{"use", `{} {}`, 400, `/bad-request`},
		{"use", `{}`, 422, `{"detail":"is missing","pointer":"#/fingerprint"}`},
		{"use", `{"fingerprint":""}`, 422, `"pointer":"#/fingerprint"`},
		{"use", `{"fingerprint":7}`, 422, `"pointer":"#/fingerprint"`},
		{"use", `[]`, 422, `"pointer":"#"`},
		{"use", `{"fingerprint":"ab","a/b~c":1}`, 422, `"pointer":"#/a~1b~0c"`},
		{"install", `{"fingerprint":"ab"}`, 422, `"pointer":"#/secret"`},
		{"install", `{"secret":"` + strings.Repeat("x", maxBody) + `"}`, 413, `/body-too-large`},
	} {
		w := send(t, s, "POST", "/api/v1/cluster/keys:"+c.path, "Bearer "+token, c.body)
		if w.Code != c.status || !strings.Contains(strings.ReplaceAll(w.Body.String(), `\u0026`, "&"), c.want) {
			t.Errorf("%s with %.60s: %d, want %d with %s\n%.400s", c.path, c.body, w.Code, c.status, c.want, w.Body)
		}
	}
	if w := ask(t, s, "POST", "/api/v1/cluster/keys:remove", "Bearer "+token); w.Code != 400 {
		t.Errorf("no body: %d", w.Code)
	}
	for path, code := range map[string]int{"/api/v1/cluster/quotas/a%2Fb": 200, "/api/v1/cluster/quotas/a?route=gone": 409} {
		if w := ask(t, s, "GET", path, "Bearer oidc-viewer"); w.Code != code {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := ask(t, s, "GET", "/api/v1/cluster/keys", "Bearer oidc-viewer"); w.Code != 200 {
		t.Errorf("keys: %d", w.Code)
	}
}

func TestTheReferenceIsForEverybodyAndRunsNothing(t *testing.T) {
	s, _ := newServer(t, new(bool))
	w := ask(t, s, "GET", "/api/v1/reference", "")
	page := w.Body.String()
	for _, part := range []string{"/api/v1/config:reload", "operator", `href="reference.css"`, "GET"} {
		if !strings.Contains(page, part) {
			t.Errorf("the page lacks %s", part)
		}
	}
	csp := w.Header().Get("Content-Security-Policy")
	if strings.Contains(page, "<script") || strings.Contains(page, "style=") || !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
	if w := ask(t, s, "GET", "/api/v1/reference.css", ""); w.Code != 200 {
		t.Errorf("style sheet: %d", w.Code)
	}
	if w := ask(t, s, "GET", "/api/v1/openapi.json", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"openapi":"3.1`) {
		t.Errorf("document: %d", w.Code)
	}
}

// Invariant 2.
func TestUnknownPathsAreProblems(t *testing.T) {
	s, _ := newServer(t, new(bool))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/nowhere", nil))
	if w.Code != 404 || w.Header().Get("Content-Type") != "application/problem+json" || !strings.Contains(w.Body.String(), "/not-found") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %v", w.Header())
	}
}

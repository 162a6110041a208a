package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
		Status: func() any { return map[string]string{"node": "gw-1"} },
		Config: func() []byte { return []byte("node: {name: gw-1}\n") },
		Reload: func(context.Context) (Reloaded, bool) {
			if *refused {
				return Reloaded{Hash: "old", Problems: conf.Problems{{Message: "wrong", Position: conf.Position{File: "f", Line: 3, Column: 5}}}}, false
			}
			return Reloaded{Hash: "new", Changed: true}, true
		},
	}), health
}

func ask(s *Server, method, path, authorization string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// Invariant 1.
func TestOnlyTheOperatorSeesInside(t *testing.T) {
	s, _ := newServer(t, new(bool))
	for _, c := range []struct{ method, path string }{
		{"GET", "/api/v1/status"}, {"GET", "/api/v1/config"}, {"POST", "/api/v1/config:reload"},
		{"GET", "/debug/pprof/"}, {"GET", "/debug/pprof/cmdline"},
	} {
		for _, wrong := range []string{"", "Bearer", "Bearer ", "Bearer wrong", "Basic " + token, token, "Bearer " + token + "x", "Bearer " + token[1:]} {
			w := ask(s, c.method, c.path, wrong)
			if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s with %q: %d %v", c.path, wrong, w.Code, w.Header())
			}
		}
	}
	if w := ask(s, "GET", "/api/v1/status", "bearer "+token); w.Code != 200 || !strings.Contains(w.Body.String(), "gw-1") {
		t.Errorf("with the token: %d %s", w.Code, w.Body)
	}
	if w := ask(s, "GET", "/api/v1/config", "Bearer "+token); w.Body.String() != "node: {name: gw-1}\n" {
		t.Errorf("configuration: %d %s", w.Code, w.Body)
	}
}

func TestHealthAndMetricsNeedNoToken(t *testing.T) {
	s, health := newServer(t, new(bool))
	if w := ask(s, "GET", "/metrics", ""); w.Code != 200 || w.Body.String() != "sluice_x 1\n" || w.Header().Get("Content-Type") != telemetry.MetricsContentType {
		t.Errorf("metrics: %d %v %s", w.Code, w.Header(), w.Body)
	}
	health.Set("keys", errors.New("none yet"))
	if w := ask(s, "GET", "/healthz", ""); w.Code != 200 {
		t.Errorf("alive but not ready: %d", w.Code)
	}
	if w := ask(s, "GET", "/readyz", ""); w.Code != 503 || !strings.Contains(w.Body.String(), "none yet") {
		t.Errorf("not ready: %d %s", w.Code, w.Body)
	}
	health.Set("keys", nil)
	if w := ask(s, "GET", "/readyz", ""); w.Code != 200 {
		t.Errorf("ready: %d", w.Code)
	}
}

func TestReloadSaysWhatCameOfIt(t *testing.T) {
	var refused bool
	s, _ := newServer(t, &refused)
	w := ask(s, "POST", "/api/v1/config:reload", "Bearer "+token)
	var got Reloaded
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || !got.Changed || got.Hash != "new" {
		t.Errorf("%d %v %s", w.Code, err, w.Body)
	}
	refused = true
	w = ask(s, "POST", "/api/v1/config:reload", "Bearer "+token)
	got = Reloaded{}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusUnprocessableEntity || got.Hash != "old" ||
		len(got.Problems) != 1 || got.Problems[0].Error() != "f:3:5: wrong" {
		t.Errorf("refused: %d %v %s", w.Code, err, w.Body)
	}
	if w := ask(s, "GET", "/api/v1/config:reload", "Bearer "+token); w.Code == 200 {
		t.Error("a GET reloads")
	}
}

// Invariant 2.
func TestUnknownPathsAreProblems(t *testing.T) {
	s, _ := newServer(t, new(bool))
	w := ask(s, "GET", "/nowhere", "Bearer "+token)
	if w.Code != 404 || w.Header().Get("Content-Type") != "application/problem+json" || !strings.Contains(w.Body.String(), "/not-found") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %v", w.Header())
	}
}

package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/auth"
	"sluice/conf"
	"sluice/internal/issuer"
	"sluice/limiter"
	"sluice/proxy/front"
	"sluice/proxy/upstream"
	"sluice/telemetry"
	"sluice/telemetry/payload"
	"sluice/telemetry/redact"
	"sluice/waf/detector"
	"sluice/waf/event"
	"sluice/waf/geo"
)

// rig is a gateway with its engines, an issuer and an upstream, in this process
// and over real sockets.
type rig struct {
	*Gateway
	t        testing.TB
	issuer   *issuer.Issuer
	upstream *httptest.Server
	server   struct{ URL string }
	logFile  string
	payloads payloadLines
	events   textLines // of security
	text     string    // the configuration that it began with
	stopLog  func()
}

// common is the part of the configuration that every rig has. A rig whose
// listener trusts proxies trusts their tenant header too.
const common = `
listeners:
  - address: ":0"
    %s
auth:
  issuers:
    - {issuer: %q, audience: https://api.acme.example, jwks_url: %q, tier_claim: https://sluice.example/tier}
  super_admin_permission: platform:admin
  tenant_header: {trust: %s}
services:
  app: {upstreams: [%q]}
`

// newRig starts a gateway with the given sections added to common.
func newRig(t testing.TB, handler http.Handler, sections string, listener ...string) *rig {
	t.Helper()
	return newRigBefore(t, httptest.NewServer(handler), sections, listener...)
}

// newRigBefore starts a gateway before an upstream that is there already.
func newRigBefore(t testing.TB, up *httptest.Server, sections string, listener ...string) *rig {
	t.Helper()
	g := &rig{t: t, logFile: filepath.Join(t.TempDir(), "access.log"), upstream: up}
	t.Cleanup(func() {
		if up.Config.Handler != nil {
			up.Close()
			return
		}
		up.Listener.Close()
	})
	tokens, err := issuer.New(issuer.Options{Keys: testKeys(t)})
	if err != nil {
		t.Fatal(err)
	}
	g.issuer = tokens
	keyFile := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(keyFile, tokens.JWKS(), 0o600); err != nil {
		t.Fatal(err)
	}
	access, err := telemetry.OpenAccessLog(telemetry.AccessLogOptions{File: g.logFile})
	if err != nil {
		t.Fatal(err)
	}
	keys := auth.NewKeyStore(auth.KeyStoreOptions{})
	upstreams := upstream.NewRegistry(upstream.Options{})
	g.Gateway = New(Deps{
		Limiter: limiter.New(limiter.Options{}), Keys: keys, Upstreams: upstreams,
		Metrics: telemetry.NewMetrics(telemetry.MetricsOptions{}), AccessLog: access, Health: new(telemetry.Health),
		Payloads: payload.New(payload.Options{Writer: &g.payloads, Redact: redact.Default()}),
		Bans:     newBook(), Places: geo.NewFiles(nil), Events: event.New(&g.events, redact.Default()),
	})
	g.deps.Detector = detector.New(detector.Options{Bans: g.deps.Bans, Report: Found(g.deps.Events)})
	trust := "never"
	if len(listener) > 0 {
		trust = "trusted_proxies"
	}
	g.text = fmt.Sprintf(common, strings.Join(listener, "\n    "), tokens.URL(), "file://"+keyFile, trust, g.upstream.URL) + sections
	g.apply(g.text)

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{}, 3)
	logEnded := make(chan struct{})
	logCtx, stopLog := context.WithCancel(context.Background())
	go func() { access.Run(logCtx); close(logEnded) }()
	g.stopLog = func() { stopLog(); <-logEnded }
	for _, run := range []func(context.Context) error{keys.Run, upstreams.Run} {
		go func() { run(ctx); ended <- struct{}{} }()
	}
	if err := keys.AwaitKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.server.URL = "http://" + socket.Addr().String()
	// Poisoned requests show whatever keeps one for longer than it may.
	_, benchmark := t.(*testing.B)
	server := &front.Server{Handler: g.Handler(":0"), BadRequest: g.answerUnread, Poison: !benchmark}
	served := make(chan error, 1)
	go func() { served <- server.Serve(socket) }()
	t.Cleanup(func() {
		server.Close()
		<-served
		g.stopLog()
		cancel()
		<-ended
		<-ended
	})
	return g
}

// testKeys are made once for all tests: an RSA key takes a while.
func testKeys(t testing.TB) []issuer.Key {
	t.Helper()
	signer, err := issuer.Generate(issuer.ES256)
	if err != nil {
		t.Fatal(err)
	}
	key, err := issuer.NewKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	return []issuer.Key{key}
}

func (g *rig) apply(text string) {
	g.t.Helper()
	doc, problems := conf.Parse("test.yaml", []byte(text), os.LookupEnv)
	if err := problems.Err(); err != nil {
		g.t.Fatal(err)
	}
	revision, problems := g.Compile(doc)
	if err := problems.Err(); err != nil {
		g.t.Fatal(err)
	}
	g.Apply(revision)
}

func (g *rig) token(c issuer.Claims) string {
	g.t.Helper()
	token, err := g.issuer.Token(c)
	if err != nil {
		g.t.Fatal(err)
	}
	return "Bearer " + token
}

// answer is a response read whole.
type answer struct {
	*http.Response
	body string
}

// problem decodes the body as problem+json.
func (a answer) problem(t *testing.T) (p struct {
	Type, Title, Detail string
	Status              int
	RequestID           string `json:"request_id"`
	Limit, Remaining    int64
	RetryAfter          int64 `json:"retry_after"`
}) {
	t.Helper()
	if ct := a.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Fatalf("content type %q of %s", ct, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	if p.Status != a.StatusCode || p.RequestID == "" || p.RequestID != a.Header.Get("X-Request-ID") {
		t.Errorf("problem %+v of an answer with status %d and request id %s", p, a.StatusCode, a.Header.Get("X-Request-ID"))
	}
	return p
}

// do sends a request; headers are "Name: value".
func (g *rig) do(method, path string, body io.Reader, headers ...string) answer {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, g.server.URL+path, body)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return answer{resp, string(text)}
}

func (g *rig) get(path string, headers ...string) answer {
	g.t.Helper()
	return g.do(http.MethodGet, path, nil, headers...)
}

// lines stops the access log and returns what was written.
func (g *rig) lines() []map[string]any {
	g.t.Helper()
	g.stopLog()
	data, err := os.ReadFile(g.logFile)
	if err != nil {
		g.t.Fatal(err)
	}
	var out []map[string]any
	for line := range strings.Lines(string(data)) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			g.t.Fatalf("%v in %s", err, line)
		}
		out = append(out, m)
	}
	return out
}

// seen answers with the request's header as JSON, and its path.
func seen(w http.ResponseWriter, r *http.Request) {
	h := r.Header.Clone()
	h.Set("Seen-Path", r.RequestURI)
	h.Set("Seen-Host", r.Host)
	json.NewEncoder(w).Encode(h)
}

func (a answer) seen(t *testing.T) http.Header {
	t.Helper()
	var h http.Header
	if err := json.Unmarshal([]byte(a.body), &h); err != nil {
		t.Fatalf("%v in %d %s", err, a.StatusCode, a.body)
	}
	return h
}

//go:build integration

package test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sluice/internal/issuer"
	"sluice/internal/testkit"
)

// itemsConfig is a gateway before the FastAPI example.
const itemsConfig = `
node: {data_dir: "{{.Dir}}/data"}
listeners: [{address: "{{.Listen}}"}]
admin: {address: "{{.Admin}}"}
auth:
  issuers:
    - {issuer: "{{.Issuer}}", audience: https://api.acme.example, tier_claim: https://sluice.example/tier}
  super_admin_permission: platform:admin
tiers:
  standard:   {requests: 1000, per: 1h}
  premium:    {requests: 5000, per: 1h}
  enterprise: {requests: 10000, per: 1h}
services:
  items:
    upstreams: ["{{.Upstream}}"]
    timeout: {connect: 1s, request: 2s, idle: 30s}
routes:
  - {path: /api/*, service: items, strip: /api}
  - {path: /api/upload, service: items, strip: /api, max_body: 1MiB, timeout: 20s}
  - {path: /api/download, service: items, strip: /api, timeout: 20s}
  - {path: /api/items/export, service: items, strip: /api, limit: {requests: 2, per: 1h}}
  - {path: /public/*, service: items, auth: none}
logs: {access: {file: "{{.Dir}}/access.log"}}
`

// stack is the example service, an issuer and a gateway.
type stack struct {
	*testkit.Gateway
	issuer *issuer.Issuer
	client *testkit.Client
}

func startStack(t *testing.T) *stack {
	t.Helper()
	i := newIssuer(t)
	api := testkit.StartFastAPI(t)
	g := testkit.StartGateway(t, itemsConfig, map[string]any{"Issuer": i.URL(), "Upstream": api.URL})
	return &stack{g, i, g.Client(t)}
}

func (s *stack) as(t *testing.T, c issuer.Claims) testkit.Option {
	return testkit.Bearer(token(t, s.issuer, c))
}

// TestQuotasAreExact spends each tier's quota with many clients at once: the
// service answers exactly as often as the tier allows, and the next request is
// told when to come back.
func TestQuotasAreExact(t *testing.T) {
	s := startStack(t)
	for tier, quota := range map[string]int64{"standard": 1000, "premium": 5000, "enterprise": 10000} {
		t.Run(tier, func(t *testing.T) {
			who := s.as(t, issuer.Claims{Tenant: "tenant-" + tier, Tier: tier})
			var passed, refused atomic.Int64
			var wg sync.WaitGroup
			var left atomic.Int64
			left.Store(quota + 50)
			for range 16 {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						r, err := s.client.Try("GET", "/api/health", who)
						switch {
						case err != nil:
							t.Error(err)
							return
						case r.Status == 200:
							passed.Add(1)
						case r.Status == 429:
							refused.Add(1)
						default:
							t.Errorf("status %d: %s", r.Status, r.Body)
						}
					}
				})
			}
			wg.Wait()
			if passed.Load() != quota || refused.Load() != 50 {
				t.Errorf("%d passed and %d refused, want %d and 50", passed.Load(), refused.Load(), quota)
			}
			r := s.client.Get("/api/health", who).Want(429)
			if got := r.Header.Get("X-RateLimit-Limit"); got != strconv.FormatInt(quota, 10) {
				t.Errorf("X-RateLimit-Limit %q", got)
			}
			wait, err := strconv.Atoi(r.Header.Get("Retry-After"))
			if err != nil || wait < 3000 || wait > 3601 {
				t.Errorf("Retry-After %q", r.Header.Get("Retry-After"))
			}
			reset, err := strconv.ParseInt(r.Header.Get("X-RateLimit-Reset"), 10, 64)
			if in := time.Until(time.Unix(reset, 0)); err != nil || in < 50*time.Minute || in > 61*time.Minute {
				t.Errorf("X-RateLimit-Reset %q", r.Header.Get("X-RateLimit-Reset"))
			}
			if p, err := problemOf(r); err != nil || p.Limit != quota || p.RetryAfter != int64(wait) || p.RequestID == "" {
				t.Errorf("problem %+v, %v", p, err)
			}
		})
	}
	admin := s.as(t, issuer.Claims{Tenant: "tenant-standard", Permissions: []string{"platform:admin"}})
	for range 20 {
		s.client.Get("/api/health", admin).Want(200)
	}
	for range 200 { // more than the 100 of an anonymous caller
		s.client.Get("/healthz").Want(200)
	}
}

func TestServiceSeesItsTenant(t *testing.T) {
	s := startStack(t)
	acme, bolt := s.as(t, issuer.Claims{Tenant: "acme", Subject: "auth0|ann"}), s.as(t, issuer.Claims{Tenant: "bolt"})
	var item struct{ ID int }
	s.client.Post("/api/items", acme, testkit.JSON(map[string]any{"name": "teapot", "price": 25})).Want(201).JSON(&item)
	path := fmt.Sprintf("/api/items/%d", item.ID)
	s.client.Get(path, acme).Want(200)
	s.client.Get(path, bolt).Want(404)
	s.client.Get(path, bolt, testkit.Header("X-Tenant-ID", "acme")).Want(404)
	s.client.Get(path).Want(401)
	s.client.Do("DELETE", path, acme).Want(204)

	var echo struct{ Headers [][2]string }
	s.client.Get("/api/echo", acme, testkit.Header("X-Request-ID", "given-1")).Want(200).JSON(&echo)
	seen := make(map[string]string)
	for _, h := range echo.Headers {
		if _, twice := seen[h[0]]; twice {
			t.Errorf("the service saw %s twice", h[0])
		}
		seen[h[0]] = h[1]
	}
	for name, want := range map[string]string{"x-tenant-id": "acme", "x-auth-subject": "auth0|ann", "x-request-id": "given-1", "x-forwarded-prefix": "/api"} {
		if got := seen[name]; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	// The route's own limit, beside the tenant's.
	for _, want := range []int{200, 200, 429} {
		r := s.client.Get("/api/items/export", acme).Want(want)
		if p := r.Header.Get("RateLimit-Policy"); !strings.Contains(p, `"tenant";q=1000`) || !strings.Contains(p, `;q=2;w=3600`) {
			t.Errorf("RateLimit-Policy %q", p)
		}
	}
}

func TestStreamsFlowAsTheyCome(t *testing.T) {
	s := startStack(t)
	acme := s.as(t, issuer.Claims{Tenant: "acme"})

	t.Run("events", func(t *testing.T) {
		// Three seconds of events under a request time-out of two: a stream is
		// exempt once it runs.
		resp := s.client.Stream(t.Context(), "GET", "/api/events?count=7&interval=0.5", acme)
		began, events := time.Now(), 0
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "data:") {
				if events++; events == 1 && time.Since(began) > 2*time.Second {
					t.Error("the first event was held back")
				}
			}
		}
		if events != 7 {
			t.Errorf("%d events, want 7", events)
		}
	})
	t.Run("websocket", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		header := http.Header{"Authorization": {"Bearer " + token(t, s.issuer, issuer.Claims{Tenant: "acme"})}}
		ws, _, err := websocket.Dial(ctx, strings.Replace(s.URL, "http", "ws", 1)+"/api/ws", &websocket.DialOptions{HTTPHeader: header})
		if err != nil {
			t.Fatal(err)
		}
		defer ws.CloseNow()
		ws.SetReadLimit(1 << 20)
		for _, size := range []int{1, 200, 70_000} {
			sent := bytes.Repeat([]byte("x"), size)
			if err := ws.Write(ctx, websocket.MessageText, sent); err != nil {
				t.Fatal(err)
			}
			if _, got, err := ws.Read(ctx); err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("%d bytes came back, %v", len(got), err)
			}
		}
		if err := ws.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
		if _, resp, err := websocket.Dial(ctx, strings.Replace(s.URL, "http", "ws", 1)+"/api/ws", nil); err == nil || resp.StatusCode != 401 {
			t.Errorf("without a token: %v", err)
		}
	})
	t.Run("upload and download", func(t *testing.T) {
		body := bytes.Repeat([]byte("0123456789abcdef"), 60_000) // just under the route's 1 MiB
		sum := sha256.Sum256(body)
		var up struct {
			Size   int
			SHA256 string
		}
		r := s.client.Post("/api/upload", acme, testkit.Body("application/octet-stream", body)).Want(200)
		r.JSON(&up)
		if !strings.Contains(string(r.Body), hex.EncodeToString(sum[:])) {
			t.Errorf("the service received something else: %s", r.Body)
		}
		s.client.Post("/api/upload", acme, testkit.Body("application/octet-stream", bytes.Repeat(body, 2))).Want(413)
		// Without a declared length, the limit is met while the body flows.
		unknown := func(r *http.Request) {
			r.ContentLength = -1
			r.Body = io.NopCloser(bytes.NewReader(bytes.Repeat(body, 2)))
		}
		s.client.Post("/api/upload", acme, unknown).Want(413)
		if got := s.client.Get("/api/download?size=20000000", acme).Want(200); len(got.Body) != 20_000_000 {
			t.Errorf("%d bytes", len(got.Body))
		}
	})
}

func TestFailingServiceIsToldApart(t *testing.T) {
	s := startStack(t)
	acme := s.as(t, issuer.Claims{Tenant: "acme"})
	s.client.Get("/api/fail?status=503", acme).Want(503)
	r := s.client.Get("/api/slow?seconds=5", acme).Want(504)
	if p, err := problemOf(r); err != nil || !strings.HasSuffix(p.Type, "/upstream-timeout") {
		t.Errorf("%+v, %v", p, err)
	}
	// A body that ends before its length: the client must not take it for whole.
	if r, err := s.client.Try("GET", "/api/fail/reset?size=4000", acme); err == nil {
		t.Errorf("a broken body arrived as whole: %d, %d bytes", r.Status, len(r.Body))
	} else if !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "EOF") && !strings.Contains(err.Error(), "reset") {
		t.Errorf("unexpected error %v", err)
	}
}

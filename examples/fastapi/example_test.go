// Package fastapi_test follows the README of this directory: its service, its
// configuration, its tokens, and what it says about each request.
package fastapi_test

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sluice/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// developer is somebody who copied the directory and types its commands.
type developer struct {
	t   *testing.T
	dir string
}

// token runs ./dev-token.
func (d developer) token(args ...string) string {
	d.t.Helper()
	cmd := exec.Command("./dev-token", args...)
	cmd.Dir = d.dir
	cmd.Stderr = d.t.Output()
	out, err := cmd.Output()
	if err != nil {
		d.t.Fatalf("dev-token %q: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

func copyOf(t *testing.T, names ...string) developer {
	t.Helper()
	d := developer{t, t.TempDir()}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d.dir, name), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestREADME(t *testing.T) {
	api := testkit.StartFastAPI(t)
	dev := copyOf(t, "dev-token")
	dev.token("--init")
	config, err := os.ReadFile("sluice.yaml")
	if err != nil {
		t.Fatal(err)
	}
	listen, admin := testkit.FreeAddr(t), testkit.FreeAddr(t)
	for name, value := range map[string]string{"LISTEN": listen, "ADMIN": admin, "UPSTREAM": api.URL} {
		t.Setenv(name, value)
	}
	gateway := testkit.StartGateway(t, string(config), map[string]any{"Listen": listen, "Admin": admin, "Dir": dev.dir})
	c := gateway.Client(t)
	acme, bolt := testkit.Bearer(dev.token("acme", "premium")), testkit.Bearer(dev.token("bolt"))
	operator := testkit.Bearer(dev.token("acme", "premium", "platform:admin"))

	t.Run("tokens", func(t *testing.T) {
		c := c.In(t)
		if challenge := c.Get("/api/items").Want(http.StatusUnauthorized).Header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, "Bearer") {
			t.Errorf("challenge %q", challenge)
		}
		c.Get("/public/info").Want(http.StatusOK)
		c.Get("/elsewhere").Want(http.StatusNotFound)
	})

	t.Run("tenants have their own items", func(t *testing.T) {
		c := c.In(t)
		c.Post("/api/items", acme, testkit.JSON(map[string]any{"name": "teapot", "price": 25})).Want(http.StatusCreated)
		if body := c.Get("/api/items", bolt).Want(http.StatusOK).Body; string(body) != "[]" {
			t.Errorf("bolt sees %s", body)
		}
		if body := c.Get("/api/items", acme).Want(http.StatusOK).Body; !strings.Contains(string(body), "teapot") {
			t.Errorf("acme sees %s", body)
		}
	})

	t.Run("nobody forges a tenant", func(t *testing.T) {
		c := c.In(t)
		resp := c.Get("/api/echo", acme, testkit.Header("X-Tenant-ID", "bolt"), testkit.Header("X-Tenant-Tier", "enterprise"), testkit.Header("X-Auth-Subject", "root"),
			testkit.Header("X-Forwarded-Prefix", "/evil"), testkit.Header("X-Request-ID", "from-the-client-1")).Want(http.StatusOK)
		var echo struct {
			Path     string
			RootPath string `json:"root_path"`
			Context  map[string]string
		}
		resp.JSON(&echo)
		want := map[string]string{"tenant": "acme", "tier": "premium", "subject": "dev|acme", "request_id": "from-the-client-1"}
		for name, value := range want {
			if echo.Context[name] != value {
				t.Errorf("%s is %q for the service, want %q", name, echo.Context[name], value)
			}
		}
		if echo.RootPath != "/api" {
			t.Errorf("root path %q, want /api", echo.RootPath)
		}
	})

	t.Run("quotas follow the tier", func(t *testing.T) {
		c := c.In(t)
		for limit, who := range map[string]testkit.Option{"5000": acme, "1000": bolt} {
			if got := c.Get("/api/items", who).Want(http.StatusOK).Header.Get("X-RateLimit-Limit"); got != limit {
				t.Errorf("limit %q, want %s", got, limit)
			}
		}
		for range 10 {
			c.Get("/api/items/export", bolt).Want(http.StatusOK)
		}
		if wait := c.Get("/api/items/export", bolt).Want(http.StatusTooManyRequests).Header.Get("Retry-After"); wait == "" {
			t.Error("no Retry-After")
		}
		c.Get("/api/items", bolt).Want(http.StatusOK)
	})

	t.Run("permissions", func(t *testing.T) {
		c := c.In(t)
		c.Get("/api/admin/tenants", acme).Want(http.StatusForbidden)
		if body := c.Get("/api/admin/tenants", operator).Want(http.StatusOK).Body; string(body) != `{"acme":1}` {
			t.Errorf("tenants %s", body)
		}
	})

	t.Run("documentation through the gateway", func(t *testing.T) {
		c := c.In(t)
		if body := c.Get("/api/docs").Want(http.StatusOK).Body; !strings.Contains(string(body), "/api/openapi.json") {
			t.Errorf("page without /api/openapi.json: %s", body)
		}
		c.Get("/api/openapi.json").Want(http.StatusOK)
	})

	t.Run("bodies have a limit", func(t *testing.T) {
		c := c.In(t)
		c.Post("/api/upload", acme, testkit.Body("application/octet-stream", make([]byte, 1<<20))).Want(http.StatusOK)
		resp, err := c.Try(http.MethodPost, "/api/upload", acme, testkit.Body("application/octet-stream", make([]byte, 10<<20+1)))
		if err != nil || resp.Status != http.StatusRequestEntityTooLarge {
			t.Errorf("%+v, %v; want 413", resp, err)
		}
	})

	t.Run("events come one by one", func(t *testing.T) {
		c := c.In(t)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		// The second event is a minute away: the first must not wait for it.
		resp := c.Stream(ctx, http.MethodGet, "/api/events?count=2&interval=60", acme)
		for lines := bufio.NewScanner(resp.Body); ; {
			if !lines.Scan() {
				t.Fatalf("no event: %v", lines.Err())
			}
			if lines.Text() == "id: 1" {
				return
			}
		}
	})

	t.Run("websocket", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		header := http.Header{"Authorization": {"Bearer " + dev.token("acme", "premium")}}
		conn, _, err := websocket.Dial(ctx, gateway.URL+"/api/ws/context", &websocket.DialOptions{HTTPHeader: header})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		if _, text, err := conn.Read(ctx); err != nil || !strings.Contains(string(text), `"acme"`) {
			t.Errorf("context %q, %v", text, err)
		}
		if _, resp, err := websocket.Dial(ctx, gateway.URL+"/api/ws", nil); err == nil || resp == nil || resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("without a token: %v, %v; want 401", resp, err)
		}
	})
}

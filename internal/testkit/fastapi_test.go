package testkit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// as are the fields that sluice sets for a tenant.
func as(tenant, tier string) Option {
	return func(r *http.Request) {
		r.Header.Set("X-Tenant-ID", tenant)
		r.Header.Set("X-Tenant-Tier", tier)
		r.Header.Set("X-Auth-Subject", "user of "+tenant)
		r.Header.Set("X-Request-ID", "request-1")
	}
}

type item struct {
	ID     int     `json:"id"`
	Tenant string  `json:"tenant"`
	Name   string  `json:"name"`
	Price  float64 `json:"price"`
}

func TestFastAPIExample(t *testing.T) {
	api := StartFastAPI(t)
	c := api.Client(t)
	acme, bolt := as("acme", "premium"), as("bolt", "standard")

	t.Run("tenants have their own items", func(t *testing.T) {
		c := c.In(t)
		var made, got item
		c.Post("/items", acme, JSON(map[string]any{"name": "teapot", "price": 25})).Want(http.StatusCreated).JSON(&made)
		if made.Tenant != "acme" || made.Name != "teapot" {
			t.Errorf("made %+v", made)
		}
		path := fmt.Sprintf("/items/%d", made.ID)
		c.Get(path, acme).Want(http.StatusOK).JSON(&got)
		if got != made {
			t.Errorf("got %+v, want %+v", got, made)
		}
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			c.Do(method, path, bolt).Want(http.StatusNotFound)
		}
		c.Do(http.MethodPut, path, bolt, JSON(map[string]any{"name": "mine", "price": 0})).Want(http.StatusNotFound)
		if body := c.Get("/items", bolt).Want(http.StatusOK).Body; string(body) != "[]" {
			t.Errorf("bolt sees %s", body)
		}
		c.Get("/items").Want(http.StatusForbidden)
		c.Post("/items", acme, JSON(map[string]any{"name": ""})).Want(http.StatusUnprocessableEntity)
		if export := c.Get("/items/export", acme).Want(http.StatusOK).Body; bytes.Count(export, []byte("\n")) != 1 {
			t.Errorf("export %q, want one line", export)
		}
		c.Do(http.MethodPut, path, acme, JSON(map[string]any{"name": "kettle", "price": 30})).Want(http.StatusOK).JSON(&got)
		if got.Name != "kettle" {
			t.Errorf("replaced: %+v", got)
		}
		c.Do(http.MethodDelete, path, acme).Want(http.StatusNoContent)
		c.Get(path, acme).Want(http.StatusNotFound)
	})

	t.Run("echo tells what arrived but no credentials", func(t *testing.T) {
		c := c.In(t)
		resp := c.Get("/echo?a=1", acme, Bearer("secret"), Header("X-Forwarded-Prefix", "/api")).Want(http.StatusOK)
		var echo struct {
			Method, Query string
			RootPath      string `json:"root_path"`
			Headers       [][2]string
			Context       map[string]string
		}
		resp.JSON(&echo)
		if echo.Context["tenant"] != "acme" || echo.Context["request_id"] != "request-1" || echo.RootPath != "/api" || echo.Query != "a=1" {
			t.Errorf("echo %+v", echo)
		}
		if strings.Contains(string(resp.Body), "secret") {
			t.Errorf("echo gives the credential away: %s", resp.Body)
		}
		api.WaitOutput(`tenant=acme subject=user of acme request_id=request-1 GET /echo 200`, 5*time.Second)
	})

	t.Run("links lead through the stripped prefix", func(t *testing.T) {
		c := c.In(t)
		spec := c.Get("/openapi.json", Header("X-Forwarded-Prefix", "/api")).Want(http.StatusOK)
		if !strings.Contains(string(spec.Body), `"servers":[{"url":"/api"}]`) {
			t.Errorf("servers in %.300s", spec.Body)
		}
		moved := c.Get("/items/", acme, Header("X-Forwarded-Prefix", "/api"), Header("Host", "api.example")).Want(http.StatusTemporaryRedirect)
		if location := moved.Header.Get("Location"); location != "http://api.example/api/items" {
			t.Errorf("location %q", location)
		}
	})

	t.Run("bodies up and down", func(t *testing.T) {
		c := c.In(t)
		var up struct{ Bytes int }
		c.Post("/upload", Body("application/octet-stream", make([]byte, 1<<20))).Want(http.StatusOK).JSON(&up)
		if up.Bytes != 1<<20 {
			t.Errorf("%d bytes counted", up.Bytes)
		}
		if down := c.Get("/download?size=100001").Want(http.StatusOK).Body; len(down) != 100001 || down[257] != 1 {
			t.Errorf("%d bytes came", len(down))
		}
	})

	t.Run("failures as asked", func(t *testing.T) {
		c := c.In(t)
		c.Get("/fail?status=503").Want(http.StatusServiceUnavailable)
		resp, err := c.Try(http.MethodGet, "/fail/reset?size=1000")
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(resp.Body) != 1000 {
			t.Errorf("error %v, want an unexpected end", err)
		}
		start := time.Now()
		c.Get("/slow?seconds=0.05").Want(http.StatusOK)
		if took := time.Since(start); took < 50*time.Millisecond {
			t.Errorf("slow took %v", took)
		}
	})

	t.Run("events, resumed", func(t *testing.T) {
		c := c.In(t)
		resp := c.Stream(context.Background(), http.MethodGet, "/events?count=3&interval=0", acme, Header("Last-Event-ID", "1"))
		var ids []string
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				ids = append(ids, id)
			}
		}
		if strings.Join(ids, " ") != "2 3" || resp.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
			t.Errorf("events %q, header %v", ids, resp.Header)
		}
	})

	t.Run("websocket", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		header := http.Header{"X-Tenant-Id": {"acme"}}
		conn, _, err := websocket.Dial(ctx, api.URL+"/ws", &websocket.DialOptions{HTTPHeader: header})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		for _, kind := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
			if err := conn.Write(ctx, kind, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			if got, text, err := conn.Read(ctx); err != nil || got != kind || string(text) != "hello" {
				t.Errorf("echo of %v: %v %q %v", kind, got, text, err)
			}
		}
		if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
		conn, _, err = websocket.Dial(ctx, api.URL+"/ws/context", &websocket.DialOptions{HTTPHeader: header})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		if _, text, err := conn.Read(ctx); err != nil || !strings.Contains(string(text), `"tenant": "acme"`) && !strings.Contains(string(text), `"tenant":"acme"`) {
			t.Errorf("context %q %v", text, err)
		}
	})
}

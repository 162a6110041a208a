//go:build integration

package test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sluice/internal/testkit"
)

// publicConfig is a gateway without authentication before one upstream.
const publicConfig = `
node: {data_dir: "{{.Dir}}/data", drain_timeout: 3s}
listeners: [{address: "{{.Listen}}"{{with .Listener}}, {{.}}{{end}}}{{with .Listeners}}, {{.}}{{end}}]
admin: {address: "{{.Admin}}"}
limits: {anonymous: {requests: 10000000, per: 1h}}
services:
  app: {upstreams: ["{{.Upstream}}"]}
routes:
  - {path: /*, service: app, auth: none}
{{.More}}
logs: {access: {file: "{{.Dir}}/access.log"}}
`

// sluice runs a command of the binary; output is all that it says.
func sluice(t *testing.T, args ...string) (output string, code int) {
	t.Helper()
	stdout, stderr, code := run(t, args...)
	return stdout + stderr, code
}

// run runs a command of the binary.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.Command(testkit.Sluice(t), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// TestReloadsLoseNothing changes the configuration again and again, by command
// and by the file alone, while clients send without a pause and a WebSocket is
// open.
func TestReloadsLoseNothing(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			ws, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			defer ws.CloseNow()
			for {
				kind, text, err := ws.Read(r.Context())
				if err != nil || ws.Write(r.Context(), kind, text) != nil {
					return
				}
			}
		}
		io.WriteString(w, r.Header.Get("X-Marker"))
	}))
	defer up.Close()
	vars := map[string]any{"Upstream": up.URL, "More": "", "Listener": "", "Listeners": ""}
	g := testkit.StartGateway(t, publicConfig, vars)
	client := g.Client(t)

	ws, _, err := websocket.Dial(t.Context(), strings.Replace(g.URL, "http", "ws", 1)+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	echo := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := ws.Write(ctx, websocket.MessageText, []byte("hi")); err != nil {
			t.Fatal(err)
		}
		if _, got, err := ws.Read(ctx); err != nil || string(got) != "hi" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	echo()

	var stop atomic.Bool
	var answered atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				r, err := client.Try("GET", "/x")
				if err != nil || r.Status != 200 {
					t.Errorf("during a reload: %v %+v", err, r)
					return
				}
				answered.Add(1)
			}
		})
	}
	for i := range 20 {
		// Timeouts change the server, and so the listener's socket is handed over.
		g.WriteConfig(t, publicConfig, map[string]any{
			"More":     "  - {path: /x, service: app, auth: none, set_headers: {X-Marker: \"" + string(rune('a'+i)) + "\"}}",
			"Listener": []string{"", "timeout: {idle: 60s}"}[i%2],
		})
		if i%4 == 3 { // by the file alone
			g.Eventually(10*time.Second, func() error {
				if r := client.Get("/x"); string(r.Body) != string(rune('a'+i)) {
					return os.ErrNotExist
				}
				return nil
			})
		} else if out, code := sluice(t, "reload", "-c", g.Config); code != 0 {
			t.Fatalf("reload %d: exit %d: %s", i, code, out)
		}
		if r := client.Get("/x"); string(r.Body) != string(rune('a'+i)) {
			t.Fatalf("reload %d is not in force: %q", i, r.Body)
		}
	}
	echo()
	stop.Store(true)
	wg.Wait()
	if answered.Load() < 100 {
		t.Errorf("only %d requests were made meanwhile", answered.Load())
	}

	t.Run("a broken file changes nothing", func(t *testing.T) {
		g.WriteConfig(t, publicConfig+"\nroutez: []\n", nil)
		out, code := sluice(t, "reload", "-c", g.Config)
		if code != 1 || !strings.Contains(out, "routez") || !strings.Contains(out, "routes") {
			t.Errorf("exit %d: %s", code, out)
		}
		g.WaitOutput("configuration refused", 10*time.Second)
		client.Get("/x").Want(200)
		admin := testkit.NewClient(t, g.AdminURL)
		if m := string(admin.Get("/metrics").Want(200).Body); !strings.Contains(m, "\nsluice_config_last_reload_success 0") {
			t.Error("the metrics do not show the refused configuration")
		}
	})
	t.Run("what needs a restart is said", func(t *testing.T) {
		g.WriteConfig(t, strings.Replace(publicConfig, "node: {", "node: {name: renamed, ", 1), map[string]any{"More": ""})
		out, code := sluice(t, "reload", "-c", g.Config)
		if code != 0 {
			t.Errorf("exit %d: %s", code, out)
		}
		g.WaitOutput(`node.name.*next start`, 10*time.Second)
		g.WriteConfig(t, publicConfig, nil)
		if out, code := sluice(t, "reload", "-c", g.Config); code != 0 {
			t.Errorf("exit %d: %s", code, out)
		}
	})
	t.Run("listeners come and go", func(t *testing.T) {
		second := testkit.FreeAddr(t)
		both := strings.Replace(publicConfig, "listeners: [", "listeners: [{address: \""+second+"\"}, ", 1)
		g.WriteConfig(t, both, map[string]any{"More": ""})
		if out, code := sluice(t, "reload", "-c", g.Config); code != 0 {
			t.Fatalf("exit %d: %s", code, out)
		}
		leaving := testkit.NewClient(t, "http://"+second)
		leaving.Get("/x").Want(200)
		var busy sync.WaitGroup
		for range 4 { // clients that go on until the listener has gone
			busy.Go(func() {
				for {
					if _, err := leaving.Try("GET", "/x"); err != nil {
						return
					}
				}
			})
		}
		defer func() {
			busy.Wait()
			if strings.Contains(g.Output(), "panic") {
				t.Error("a request to a listener that was going panicked")
			}
		}()
		g.WriteConfig(t, publicConfig, map[string]any{"More": ""})
		if out, code := sluice(t, "reload", "-c", g.Config); code != 0 {
			t.Fatalf("exit %d: %s", code, out)
		}
		client.Get("/x").Want(200)
		g.Eventually(5*time.Second, func() error {
			if _, err := testkit.NewClient(t, "http://"+second).Try("GET", "/x"); err == nil {
				return os.ErrExist
			}
			return nil
		})
	})
}

// TestStopFinishesWhatIsUnderWay sends TERM while a request waits for its answer.
func TestStopFinishesWhatIsUnderWay(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		io.WriteString(w, "whole")
	}))
	defer up.Close()
	g := testkit.StartGateway(t, publicConfig, map[string]any{"Upstream": up.URL, "More": "", "Listener": "", "Listeners": ""})
	answer := make(chan string, 1)
	go func() {
		r, err := g.Client(t).Try("GET", "/x")
		if err != nil {
			answer <- err.Error()
			return
		}
		answer <- string(r.Body)
	}()
	<-arrived
	g.Signal(15)
	g.WaitOutput("stopping", 5*time.Second)
	admin := testkit.NewClient(t, g.AdminURL)
	g.Eventually(5*time.Second, func() error {
		if r, err := admin.Try("GET", "/readyz"); err == nil && r.Status != 503 {
			return os.ErrExist
		}
		return nil
	})
	close(release)
	if got := <-answer; got != "whole" {
		t.Errorf("got %q", got)
	}
	if code := g.Wait(10 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

package proxy

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/telemetry/payload"
)

type payloadLines struct {
	mu    sync.Mutex
	lines []map[string]any
}

func (p *payloadLines) Write(line []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := map[string]any{}
	if err := json.Unmarshal(line, &v); err != nil {
		v["error"] = err.Error()
	}
	p.lines = append(p.lines, v)
}

func (p *payloadLines) next(t *testing.T) map[string]any {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		p.mu.Lock()
		if len(p.lines) > 0 {
			v := p.lines[0]
			p.lines = p.lines[1:]
			p.mu.Unlock()
			return v
		}
		p.mu.Unlock()
	}
	t.Fatal("no line")
	return nil
}

func TestPayloadsAreCapturedOnTheirWay(t *testing.T) {
	g := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/chunks" {
			for range 3 {
				io.WriteString(w, `[1,"bob@example.com"]`)
				w.(http.Flusher).Flush()
			}
			return
		}
		w.Write(body)
	}), "routes:\n  - {path: /*, service: app, auth: none}\n  - {path: /private, service: app}\n")
	log := &g.payloads
	send := func(path, body string) {
		t.Helper()
		r, err := http.Post(g.server.URL+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode == 200 && path == "/echo" && string(got) != body {
			t.Fatalf("the answer is %q, %v", got, err)
		}
	}
	send("/echo", `{"password":"x"}`) // before there is a rule
	g.Gateway.deps.Payloads.Use([]payload.Rule{{Name: "all", Sample: 1, Until: time.Now().Add(time.Hour)}})

	big := `{"password":"hunter2","texts":["` + strings.Repeat(`harmless words","`, 20_000) + `"]}`
	send("/echo?token=abc", big)
	v := log.next(t)
	if v["request_bytes"] != float64(len(big)) || v["response_bytes"] != float64(len(big)) || v["request_cut"] != true || v["query"] != "token=[redacted:field]" {
		t.Errorf("big: %v %v %v %v", v["request_bytes"], v["response_bytes"], v["request_cut"], v["query"])
	}
	if s := v["request_body"].(string); !strings.HasPrefix(s, `{"password":"[redacted:field]","texts":["harmless words",`) {
		t.Errorf("%.100s", s)
	}
	send("/echo", `{"password":"hunter2"}`)
	if v := log.next(t); v["request_body"] != `{"password":"[redacted:field]"}` || v["response_body"] != v["request_body"] || v["request_cut"] != nil || v["response_cut"] != nil {
		t.Errorf("small: %v", v)
	}
	send("/chunks", "")
	if v := log.next(t); v["response_body"] != strings.Repeat(`[1,"b***@example.com"]`, 3) || v["request_body"] != nil {
		t.Errorf("chunks: %v", v)
	}
	send("/private", `{"secret":"1"}`) // refused before its body was read
	if v := log.next(t); v["status"] != 401.0 || v["route"] != "/private" || v["request_body"] != nil {
		t.Errorf("refused: %v", v)
	}
	g.Gateway.deps.Payloads.Use(nil)
	send("/echo", "{}")
	time.Sleep(20 * time.Millisecond)
	if len(log.lines) != 0 {
		t.Error("captured without a rule")
	}
}

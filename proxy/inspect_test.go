package proxy

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sluice/internal/issuer"
)

// Attacks are refused, found or not looked at, as the route and the tenant say;
// what passes reaches the service byte for byte.
func TestFirewallOnTheRoad(t *testing.T) {
	g := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.URL.RawQuery, body)
	}), `
waf:
  mode: block
  limits: {body: 4KiB, arguments: 20}
  tenants: {lab: {mode: "off"}}
  exclude: [{route: /notes/*, tag: attack-sqli, argument: json.note, reason: "a forum about SQL"}]
routes:
  - {path: /block/*, service: app, auth: optional}
  - {path: /detect/*, service: app, auth: none, waf: {mode: detect}}
  - {path: /off/*, service: app, auth: none, waf: {mode: "off"}}
  - {path: /notes/*, service: app, auth: none}
  - {path: /large/*, service: app, auth: none, waf: {over: pass}}
`)
	const sqli = "1%27%20UNION%20SELECT%20password%20FROM%20users--"
	const note = `{"note":"1' UNION SELECT password FROM users--"}`
	many := strings.Repeat("a=1&", 20) + "q=" + sqli
	lab := "Authorization: " + g.token(issuer.Claims{Tenant: "lab"})
	acme := "Authorization: " + g.token(issuer.Claims{Tenant: "acme"})
	json, agent := "Content-Type: application/json", "User-Agent: python-httpx/0.27.0"
	host := "Host: api.example.com" // a numeric one is a finding
	large := `{"note":"` + strings.Repeat("good day ", 600) + `"}`
	for _, c := range []struct {
		what, method, target, body string
		headers                    []string
		status                     int
	}{
		{"ordinary", "GET", "/block/items?q=garden+chair", "", nil, 200},
		{"ordinary body", "POST", "/block/items", `{"name":"Garden chair","price":10.5}`, []string{json}, 200},
		{"attack in the query", "GET", "/block/items?q=" + sqli, "", nil, 403},
		{"attack in the body", "POST", "/block/items", note, []string{json}, 403},
		{"attack in a header", "GET", "/block/items", "", []string{"X-Note: ${jndi:ldap://a/b}"}, 403},
		{"attack without a type", "POST", "/block/items", "q=" + sqli, nil, 403},
		{"attack behind the limit of arguments", "GET", "/block/items?" + many, "", nil, 403},
		{"attack of a tenant", "GET", "/block/items?q=" + sqli, "", []string{acme}, 403},
		{"tenant without a firewall", "GET", "/block/items?q=" + sqli, "", []string{lab}, 200},
		{"detect", "GET", "/detect/items?q=" + sqli, "", nil, 200},
		{"off", "GET", "/off/items?q=" + sqli, "", nil, 200},
		{"excluded argument", "POST", "/notes/1", note, []string{json}, 200},
		{"the same in another argument", "POST", "/notes/1", `{"text":"1' UNION SELECT password FROM users--"}`, []string{json}, 403},
		{"large body", "POST", "/block/items", large, []string{json}, 413},
		{"large body, passed on", "POST", "/large/items", large, []string{json}, 200},
	} {
		var body io.Reader
		if c.body != "" {
			body = strings.NewReader(c.body)
		}
		a := g.do(c.method, c.target, body, append(c.headers, agent, host, "Accept: */*")...)
		if a.StatusCode != c.status {
			t.Errorf("%s: status %d, want %d: %s", c.what, a.StatusCode, c.status, a.body)
			continue
		}
		_, query, _ := strings.Cut(c.target, "?")
		if c.status == 200 && a.body != query+" "+c.body {
			t.Errorf("%s: the service got %.100q", c.what, a.body)
		}
		if c.status == 403 && strings.Contains(a.body, "942") {
			t.Errorf("%s: the answer names a rule: %s", c.what, a.body)
		}
	}
	lines := g.lines()
	found := slices.DeleteFunc(lines, func(l map[string]any) bool { return l["waf"] == nil })
	if len(found) != 10 {
		t.Errorf("%d access lines tell of the firewall, want 10: %v", len(found), found)
	}
	events := g.events.text()
	for _, want := range []string{`"kind":"waf","action":"block"`, `"kind":"waf","action":"detect"`, `"reason":"sqli"`, `"reason":"beyond the limit arguments"`} {
		if !strings.Contains(events, want) {
			t.Errorf("the security log has no %s", want)
		}
	}
	if strings.Contains(events, "password") {
		t.Errorf("the security log quotes the request: %s", events)
	}
}

// What cannot be inspected in time is refused, unless the configuration says
// that it passes; in detect it passes. It is never taken for an attack.
func TestWithoutTimeForTheFirewall(t *testing.T) {
	// Prose that takes milliseconds, and an attack, so that the engine is needed.
	var b strings.Builder
	for i := range 250 {
		fmt.Fprintf(&b, "Order %d from the shop was sent today, and it's good; we select new chairs & tables. ", i)
	}
	body := `{"note":"` + b.String() + `' UNION SELECT password FROM users--"}`
	for _, c := range []struct {
		overload string
		status   int
	}{{"refuse", 503}, {"pass", 200}} {
		g := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }), `
waf: {mode: block, engine: {time: 1ms, overload: `+c.overload+`}}
routes:
  - {path: /block/*, service: app, auth: none}
  - {path: /detect/*, service: app, auth: none, waf: {mode: detect}}
`)
		head := []string{"Content-Type: application/json", "Host: api.example.com", "Accept: */*", "User-Agent: python-httpx/0.27.0"}
		a := g.do("POST", "/block/1", strings.NewReader(body), head...)
		if a.StatusCode != c.status {
			t.Errorf("overload: %s: status %d, want %d: %s", c.overload, a.StatusCode, c.status, a.body)
		}
		if c.status == 503 && (a.Header.Get("Retry-After") != "1" || !strings.HasSuffix(a.problem(t).Type, "/not-inspected")) {
			t.Errorf("Retry-After %q, body %s", a.Header.Get("Retry-After"), a.body)
		}
		if a := g.do("POST", "/detect/1", strings.NewReader(body), head...); a.StatusCode != 200 {
			t.Errorf("overload: %s, detect: status %d", c.overload, a.StatusCode)
		}
		for _, l := range g.lines() {
			if l["waf"] == nil || l["waf"].(map[string]any)["limit"] != "overload" {
				t.Errorf("overload: %s: the access log says %v", c.overload, l["waf"])
			}
		}
		if n := strings.Count(g.events.text(), `"rule":"overload"`); n != 2 {
			t.Errorf("overload: %s: %d events, want 2: %s", c.overload, n, g.events.text())
		}
	}
}

package proxy

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/internal/issuer"
	"sluice/waf/bans"
)

// oneNode is a store of facts without gossip.
type oneNode struct{ book *bans.Book }

func (s *oneNode) Set(kind, key string, value []byte, expires time.Time) error {
	s.book.Apply([]bans.Fact{{Kind: kind, Key: key, Value: value, Expires: expires}})
	return nil
}

func (s *oneNode) Delete(kind, key string) error {
	s.book.Apply([]bans.Fact{{Kind: kind, Key: key, Gone: true}})
	return nil
}

func newBook() *bans.Book {
	s := new(oneNode)
	s.book = bans.NewBook(s, nil)
	return s.book
}

func put(t *testing.T, b *bans.Book, l bans.List, action bans.Action, target string) bans.Target {
	t.Helper()
	at, err := bans.ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Add(bans.Entry{Target: at, List: l, Action: action, Reason: "test", Until: time.Now().Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	return at
}

// Every kind of ban shuts out, through the file and through the book, what it
// names and nothing else, until it is taken back.
func TestEveryBanShutsOut(t *testing.T) {
	g := newRig(t, http.HandlerFunc(seen), apiRoutes)
	book := g.deps.Bans
	acme := "Authorization: " + g.token(issuer.Claims{Tenant: "acme", Subject: "auth0|ann"})
	globex := "Authorization: " + g.token(issuer.Claims{Tenant: "globex", Subject: "auth0|bob"})
	for _, c := range []struct {
		target        string
		banned, other []string // path, then headers
	}{
		{"127.0.0.0/8", []string{"/api/x", acme}, nil},
		{"::/0", nil, []string{"/api/x", acme}},
		{"tenant=acme", []string{"/api/x", acme}, []string{"/api/x", globex}},
		{"subject=auth0|ann", []string{"/api/x", acme}, []string{"/api/x", globex}},
		{"route=/public/*", []string{"/public/x"}, []string{"/api/x", acme}},
		{"path=/api/export/*", []string{"/api/export/7", acme}, []string{"/api/exports", acme}},
		{"path=/api/export/*", []string{"/api/./export//7", acme}, nil}, // the path that is matched
		{"agent=sqlmap", []string{"/public/x", "User-Agent: SQLMap/1.8#stable"}, []string{"/public/x", "User-Agent: curl/8"}},
	} {
		try := func(how string, request []string, want int) {
			t.Helper()
			if request == nil {
				return
			}
			a := g.get(request[0], request[1:]...)
			if a.StatusCode != want {
				t.Errorf("%s by the %s: %v: got %d, want %d: %s", c.target, how, request, a.StatusCode, want, a.body)
			}
			if want == 403 && (!strings.HasSuffix(a.problem(t).Type, "/blocked") || strings.Contains(a.body, "test")) {
				t.Errorf("%s: %s", c.target, a.body)
			}
		}
		try("nothing", c.banned, 200)
		at := put(t, book, bans.Banned, bans.Block, c.target)
		try("book", c.banned, 403)
		try("book", c.other, 200)
		if _, err := book.Remove(bans.Banned, at); err != nil {
			t.Fatal(err)
		}
		try("nothing", c.banned, 200)

		g.recompile(t, func(text string) string {
			return text + fmt.Sprintf("waf: {bans: [{target: %q, reason: test, until: 2999-01-01T00:00:00Z}]}\n", c.target)
		})
		try("file", c.banned, 403)
		try("file", c.other, 200)
		g.recompile(t, func(text string) string { return text })
	}
	refused := 0
	for _, l := range g.lines() {
		if l["origin"] == "blocked" {
			refused++
			if text, _ := l["error"].(string); !strings.HasPrefix(text, "banned: ") || !strings.HasSuffix(text, ": test") {
				t.Errorf("the access line says %q", text)
			}
		}
	}
	if refused != 14 {
		t.Errorf("%d access lines of refusals, want 14", refused)
	}
}

// recompile applies the rig's first configuration, changed.
func (g *rig) recompile(t *testing.T, change func(string) string) {
	t.Helper()
	g.apply(change(g.text))
}

func TestActionsOfABan(t *testing.T) {
	g := newRig(t, http.HandlerFunc(seen), apiRoutes)
	book := g.deps.Bans
	at := put(t, book, bans.Banned, bans.Challenge, "127.0.0.1")
	a := g.get("/public/x")
	if wait, _ := strconv.Atoi(a.Header.Get("Retry-After")); a.StatusCode != 429 || wait < 50 || wait > 60 || !strings.HasSuffix(a.problem(t).Type, "/abnormal-usage") {
		t.Errorf("challenge: %d %v %s", a.StatusCode, a.Header, a.body)
	}
	put(t, book, bans.Banned, bans.Tarpit, "127.0.0.1")
	began := time.Now()
	if a := g.get("/public/x"); a.StatusCode != 200 || time.Since(began) < tarpitDelay {
		t.Errorf("tarpit: %d after %v", a.StatusCode, time.Since(began))
	}
	g.tarpits.Store(maxTarpits)
	if a := g.get("/public/x"); a.StatusCode != 429 {
		t.Errorf("a tarpit that is full: %d", a.StatusCode)
	}
	if n := g.tarpits.Load(); n != maxTarpits {
		t.Errorf("%d in the tarpit, want %d", n, maxTarpits)
	}
	if n := book.Find(bans.Banned, at).Count(); n != 3 {
		t.Errorf("the ban met %d requests, want 3", n)
	}
}

// An allowlist wins over every ban, and one of an identity once its credential
// is verified. Whoever else is behind the banned address learns nothing of the
// credentials that it tries.
func TestAllowlistWins(t *testing.T) {
	g := newRig(t, http.HandlerFunc(seen), apiRoutes, "trusted_proxies: [127.0.0.1]")
	book := g.deps.Bans
	from := func(a string) string { return "X-Forwarded-For: " + a }
	ann := "Authorization: " + g.token(issuer.Claims{Tenant: "acme", Subject: "auth0|ann"})
	bob := "Authorization: " + g.token(issuer.Claims{Tenant: "globex", Subject: "auth0|bob"})
	expect := func(what string, want int, path string, headers ...string) {
		t.Helper()
		if a := g.get(path, headers...); a.StatusCode != want {
			t.Errorf("%s: got %d, want %d: %s", what, a.StatusCode, want, a.body)
		}
	}
	put(t, book, bans.Detected, bans.Block, "203.0.113.9")
	expect("banned, with a good credential", 403, "/api/x", from("203.0.113.9"), ann)
	put(t, book, bans.Allowed, bans.Block, "subject=auth0|ann")
	expect("allowed subject behind a banned address", 200, "/api/x", from("203.0.113.9"), ann)
	expect("another subject there", 403, "/api/x", from("203.0.113.9"), bob)
	expect("a wrong credential there", 403, "/api/x", from("203.0.113.9"), "Authorization: Bearer x.y.z")
	expect("nobody there", 403, "/public/x", from("203.0.113.9"))
	expect("a credential that nobody looks at", 403, "/public/x", from("203.0.113.9"), ann)
	expect("another address", 200, "/api/x", from("203.0.113.10"), bob)

	put(t, book, bans.Banned, bans.Block, "tenant=acme")
	expect("allowed subject of a banned tenant", 200, "/api/x", ann)
	put(t, book, bans.Banned, bans.Block, "path=*")
	put(t, book, bans.Allowed, bans.Block, "198.51.100.0/24")
	expect("everything is banned", 403, "/api/x", from("203.0.113.10"), bob)
	expect("but not for an allowed network", 200, "/api/x", from("198.51.100.7"), bob)

	g.recompile(t, func(text string) string {
		return text + "waf: {ip: {deny: [198.51.100.0/24, 203.0.113.0/24], allow: [203.0.113.64/26]}}\n"
	})
	expect("allowed by an operator, denied by the file", 200, "/api/x", from("198.51.100.7"), bob)
	expect("banned by an operator, allowed by the file", 200, "/api/x", from("203.0.113.70"), bob)
	expect("denied by the file, allowed subject", 200, "/api/x", from("203.0.113.1"), ann)
}

// A route's own lists hold for it alone, and no other list opens it.
func TestAddressListsOfARoute(t *testing.T) {
	g := newRig(t, http.HandlerFunc(seen), `
waf: {ip: {allow: [203.0.113.0/24]}}
routes:
  - {path: /inner/*, service: app, auth: none, ip: {deny: [0.0.0.0/0, "::/0"], allow: [10.0.0.0/8]}}
  - {path: /public/*, service: app, auth: none}
`, "trusted_proxies: [127.0.0.1]")
	put(t, g.deps.Bans, bans.Allowed, bans.Block, "203.0.113.9")
	for _, c := range []struct {
		path, from string
		want       int
	}{
		{"/inner/x", "10.1.2.3", 200}, {"/inner/x", "203.0.113.9", 403}, {"/inner/x", "2001:db8::1", 403}, {"/public/x", "203.0.113.9", 200},
	} {
		if a := g.get(c.path, "X-Forwarded-For: "+c.from); a.StatusCode != c.want {
			t.Errorf("%s from %s: got %d, want %d", c.path, c.from, a.StatusCode, c.want)
		}
	}
}

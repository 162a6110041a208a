package conf

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// goodEnv is the environment of the documents in testdata/good.
func goodEnv(name string) (string, bool) {
	value, ok := map[string]string{
		"SLUICE_ADMIN_TOKEN": "an-operator-token-of-some-length",
		"SLUICE_GOSSIP_KEY":  "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
		"ALERT_WEBHOOK":      "https://hooks.example/services/T0/B0/canary",
		"PORT":               "8081",
		"REQUESTS":           "1_000",
		"HTTP3":              "true",
		"BRACES":             "{a: b}",
		"DOLLAR":             "${PORT}",
		"UPSTREAM_TOKEN":     "upstream-canary",
	}[name]
	return value, ok
}

func goodFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("good documents: %d, %v", len(files), err)
	}
	return files
}

func parseGood(t testing.TB, file string) (*Document, Problems) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d, ps := Parse(file, data, goodEnv)
	if d == nil {
		t.Fatalf("%s is refused:\n%v", file, ps.Err())
	}
	return d, ps
}

// parseText parses a document that must be right but for warnings.
func parseText(t testing.TB, text string) *Document {
	t.Helper()
	d, ps := Parse("test.yaml", []byte(text), goodEnv)
	if d == nil {
		t.Fatalf("refused:\n%v", ps.Err())
	}
	return d
}

// Only what is announced for later may warn in the design's example.
func TestGoodDocumentsLoadWithoutComplaint(t *testing.T) {
	for _, file := range goodFiles(t) {
		_, ps := parseGood(t, file)
		for _, p := range ps {
			if !strings.HasPrefix(p.Message, "accepted, but in this version") && !strings.HasSuffix(file, "empty.yaml") {
				t.Errorf("unexpected: %v", p)
			}
		}
	}
}

func TestDesignExample(t *testing.T) {
	d, ps := parseGood(t, "testdata/good/design.yaml")
	if errors, warnings := ps.Count(); errors != 0 || warnings != 4 {
		t.Errorf("%d errors and %d warnings, want 0 and the 4 settings of later versions", errors, warnings)
	}
	for _, c := range []struct{ what, got, want any }{
		{"route limit", d.Routes[1].Limit.Requests, int64(10)},
		{"route limit counts by", d.Routes[1].Limit.By, "tenant"},
		{"route timeout", d.Routes[1].Timeout.String(), "5m"},
		{"route without timeout", d.Routes[0].Timeout, Duration(0)},
		{"route name", d.Routes[0].Name, "/api/items/*"},
		{"body limit", d.Routes[3].MaxBody, Size(65536)},
		{"auth by default", d.Routes[3].Auth, "required"},
		{"short upstream", d.Services["items"].Upstreams[0], Upstream{"http://127.0.0.1:8000", 1}},
		{"long upstream", d.Services["items"].Upstreams[1], Upstream{"http://127.0.0.1:8001", 3}},
		{"response header timeout", d.Services["items"].Timeout.Header.String(), "30s"},
		{"keys", d.Auth.Issuers[0].JWKSURL, "https://acme.eu.auth0.com/.well-known/jwks.json"},
		{"token", d.Admin.Token.Reveal(), "an-operator-token-of-some-length"},
		{"burst", *d.Tiers["standard"].Burst, Burst{50, 1000}},
		{"trusted", d.Listeners[1].TrustedProxies[0].String(), "10.0.0.0/8"},
		{"sampling", d.Traces.Sample, Percent(0.01)},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%v = %v, want %v", c.what, c.got, c.want)
		}
	}
}

// An empty file is a gateway that answers 404 on :8080, with every default.
func TestEmptyDocumentIsUsable(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing yet\n", "---\n", "{}", "null", "\ufeff"} {
		d, ps := Parse("empty.yaml", []byte(text), nil)
		if d == nil {
			t.Fatalf("%q is refused: %v", text, ps.Err())
		}
		if len(ps) != 1 || ps[0].Path != "routes" {
			t.Errorf("%q: problems %v, want the warning about routes alone", text, ps)
		}
		if len(d.Listeners) != 1 || d.Listeners[0].Address != ":8080" || d.Listeners[0].TLS != nil || d.Listeners[0].MaxHeader != 65536 {
			t.Errorf("%q: listeners %+v, want a plain one on :8080 with its defaults", text, d.Listeners)
		}
		for name, want := range map[string]int64{"standard": 1000, "premium": 5000, "enterprise": 10000} {
			if l := d.Tiers[name]; l.Requests != want || l.Per.String() != "1h" || l.Window != "sliding" || l.Burst != nil {
				t.Errorf("%q: tier %s = %+v, want %d an hour", text, name, l, want)
			}
		}
		if l := d.Limits.Anonymous; l == nil || l.Requests != 100 || l.Per.String() != "1h" {
			t.Errorf("%q: anonymous limit %+v, want 100 an hour", text, l)
		}
		if d.Node.Name == "" || d.Limits.DefaultTier != "standard" || d.Admin.Address != "127.0.0.1:9090" {
			t.Errorf("%q: defaults are missing: %+v", text, d)
		}
	}
}

// A zero that the file gives is not the absence that a default fills.
func TestGivenZeroIsKept(t *testing.T) {
	d := parseText(t, `
node: {drain_timeout: 0}
auth: {cache_tokens: 0}
services: {a: {upstreams: ["http://127.0.0.1:1"], retry: {budget: 0, on: []}}}
routes:
  - {path: /free, service: a, auth: none, cost: 0}
  - {path: /one, service: a, auth: none}
`)
	if d.Routes[0].Cost != 0 || d.Routes[1].Cost != 1 {
		t.Errorf("costs %d and %d, want 0 as given and 1 by default", d.Routes[0].Cost, d.Routes[1].Cost)
	}
	a := d.Services["a"]
	if d.Node.DrainTimeout != 0 || d.Auth.CacheTokens != 0 || a.Retry.Budget != 0 || len(a.Retry.On) != 0 {
		t.Errorf("a given zero became a default: %v %v %+v", d.Node.DrainTimeout, d.Auth.CacheTokens, a.Retry)
	}
}

func TestAnchorsAndMergeKeys(t *testing.T) {
	d := parseText(t, `
x-base: &base
  balance: hash
  timeout: {connect: 2s}
x-more: &more {balance: round_robin, max_idle: 7}
services:
  a: {<<: *base, upstreams: ["http://127.0.0.1:1"]}
  b: {<<: [*base, *more], upstreams: &ups ["http://127.0.0.1:2"], balance: two_choices}
  c: {<<: [*more, *base], upstreams: *ups}
routes:
  - {path: /a, service: a, auth: none}
  - {path: /b, service: b, auth: none}
  - {path: /c, service: c, auth: none}
`)
	for name, want := range map[string]struct {
		balance, connect string
		idle             int
	}{
		"a": {"hash", "2s", 256},
		"b": {"two_choices", "2s", 7}, // its own key wins
		"c": {"round_robin", "2s", 7}, // the first of the merged wins
	} {
		s := d.Services[name]
		if s.Balance != want.balance || s.Timeout.Connect.String() != want.connect || s.MaxIdle != want.idle {
			t.Errorf("service %s: balance %s, connect %v, idle %d; want %+v", name, s.Balance, s.Timeout.Connect, s.MaxIdle, want)
		}
	}
	if got := d.Services["c"].Upstreams[0].URL; got != "http://127.0.0.1:2" {
		t.Errorf("aliased upstream = %q", got)
	}
	if got, want := d.Pos("services.a.timeout.connect").String(), "test.yaml:4:22"; got != want {
		t.Errorf("position of a merged setting %s, want where it is written, %s", got, want)
	}
}

// What refuses a text before it is looked at as settings.
func TestUnreadableTexts(t *testing.T) {
	deep := strings.Repeat("[", 2000) + strings.Repeat("]", 2000)
	var bomb strings.Builder
	bomb.WriteString("x-a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 9; i++ {
		prev := "*a" + string(rune('0'+i-1))
		bomb.WriteString("x-a" + string(rune('0'+i)) + ": &a" + string(rune('0'+i)) + " [" + strings.Repeat(prev+", ", 9) + prev + "]\n")
	}
	for _, c := range []struct{ name, text, position, message string }{
		{"NUL", "node:\n  name: a\x00b\n", "f:2:10", "NUL"},
		{"not UTF-8", "node: {name: \xff}\n", "f:1:14", "not UTF-8"},
		{"UTF-16", "\xff\xfen\x00o\x00d\x00e\x00", "f:1:1", "not UTF-8"},
		{"control character", "node: {name: \x1b[31m}\n", "f:1:14", "U+001B"},
		{"deep", "node: " + deep, "f:1:70", "nested more than 64"},
		{"deeper than the parser", strings.Repeat("[", 20000), "f:1:1", "max depth"},
		{"alias bomb", bomb.String(), "f:1:", "grows too large"},
		{"too large", strings.Repeat("#", maxBytes+1), "f", "larger than 8MiB"},
	} {
		d, ps := Parse("f", []byte(c.text), nil)
		if d != nil || len(ps) != 1 {
			t.Errorf("%s: document %v, problems %v; want one error", c.name, d != nil, ps)
			continue
		}
		if !strings.HasPrefix(ps[0].Position.String(), c.position) || !strings.Contains(ps[0].Message, c.message) || ps[0].Hint == "" {
			t.Errorf("%s: %v; want %q at %s, with a hint", c.name, ps[0], c.message, c.position)
		}
	}
}

func TestManyProblemsAreCut(t *testing.T) {
	_, ps := Parse("f", []byte("routes:\n"+strings.Repeat("  - {pth: /}\n", 1000)), nil)
	if len(ps) != maxProblems+1 || !strings.Contains(ps[len(ps)-1].Message, "further problems") {
		t.Errorf("%d problems, the last %v; want %d and a word about the rest", len(ps), ps[len(ps)-1], maxProblems)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "sluice.yaml")
	text := "node: {name: \"${SLUICE_CONF_TEST_NAME}\"}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SLUICE_CONF_TEST_NAME", "from-the-environment")
	d, ps := Load(file)
	if d == nil || d.Node.Name != "from-the-environment" || d.File() != file {
		t.Fatalf("Load = %+v, %v", d, ps)
	}
	for path, message := range map[string]string{
		filepath.Join(dir, "none.yaml"): "no such file",
		dir:                             "is a directory",
	} {
		d, ps := Load(path)
		if d != nil || len(ps) != 1 || !strings.Contains(ps[0].Message, message) || strings.Count(ps[0].Error(), path) != 1 {
			t.Errorf("Load(%s) = %v, %v; want %q with the path once", path, d != nil, ps, message)
		}
	}
}

func TestPositions(t *testing.T) {
	d := parseText(t, `listeners:
  - address: ":8443"
    tls:
      certificates:
        - {cert: a.crt, key: a.key}
tiers:
  standard: {requests: 5}
  "a.b[c]": {requests: 7}
routes: []
`)
	for path, want := range map[string]string{
		"listeners[0].tls.certificates[0].cert": "test.yaml:5:18",
		"listeners[0].tls.certificates[0]":      "test.yaml:5:11",
		"listeners[0].address":                  "test.yaml:2:14",
		"listeners[0].timeout.header":           "test.yaml:2:5", // a default: what is around it
		"tiers.standard.requests":               "test.yaml:7:24",
		`tiers["a.b[c]"].requests`:              "test.yaml:8:24",
		`tiers["a.b[c]"].burst.rate`:            "test.yaml:8:13",
		"admin.address":                         "test.yaml:1:1",
		"":                                      "test.yaml:1:1",
		"no.such[3].thing":                      "test.yaml:1:1",
	} {
		if got := d.Pos(path).String(); got != want {
			t.Errorf("Pos(%s) = %s, want %s", path, got, want)
		}
	}
	if got := new(Document).Pos("node.name"); got != (Position{}) {
		t.Errorf("Pos of a document without a file = %v", got)
	}
}

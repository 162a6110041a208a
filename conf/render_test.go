package conf

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestProblemsAsErrorsAndJSON(t *testing.T) {
	p := Problem{Position{"a.yaml", 41, 15}, "services.orders.balance", SeverityError, `unknown value "x"`, "write hash"}
	w := Problem{Position{"a.yaml", 0, 0}, "", SeverityWarning, "something", ""}
	if got, want := p.Error(), `a.yaml:41:15: services.orders.balance: unknown value "x"; write hash`; got != want {
		t.Errorf("Error() = %s\nwant      %s", got, want)
	}
	if got, want := w.Error(), "a.yaml: something"; got != want {
		t.Errorf("Error() = %s, want %s", got, want)
	}
	got, err := json.Marshal(Problems{p, w})
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"file":"a.yaml","line":41,"column":15,"path":"services.orders.balance","severity":"error","message":"unknown value \"x\"","hint":"write hash"},` +
		`{"file":"a.yaml","severity":"warning","message":"something"}]`
	if string(got) != want {
		t.Errorf("JSON %s\nwant %s", got, want)
	}
	if none, err := json.Marshal(Problems(nil)); err != nil || string(none) != "[]" {
		t.Errorf("no problems are %s in JSON, %v; want an empty list", none, err)
	}
	if err := (Problems{w}).Err(); err != nil {
		t.Errorf("warnings alone are an error: %v", err)
	}
	err = Problems{w, p}.Err()
	if as, ok := errors.AsType[Problem](err); !ok || as != p {
		t.Errorf("Err() = %v, want the error among the problems", err)
	}
	for want, ps := range map[string]Problems{
		"": nil, "1 warning.": {w}, "1 error. Nothing was applied.": {p}, "2 errors, 1 warning. Nothing was applied.": {p, w, p},
	} {
		if got := ps.Summary(); got != want {
			t.Errorf("Summary() = %q, want %q", got, want)
		}
	}
}

func TestRenderedExcerpts(t *testing.T) {
	long := "routes: [" + strings.Repeat("{path: /x}, ", 20) + "{path: wrong}, " + strings.Repeat("{path: /y}, ", 20) + "]"
	for _, c := range []struct {
		name, source string
		line, column int
		want         string
	}{
		{"the last line", "a: 1\nb: two", 2, 4, "  2 | b: two\n    |    ^^^ HINT\n"},
		{"carriage returns", "a: x\r\nb: y\r\n", 1, 4, "  1 | a: x\n    |    ^ HINT\n"},
		{"letters of several bytes", "ключ: значение # x", 1, 7, "  1 | ключ: значение # x\n    |       ^^^^^^^^ HINT\n"},
		{"what would move the cursor", "a: \"\x1b[2J\u202e\" # x", 1, 1, "  1 | a: \"·[2J·\" # x\n    | ^ HINT\n"},
		{"after a secret", "{token: hunter2hunter2, x: 1}", 1, 25, "  1 | {token: [redacted], x: 1}\n    |                     ^ HINT\n"},
		{"inside a secret", "token: hunter2hunter2", 1, 12, "  1 | token: [redacted]\n    |        ^^^^^^^^^^ HINT\n"},
		{"in quotes", `a: {b: "c, \" d", e: f}`, 1, 8, "  1 | a: {b: \"c, \\\" d\", e: f}\n    |        ^^^^^^^^^ HINT\n"},
		{"a variable with a default", "a: [${B:-c, d}, e]", 1, 5, "  1 | a: [${B:-c, d}, e]\n    |     ^^^^^^^^^^ HINT\n"},
		{"beyond the line", "a: b", 1, 99, "  1 | a: b\n    |     ^ HINT\n"},
		{"a long line", long, 1, strings.Index(long, "wrong") + 1,
			"  1 | …: /x}, {path: /x}, {path: /x}, {path: /x}, {path: wrong}, {path: /y}, {path: /y}, {path: /y}, {path:…\n" +
				"    |                                                    ^^^^^ HINT\n"},
	} {
		var b bytes.Buffer
		ps := Problems{{Position: Position{"f", c.line, c.column}, Message: "M", Hint: "HINT"}}
		if err := ps.Render(&b, []byte(c.source), false); err != nil {
			t.Fatal(err)
		}
		_, got, _ := strings.Cut(b.String(), "\n")
		got, _, _ = strings.Cut(got, "1 error.")
		if got != c.want {
			t.Errorf("%s:\n%s\nwant:\n%s", c.name, got, c.want)
		}
	}
}

func TestRenderWithoutSourceAndWithColor(t *testing.T) {
	var b bytes.Buffer
	ps := Problems{
		{Position: Position{File: "f"}, Message: "there is no such file", Hint: "name one"},
		{Position: Position{"f", 7, 1}, Severity: SeverityWarning, Path: "a.b", Message: "M", Hint: "H"},
	}
	if err := ps.Render(&b, nil, false); err != nil {
		t.Fatal(err)
	}
	want := "f: error: there is no such file; name one\nf:7:1: warning: a.b: M; H\n1 error, 1 warning. Nothing was applied.\n"
	if b.String() != want {
		t.Errorf("got:\n%swant:\n%s", b.String(), want)
	}
	b.Reset()
	if err := ps.Render(&b, []byte("x: y"), true); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "\x1b[1;31merror\x1b[0m") || !strings.Contains(b.String(), "\x1b[1;33mwarning\x1b[0m") {
		t.Errorf("no color in %q", b.String())
	}
	if err := ps.Render(failingWriter{}, nil, false); err == nil {
		t.Error("a failing writer goes unnoticed")
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("full") }

// Secrets are masked wherever they stand, and whatever else is wrong.
func TestSecretsAreMasked(t *testing.T) {
	for _, source := range []string{
		"admin: {token: hunter2}",
		"admin: {token: 'hunter2', address: x}",
		"admin: {\"token\": \"hunter2\"}",
		"admin:\n  token: >\n    hunter2\n    hunter2\n  address: x",
		"admin:\n  token: hunter2\n    hunter2\n  address: x",
		"admin:\n  token: !!str hunter2",
		"admin:\n  token: &t hunter2\n  address: *t",
		"admin: {token: [hunter2, {a: hunter2}]}",
		"admin: [{token: hunter2}]",
		"redis: {password: \"${X:-hunter2}\"}",
		"x-redis: &r {password: hunter2}\nredis: *r",
		"x-redis: &r {password: hunter2}\nredis: {<<: *r}",
		"x-a: &a hunter2\nadmin: {token: *a}",
		"alerts: {webhooks: [{url: hunter2}, hunter2]}",
		"alerts: {webhooks: {url: hunter2}}",
		"alerts: {webhooks: hunter2}",
		"store: hunter2",
		"services: {a: {upstreams: [\"http://hunter2@x\"]}}",
		"tokens: hunter2",
		"nonsense: {deep: [{client_secret: hunter2}]}",
		"routes: [{set_headers: {Authorization: hunter2, Cookie: hunter2, X-Api-Key: hunter2}}]",
		"admin: {token: hunter2, address: [}",
		"admin:\n  token: \"hunter2",
		"a: {password: hunter2",
		"# admin:\n#  token: hunter2\na: [",
	} {
		lines := strings.Count(source, "\n") + 1
		var ps Problems
		for line := range lines {
			for column := range 60 {
				ps = append(ps, Problem{Position: Position{"f", line + 1, column + 1}, Message: "M"})
			}
		}
		var b bytes.Buffer
		if err := ps.Render(&b, []byte(source), false); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), canary) {
			at := strings.Index(b.String(), canary)
			t.Errorf("%q shows the secret: %s", source, b.String()[max(0, at-60):at+7])
		}
	}
	// What only names a secret is worth showing.
	var b bytes.Buffer
	ps := Problems{{Position: Position{"f", 1, 9}, Message: "M"}}
	if err := ps.Render(&b, []byte("admin: {token: \"${TOKEN}\"}"), false); err != nil || !strings.Contains(b.String(), "${TOKEN}") {
		t.Errorf("the name of a variable is masked: %s %v", b.String(), err)
	}
}

func TestPathsAreUndone(t *testing.T) {
	for _, base := range []string{"", "a", "a.b", "a[3]", `t["x.y"]`} {
		for _, key := range []string{"k", "k-1", "a.b", "a[0]", `q"q`, `["x"]`, "ü", "", `\`, "a]"} {
			if got := parentPath(keyPath(base, key)); got != base {
				t.Errorf("parent of %s is %q, want %q", keyPath(base, key), got, base)
			}
		}
		if got := parentPath(indexPath(base, 12)); base != "" && got != base {
			t.Errorf("parent of %s is %q, want %q", indexPath(base, 12), got, base)
		}
	}
}

func TestSuggestions(t *testing.T) {
	words := []string{"round_robin", "least_request", "two_choices", "hash"}
	for word, want := range map[string]string{
		"least_requests": "least_request", "leastRequest": "least_request", "LEAST-REQUEST": "least_request", "roundrobin": "round_robin",
		"hsah": "hash", "hahs": "hash", "h": "", "random": "", "": "", "two_choises": "two_choices",
	} {
		if got := suggest(word, words); got != want {
			t.Errorf("suggest(%q) = %q, want %q", word, got, want)
		}
	}
}

//go:build integration

package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/internal/testkit"
)

// fiveMistakes has one on each of the lines that the test names.
const fiveMistakes = `listeners:
  - address: ":99999"
services:
  items:
    upstreams: ["http://127.0.0.1:8000"]
    balance: least_requests
    timeout: {connect: 5}
rouets: []
routes:
  - {path: /api/*, service: itmes}
`

func TestCheckSaysEverythingThatIsWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(path, []byte(fiveMistakes), 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := sluice(t, "check", path)
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{
		path + ":2:14: ", "99999",
		path + ":6:14: ", `"least_request"`,
		path + ":7:24: ", "5s",
		path + ":8:1: ", `"routes"`,
		path + ":10:29: ", `"items"`,
		"5 errors",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	out, _, code = run(t, "check", "--json", path)
	var got struct {
		OK       bool
		Problems []struct {
			Line, Column            int
			Severity, Message, Hint string
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 1 || got.OK {
		t.Fatalf("exit %d, %v: %s", code, err, out)
	}
	errors := 0
	for _, p := range got.Problems {
		if p.Severity == "error" {
			errors++
		}
		if p.Line == 0 || p.Column == 0 || p.Message == "" {
			t.Errorf("incomplete: %+v", p)
		}
	}
	if errors != 5 {
		t.Errorf("%d errors, want 5", errors)
	}
}

func TestCheckAcceptsTheExampleAndPrintsTheSchema(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sluice.yaml")
	testkit.WriteTemplate(t, path, exampleConfig(t), nil)
	if out, code := sluice(t, "check", path); code != 0 || !strings.Contains(out, "ok") {
		t.Errorf("exit %d: %s", code, out)
	}
	out, _, code := run(t, "check", "--schema")
	var schema map[string]any
	if err := json.Unmarshal([]byte(out), &schema); err != nil || code != 0 || schema["$schema"] == nil || schema["properties"] == nil {
		t.Errorf("exit %d, %v", code, err)
	}
}

func TestUsageErrorsExitWith2(t *testing.T) {
	for _, args := range [][]string{{"sreve"}, {"serve", "--confg", "x"}, {"check", "a", "b"}, {"demo", "--port-base", "70000"}} {
		if out, code := sluice(t, args...); code != 2 || !strings.Contains(out, "--help") {
			t.Errorf("%v: exit %d: %s", args, code, out)
		}
	}
	if out, code := sluice(t, "serve", "--config", "/nonexistent/sluice.yaml"); code != 1 || !strings.Contains(out, "/nonexistent/sluice.yaml") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// A command says what it was asked for, and libraries add nothing of their own.
func TestCommandsSayNothingUnasked(t *testing.T) {
	if out, stderr, code := run(t, "version"); code != 0 || out == "" || stderr != "" {
		t.Errorf("exit %d, %q, and on standard error %q", code, out, stderr)
	}
}

// Package archtest holds the floors of the house: imports only go down, and
// rooms on one floor do not know each other.
package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"
)

// floors lists every room with the floor it stands on. A room may import rooms
// of lower floors only; its own sub-packages count as the room itself. proxy
// and what lies below it are separate rooms on separate floors.
var floors = map[string]int{
	"cmd": 5, "test": 5, "loadtest": 5, "examples": 5,
	"proxy": 4, "admin": 4,
	"proxy/router": 3, "proxy/upstream": 3, "proxy/front": 3, "proxy/transform": 3,
	"proxy/h1": 2,
	"auth":     1, "limiter": 1, "cluster": 1, "waf": 1, "store": 1, "tls/certs": 1, "tls/policy": 1,
	"conf": 0, "telemetry": 0, "internal": 0,
}

type listed struct {
	ImportPath string
	Imports    []string
}

// room returns the longest listed room that holds the package, "" when none does.
func room(pkg string) string {
	for dir := strings.TrimPrefix(pkg, "sluice/"); dir != "."; dir = path.Dir(dir) {
		if _, ok := floors[dir]; ok {
			return dir
		}
	}
	return ""
}

// violation says what is wrong with from importing to, "" when nothing is.
func violation(from, to string) string {
	a, b := room(from), room(to)
	switch {
	case a == "" || b == "":
		return "stands on no floor: add its room to floors"
	case a == b:
		return ""
	case floors[a] == 5 && floors[b] == 5:
		return "nothing imports cmd, test, loadtest or examples"
	case floors[b] > floors[a]:
		return "imports go down only"
	case floors[b] == floors[a] && b != "internal":
		return "siblings do not know each other: declare an interface and let cmd introduce them"
	}
	return ""
}

func TestImportsGoDownOnly(t *testing.T) {
	out, err := exec.Command("go", "list", "-pgo=off", "-json=ImportPath,Imports", "sluice/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		if room(p.ImportPath) == "" {
			t.Errorf("%s stands on no floor: add its room to floors", p.ImportPath)
		}
		for _, imp := range p.Imports {
			if !strings.HasPrefix(imp, "sluice/") {
				continue
			}
			if v := violation(p.ImportPath, imp); v != "" {
				t.Errorf("%s imports %s: %s", p.ImportPath, imp, v)
			}
		}
	}
	if seen < 10 {
		t.Fatalf("saw %d packages; the list is not whole", seen)
	}
}

func TestViolationsAreSeen(t *testing.T) {
	for _, c := range []struct {
		from, to string
		bad      bool
	}{
		{"sluice/proxy", "sluice/auth", false},
		{"sluice/proxy/upstream", "sluice/proxy/h1", false},
		{"sluice/limiter", "sluice/limiter/core", false},
		{"sluice/auth", "sluice/limiter", true},
		{"sluice/auth", "sluice/proxy", true},
		{"sluice/proxy", "sluice/admin", true},
		{"sluice/conf", "sluice/telemetry", true},
		{"sluice/proxy/router", "sluice/proxy/upstream", true},
		{"sluice/proxy", "sluice/cmd/sluice", true},
		{"sluice/proxy", "sluice/nowhere", true},
	} {
		if got := violation(c.from, c.to); (got != "") != c.bad {
			t.Errorf("%s importing %s: got %q, want a violation: %v", c.from, c.to, got, c.bad)
		}
	}
}

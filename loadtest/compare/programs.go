package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// program is an executable of the comparison.
type program struct {
	path string
	hint string // how to get it, when path is empty
}

// A hint for each program that is not part of this module.
var hints = map[string]string{
	"nginx":   "apt-get install nginx-light",
	"haproxy": "apt-get install haproxy",
	"wrk":     "apt-get install wrk",
	"caddy":   "GOBIN=$PWD/bin go install github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9",
}

// findProgram looks in the module's bin/, in PATH, and where servers are kept
// that are not in everyone's PATH.
func findProgram(name string) program {
	for _, candidate := range []string{filepath.Join("bin", name), name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			if path, err = filepath.Abs(path); err == nil {
				return program{path: path}
			}
		}
	}
	return program{hint: hints[name]}
}

// buildSluice builds the gateway as make build does, so that what is measured
// is what this tree holds. Call it from inside the module.
func buildSluice(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "sluice")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, "sluice/cmd/sluice")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build sluice: %w\n%s", err, out)
	}
	return path, nil
}

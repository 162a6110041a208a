//go:build integration

package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// TestTheClusterExample runs examples/cluster as its README says.
func TestTheClusterExample(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"up", "sluice.yaml"} {
		text, err := os.ReadFile(filepath.Join(testkit.Root(t), "examples/cluster", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	base := freePorts(t, 11)
	up := testkit.Start(t, testkit.Command{
		Path: filepath.Join(dir, "up"), Dir: dir, Env: []string{"SLUICE=" + testkit.Sluice(t), "PORT=" + strconv.Itoa(base)},
	})
	up.WaitOutput("three nodes", time.Minute)
	var clients []*testkit.Client
	for i := range 3 {
		clients = append(clients, testkit.NewClient(t, fmt.Sprintf("http://127.0.0.1:%d", base+i)))
	}
	admitted := 0
	for i := range 60 {
		switch r := clients[i%3].Get("/"); r.Status {
		case http.StatusOK:
			admitted++
		case http.StatusTooManyRequests:
		default:
			t.Fatalf("request %d: %d", i, r.Status)
		}
	}
	if admitted > 30 || admitted < 28 {
		t.Errorf("%d requests of 30 admitted by three nodes", admitted)
	}
	env, err := os.ReadFile(filepath.Join(dir, "data/gw-2.env"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(env)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && name == "ADMIN" {
			testkit.NewClient(t, "http://"+value).Get("/readyz").Want(200)
		}
	}
	up.Signal(syscall.SIGINT)
	if code := up.Wait(20 * time.Second); code != 130 {
		t.Errorf("exit code %d", code)
	}
}

//go:build integration

package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// TestTheTenantsExample runs examples/tenants as its README says.
func TestTheTenantsExample(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"try", "sluice.yaml", "policies.yaml"} {
		text, err := os.ReadFile(filepath.Join(testkit.Root(t), "examples/tenants", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	try := testkit.Start(t, testkit.Command{
		Path: filepath.Join(dir, "try"), Dir: dir, Env: []string{"SLUICE=" + testkit.Sluice(t), "PORT=" + strconv.Itoa(freePorts(t, 3))},
	})
	if code := try.Wait(time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	want := regexp.MustCompile(`== acme\n(200 of 50000\n){4}== globex\n(200 of 3\n){3}429 of 3\n== initech\n(403 of \n){4}done`)
	if !want.MatchString(try.Output()) {
		t.Errorf("it printed\n%s", try.Output())
	}
}

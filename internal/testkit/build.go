package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// Environment variables that change what is tested.
const (
	// EnvBinary names a sluice binary to use instead of building one.
	EnvBinary = "SLUICE_TEST_BINARY"
	// EnvRace builds with the race detector when it is not empty.
	EnvRace = "SLUICE_TEST_RACE"
	// EnvPython names the interpreter that has FastAPI. Default: /usr/bin/python3
	EnvPython = "SLUICE_TEST_PYTHON"
)

var builds struct {
	sync.Mutex
	dir      string
	byTarget map[string]*build
}

// build is one binary, made by whoever asks first.
type build struct {
	once sync.Once
	path string
	err  error
}

// Main runs a package's tests, removes what they built, fails when goroutines
// are left, and exits. A test package calls it from TestMain.
func Main(m *testing.M) {
	code := m.Run()
	builds.Lock()
	dir := builds.dir
	builds.Unlock()
	if dir != "" {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintf(os.Stderr, "testkit: %v\n", err)
			code = max(code, 1)
		}
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintf(os.Stderr, "testkit: goroutines are left after all tests: %v\n", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Sluice returns the path of the sluice binary of this checkout, built once;
// see [EnvBinary] and [EnvRace].
func Sluice(t testing.TB) string {
	t.Helper()
	if path := os.Getenv(EnvBinary); path != "" {
		return path
	}
	return Build(t, "./cmd/sluice")
}

// Build returns the path of the binary of a main package, named relative to
// the root of the checkout. Each is built once in the life of a test binary,
// whose TestMain must call [Main].
func Build(t testing.TB, target string) string {
	t.Helper()
	b, dir := buildOf(t, target)
	b.once.Do(func() {
		b.path = filepath.Join(dir, filepath.Base(target))
		args := []string{"build", "-o", b.path}
		if os.Getenv(EnvRace) != "" {
			args = append(args, "-race")
		}
		cmd := exec.Command("go", append(args, target)...)
		cmd.Dir = Root(t)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.path
}

func buildOf(t testing.TB, target string) (b *build, dir string) {
	t.Helper()
	builds.Lock()
	defer builds.Unlock()
	if builds.dir == "" {
		dir, err := os.MkdirTemp("", "sluice-test-")
		if err != nil {
			t.Fatal(err)
		}
		builds.dir, builds.byTarget = dir, make(map[string]*build)
	}
	b = builds.byTarget[target]
	if b == nil {
		b = new(build)
		builds.byTarget[target] = b
	}
	return b, builds.dir
}

// Root returns the root of the checkout: the directory with go.mod, above the
// directory that tests run in.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the working directory")
		}
		dir = parent
	}
}

// CheckLeaks fails the test when goroutines that it started outlive it and the
// clean-ups that were registered after this call.
func CheckLeaks(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if err := goleak.Find(before); err != nil {
			t.Errorf("goroutines outlive the test: %v", err)
		}
	})
}

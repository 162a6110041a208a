//go:build integration

package test

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// TestDemoDoesWhatItPrints runs the demo and then each of its lines in a shell,
// as its user would.
func TestDemoDoesWhatItPrints(t *testing.T) {
	dir := t.TempDir()
	demo := testkit.Start(t, testkit.Command{Path: testkit.Sluice(t), Args: []string{"demo", "--redis", "off", "--dir", dir, "--port-base", strconv.Itoa(freePorts(t, 11))}})
	demo.WaitOutput("Ctrl-C stops everything", time.Minute)
	var file struct {
		Steps []struct{ Title, Command, Expect string }
		Nodes []struct {
			Address, Admin string
			PIDFile        string `json:"pid_file"`
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "demo.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	// What each step's sentence promises, in the order of the steps.
	wants := []string{
		`(?s)HTTP/1.1 200 .*"tenant": "acme"`,
		`(?s)HTTP/1.1 200 .*X-Ratelimit-Limit: 5000`,
		`(?s)HTTP/1.1 401 .*Www-Authenticate: Bearer.*application/problem\+json|(?s)HTTP/1.1 401 .*Www-Authenticate: Bearer`,
		`(?s)HTTP/1.1 200 .*"path": "/public/hello"`,
		`(?s)HTTP/1.1 200 .*"tenant": "acme"`,
		`(?s)HTTP/1.1 403 .*insufficient_scope`,
		`(?s)HTTP/1.1 200 .*"path": "/api/admin/users"`,
		`^$`,
		`(?s)HTTP/1.1 429 .*Retry-After: [1-9]`,
		`(?s)books kept by +demo-[123], copy at demo-[123]\nrights +1000 = [0-9]+ used \+ [0-9]+ held \+ 0 free.*demo-1 `,
		`(?s)acme .*20000/1h`,
		`(?s)HTTP/1.1 200 .*X-Ratelimit-Limit: 20000`,
		`(?s)"access_token":.*"token_type":\s*"Bearer".*"expires_in"`,
	}
	if len(file.Steps) != len(wants) {
		t.Fatalf("%d steps, want %d", len(file.Steps), len(wants))
	}
	for i, s := range file.Steps {
		out, err := exec.Command("bash", "-c", s.Command).Output()
		if err != nil && !strings.HasPrefix(s.Command, "seq") {
			t.Errorf("%s: %v", s.Title, err)
		}
		if !regexp.MustCompile(wants[i]).Match(out) {
			t.Errorf("%s: promised %q, got\n%s", s.Title, s.Expect, out)
		}
	}
	if len(file.Nodes) != 3 {
		t.Fatalf("%d nodes", len(file.Nodes))
	}
	// A node that is killed is started again, and meanwhile the others serve.
	before := pidOf(t, file.Nodes[1].PIDFile)
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	demo.WaitOutput("demo-2 ended", 10*time.Second)
	testkit.NewClient(t, file.Nodes[2].Address).Get("/public/hello").Want(200)
	testkit.Eventually(t, 40*time.Second, func() error {
		if pidOf(t, file.Nodes[1].PIDFile) == before {
			return errors.New("it has not been started again")
		}
		r, err := http.Get(file.Nodes[1].Address + "/public/hello")
		if err == nil {
			r.Body.Close()
		}
		return err
	})

	pid, err := os.ReadFile(file.Nodes[0].PIDFile)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(pid))); err != nil || syscall.Kill(n, 0) != nil {
		t.Errorf("pid file holds %q, which is no process", pid)
	}
	demo.Signal(syscall.SIGINT)
	if code := demo.Wait(20 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := net.DialTimeout("tcp", strings.TrimPrefix(file.Nodes[0].Address, "http://"), time.Second); err == nil {
		t.Error("the gateway still listens")
	}
}

// pidOf reads a pid file.
func pidOf(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDemoSaysWhichPortsAreTaken(t *testing.T) {
	base := freePorts(t, 11)
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(base+1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := exec.Command(testkit.Sluice(t), "demo", "--dir", t.TempDir(), "--port-base", strconv.Itoa(base)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "port "+strconv.Itoa(base+1)) || !strings.Contains(string(out), "--port-base") {
		t.Errorf("%v: %s", err, out)
	}
}

// freePorts finds n ports in a row that are free.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	for range 100 {
		_, text, err := net.SplitHostPort(testkit.FreeAddr(t))
		if err != nil {
			t.Fatal(err)
		}
		base, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		if rowIsFree(base, n) {
			return base
		}
	}
	t.Fatal("no free ports in a row")
	return 0
}

func rowIsFree(base, n int) bool {
	for i := range n {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(base+i))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

package testkit

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

func shell(t testing.TB, script string) *Process {
	t.Helper()
	return Start(t, Command{Path: "/bin/sh", Args: []string{"-c", script}})
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestInvariant1_DescendantsEndWithTheProcess(t *testing.T) {
	CheckLeaks(t)
	p := shell(t, `sleep 300 & echo child $!; wait`)
	child := atoi(t, p.WaitOutput(`child (\d+)`, 5*time.Second)[1])
	if !alive(p.PID()) || !alive(child) {
		t.Fatal("they have not started")
	}
	p.Stop()
	if alive(p.PID()) || alive(child) {
		t.Error("they have not ended")
	}
	p.Stop() // again: nothing happens
}

// An upgrade leaves a successor behind, which goes on writing.
func TestInvariant1_SuccessorsEndWithTheProcess(t *testing.T) {
	p := shell(t, `sh -c 'trap "echo bye; exit" TERM; while [ ! -e "$0" ]; do sleep 0.01; done; echo successor $$; while :; do sleep 0.01; done' `+
		filepath.Join(t.TempDir(), "never")+` & sleep 0.01; echo $! is next`)
	successor := atoi(t, p.WaitOutput(`(\d+) is next`, 5*time.Second)[1])
	if code := p.Wait(5 * time.Second); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if !alive(successor) {
		t.Fatal("the successor ended with its parent")
	}
	p.Stop()
	if alive(successor) {
		t.Error("the successor has not ended")
	}
	if !strings.Contains(p.Output(), "bye") {
		t.Errorf("output %q: the successor was not asked to stop, or its words are lost", p.Output())
	}
}

func TestInvariant1_ProcessesEndWithTheTest(t *testing.T) {
	var p *Process
	t.Run("inner", func(t *testing.T) { p = shell(t, `exec sleep 300`) })
	if alive(p.PID()) {
		t.Error("the process outlives its test")
	}
}

func TestKillEndsWhatIgnoresSignals(t *testing.T) {
	p := shell(t, `trap '' TERM; echo ready; while :; do sleep 0.01; done`)
	p.WaitOutput("ready", 5*time.Second)
	p.Signal(syscall.SIGTERM)
	p.Kill()
	if code := p.Wait(time.Second); code != -1 {
		t.Errorf("exit code %d, want -1", code)
	}
}

func TestWaitReturnsTheExitCode(t *testing.T) {
	p := shell(t, `echo to stderr >&2; exit 3`)
	if code := p.Wait(5 * time.Second); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	p.WaitOutput("to stderr", time.Second)
}

// failing runs f as a test of its own binary would and returns its complaint.
type failing struct {
	testing.TB
	complaint string
}

func (f *failing) Helper() {}
func (f *failing) Fatalf(format string, args ...any) {
	f.complaint = fmt.Sprintf(format, args...)
	panic(f)
}

func complaint(t *testing.T, f func(testing.TB)) (text string) {
	t.Helper()
	fake := &failing{TB: t}
	defer func() {
		if r := recover(); r != nil && r != any(fake) {
			panic(r)
		}
		text = fake.complaint
	}()
	f(fake)
	return ""
}

func TestInvariant2_WaitingEndsWithTheProcess(t *testing.T) {
	start := time.Now()
	got := complaint(t, func(tb testing.TB) {
		p := shell(t, `echo no luck; exit 1`)
		p.t = tb
		defer func() { p.t = t }()
		p.WaitReady("http://" + FreeAddr(t) + "/")
	})
	if !strings.Contains(got, "has ended (exit status 1)") || time.Since(start) > startGrace/2 {
		t.Errorf("after %v: %q, want to be told at once that it has ended", time.Since(start), got)
	}
}

func TestEventuallyReportsTheLastError(t *testing.T) {
	n := 0
	Eventually(t, 5*time.Second, func() error {
		if n++; n < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	got := complaint(t, func(tb testing.TB) {
		Eventually(tb, time.Millisecond, func() error { return errors.New("never") })
	})
	if !strings.Contains(got, "never") {
		t.Errorf("complaint %q, want the last error", got)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var w tail
	line := strings.Repeat("x", 1023) + "\n"
	for range 5 * tailBytes / len(line) {
		if _, err := io.WriteString(&w, line); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(&w, "end"); err != nil {
		t.Fatal(err)
	}
	if got := w.String(); len(got) != tailBytes || !strings.HasSuffix(got, "\nend") {
		t.Errorf("%d bytes that end in %q", len(got), got[max(0, len(got)-8):])
	}
}

func TestBuildMakesABinaryOnce(t *testing.T) {
	first := Build(t, "./internal/testkit/testdata/hello")
	info, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	second := Build(t, "./internal/testkit/testdata/hello")
	if again, err := os.Stat(second); err != nil || second != first || !os.SameFile(info, again) || again.ModTime() != info.ModTime() {
		t.Errorf("%s then %s: %v", first, second, err)
	}
	if out, err := exec.Command(first).Output(); err != nil || string(out) != "hello\n" {
		t.Errorf("it says %q: %v", out, err)
	}
}

func TestFreeAddrGivesEachPortOnce(t *testing.T) {
	seen := make(map[string]bool)
	for range 100 {
		addr := FreeAddr(t)
		if seen[addr] {
			t.Fatalf("%s twice", addr)
		}
		seen[addr] = true
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
}

func TestWriteTemplateRefusesMissingVariables(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	WriteTemplate(t, path, "a {{.X}}", map[string]any{"X": 1})
	got := complaint(t, func(tb testing.TB) { WriteTemplate(tb, path, "b {{.Y}}", map[string]any{"X": 1}) })
	if !strings.Contains(got, "Y") {
		t.Errorf("complaint %q, want the missing name", got)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "a 1" {
		t.Errorf("file %q, %v; want the former one", text, err)
	}
}

func TestClient(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/", http.StatusFound)
			return
		}
		w.Header().Set("Seen", r.Method+" "+r.Host+" "+r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.Copy(w, r.Body)
	}))
	defer srv.Close()
	c := NewClient(t, srv.URL+"/")
	resp := c.Post("/", JSON(map[string]int{"a": 1}), Bearer("x"), Header("host", "h.example")).Want(http.StatusCreated)
	var body struct{ A int }
	resp.JSON(&body)
	if seen := resp.Header.Get("Seen"); seen != "POST h.example Bearer x" || body.A != 1 {
		t.Errorf("seen %q, body %+v", seen, body)
	}
	c.Get("/moved").Want(http.StatusFound)
	got := Raw(t, strings.TrimPrefix(srv.URL, "http://"), "BREW / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 5*time.Second)
	if !strings.Contains(got, "Seen: BREW x\r\n") {
		t.Errorf("raw response %q", got)
	}
}

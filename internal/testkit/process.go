package testkit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// How long a process may take to stop of its own will, and to die when killed.
const (
	stopGrace = 15 * time.Second
	killGrace = 5 * time.Second
)

// Command says what to start.
type Command struct {
	Path string   // program
	Args []string // without the program
	Dir  string   // working directory, also in PWD; empty: the test's
	Env  []string // added to the environment of the test
}

// Process is a running program, leader of a process group that ends with the
// test at the latest.
type Process struct {
	t      testing.TB
	name   string
	pid    int // of the first process, and of the group
	output tail
	pipe   *os.File      // its reading end
	read   chan struct{} // closed when nothing more can come
	exited chan struct{} // closed when the first process has ended
	err    error         // of that process; valid once exited is closed
	stop   sync.Once
}

// subreaper makes processes that an upgrade leaves behind children of this one,
// so that it can wait for them. Without it they would go to process 1, which in
// a container may never collect them, and a group with a zombie never ends.
var subreaper = sync.OnceValue(func() error {
	return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
})

// Start starts a process.
func Start(t testing.TB, c Command) *Process {
	t.Helper()
	if err := subreaper(); err != nil {
		t.Fatalf("testkit: become a subreaper: %v", err)
	}
	// A pipe of our own rather than os/exec's: that one would be closed some time
	// after the first process, and the next generation would die of writing to it.
	pipe, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{t: t, name: c.Path, pipe: pipe, read: make(chan struct{}), exited: make(chan struct{})}
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Dir = c.Dir
	cmd.Env = os.Environ()
	if c.Dir != "" {
		cmd.Env = append(cmd.Env, "PWD="+c.Dir)
	}
	cmd.Env = append(cmd.Env, c.Env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}

	started := make(chan error, 1)
	go func() {
		// The kernel sends Pdeathsig when the thread that started the process
		// ends, not when the program does; so the thread stays as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.exited)
		}
	}()
	err = <-started
	out.Close()
	if err != nil {
		pipe.Close()
		t.Fatalf("testkit: %v", err)
	}
	p.pid = cmd.Process.Pid
	go func() {
		defer close(p.read)
		_, _ = io.Copy(&p.output, pipe) // ends with the last writer, or when end closes it
	}()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("output of %s (pid %d):\n%s", p.name, p.pid, p.output.String())
		}
	})
	return p
}

// PID returns the id of the process that was started. A program that upgrades
// itself goes on under another.
func (p *Process) PID() int { return p.pid }

// Signal sends a signal to the process that was started, not to its group.
func (p *Process) Signal(sig syscall.Signal) {
	p.t.Helper()
	select {
	case <-p.exited: // its id may belong to somebody else by now
		p.t.Fatalf("testkit: %v to %s, which has ended: %v", sig, p.name, p.err)
	default:
	}
	if err := syscall.Kill(p.pid, sig); err != nil {
		p.t.Fatalf("testkit: %v to %s: %v", sig, p.name, err)
	}
}

// Exited is closed when the process that was started has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Wait waits for the end of the process that was started and returns its exit
// code, -1 when a signal ended it.
func (p *Process) Wait(within time.Duration) (code int) {
	p.t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	select {
	case <-p.exited:
	case <-deadline.C:
		p.t.Fatalf("testkit: %s runs on after %v", p.name, within)
	}
	var exit *exec.ExitError
	switch {
	case p.err == nil:
		return 0
	case errors.As(p.err, &exit):
		return exit.ExitCode()
	}
	p.t.Fatalf("testkit: wait for %s: %v", p.name, p.err)
	return -1
}

// Stop asks every process of the group to end (SIGTERM), kills those that do
// not, and returns when all have ended. Further calls do nothing.
func (p *Process) Stop() {
	p.t.Helper()
	p.stop.Do(func() {
		p.end(syscall.SIGTERM, stopGrace)
	})
}

// Kill ends every process of the group at once (SIGKILL), as a crash would.
func (p *Process) Kill() {
	p.t.Helper()
	p.stop.Do(func() {
		p.end(syscall.SIGKILL, killGrace)
	})
}

func (p *Process) end(sig syscall.Signal, grace time.Duration) {
	p.t.Helper()
	defer func() {
		// Whoever left the group may still hold the pipe; that must not hang us.
		poll(time.Second, func() bool {
			select {
			case <-p.read:
				return true
			default:
				return false
			}
		})
		p.pipe.Close()
		<-p.read
	}()
	if p.signalGroup(sig) && p.groupEnds(grace) {
		return
	}
	if p.signalGroup(syscall.SIGKILL) {
		if sig != syscall.SIGKILL {
			p.t.Errorf("testkit: %s did not stop within %v of %v", p.name, grace, sig)
		}
		if !p.groupEnds(killGrace) {
			p.t.Errorf("testkit: process group %d of %s does not die", p.pid, p.name)
		}
	}
}

// signalGroup reports whether there was anybody to signal. The group's id is
// not given to another process while a member, or its uncollected end, is left.
func (p *Process) signalGroup(sig syscall.Signal) bool {
	p.collect()
	return syscall.Kill(-p.pid, sig) == nil
}

// groupEnds waits for the end of every process of the group.
func (p *Process) groupEnds(within time.Duration) bool {
	return poll(within, func() bool {
		p.collect()
		return errors.Is(syscall.Kill(-p.pid, 0), syscall.ESRCH)
	})
}

// collect takes the exit status of members that were left to this process.
// The first one is os/exec's to wait for, so not before that has happened.
func (p *Process) collect() {
	select {
	case <-p.exited:
	default:
		return
	}
	for {
		pid, err := syscall.Wait4(-p.pid, nil, syscall.WNOHANG, nil)
		if pid <= 0 && !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

// Output returns what the process and its descendants have written to standard
// output and error so far, at most the last MiB.
func (p *Process) Output() string { return p.output.String() }

// WaitOutput waits until the output matches a regular expression and returns
// the match with its groups.
func (p *Process) WaitOutput(pattern string, within time.Duration) []string {
	p.t.Helper()
	expression := regexp.MustCompile(pattern)
	var match []string
	p.Eventually(within, func() error {
		if match = expression.FindStringSubmatch(p.Output()); match == nil {
			return fmt.Errorf("no output matches %q", pattern)
		}
		return nil
	})
	return match
}

// Eventually is [Eventually] but fails as soon as the process that was started
// has ended and the condition does not hold.
func (p *Process) Eventually(within time.Duration, condition func() error) {
	p.t.Helper()
	var err error
	ended := false
	poll(within, func() bool {
		select {
		case <-p.exited:
			ended = true
		default:
		}
		err = condition()
		return err == nil || ended
	})
	if err != nil && ended {
		// Its last words may still be on their way; a descendant may hold the pipe.
		select {
		case <-p.read:
		case <-time.After(time.Second):
		}
		err = condition()
	}
	switch {
	case err != nil && ended:
		p.t.Fatalf("testkit: %s has ended (%v): %v", p.name, p.err, err)
	case err != nil:
		p.t.Fatalf("testkit: after %v: %v", within, err)
	}
}

// Eventually polls until the condition holds, that is, returns nil, and fails
// the test with its last error when that takes longer.
func Eventually(t testing.TB, within time.Duration, condition func() error) {
	t.Helper()
	var err error
	if !poll(within, func() bool { err = condition(); return err == nil }) {
		t.Fatalf("testkit: after %v: %v", within, err)
	}
}

// pollInterval is short against what is polled for and long against what a
// poll costs.
const pollInterval = 10 * time.Millisecond

// poll reports whether the condition came true in time. It is asked at least
// once, and a last time after the deadline.
func poll(within time.Duration, condition func() bool) bool {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for {
		if condition() {
			return true
		}
		select {
		case <-ticker.C:
		case <-deadline.C:
			return condition()
		}
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

const tailBytes = 1 << 20

func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.text.Len()+len(p) > 2*tailBytes {
		kept := w.text.String()
		kept = kept[max(0, len(kept)-tailBytes):]
		w.text = strings.Builder{}
		w.text.WriteString(kept)
	}
	w.text.Write(p)
	return len(p), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := w.text.String()
	return text[max(0, len(text)-tailBytes):]
}

package proc

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Spec says what to start.
type Spec struct {
	Args   []string  // program and its arguments
	Dir    string    // working directory; empty: this process's
	Env    []string  // added to this process's environment
	Output io.Writer // standard error, and standard output unless Stdout is set; nil: discarded
	Stdout io.Writer // standard output
	CPUs   []int     // CPUs that it may use; empty: all that this process may
}

// Process is a started process; whoever started it stops it.
type Process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended and err is set
	err   error
}

// Start starts a process. It receives SIGTERM should this process die first.
func Start(spec Spec) (*Process, error) {
	cmd := exec.Command(spec.Args[0], spec.Args[1:]...)
	cmd.Dir = spec.Dir
	cmd.Env = append(os.Environ(), spec.Env...)
	cmd.Stderr, cmd.Stdout = spec.Output, spec.Output
	if spec.Stdout != nil {
		cmd.Stdout = spec.Stdout
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := withAffinity(spec.CPUs, cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Args[0], err)
	}
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended is closed once the process has ended; Err then says how.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Err is how the process ended; call it after Ended is closed.
func (p *Process) Err() error { return p.err }

// Usage returns what the process and its descendants have used.
func (p *Process) Usage() (Usage, error) { return UsageOf(p.PID()) }

// Stop asks the process to end and waits; after grace it is killed. Stopping an
// ended process does nothing.
func (p *Process) Stop(grace time.Duration) {
	select {
	case <-p.ended:
		return
	default:
	}
	// A process that ended in between has its PID reserved until Wait: no other can be hit.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(grace):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// withAffinity calls start on a thread that may use only cpus: a child inherits
// the mask of the thread that forks it, so it is bound before its first
// instruction and a Go child counts only those CPUs.
func withAffinity(cpus []int, start func() error) error {
	if len(cpus) == 0 {
		return start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("read CPU affinity: %w", err)
	}
	mask := cpuSet(cpus)
	if err := unix.SchedSetaffinity(0, &mask); err != nil {
		return fmt.Errorf("set CPU affinity: %w", err)
	}
	defer func() { _ = unix.SchedSetaffinity(0, &before) }()
	return start()
}

// PinSelf binds every thread of this process to cpus; what it starts inherits it.
func PinSelf(cpus []int) error {
	mask := cpuSet(cpus)
	return everyThread("set CPU affinity", func(tid int) error { return unix.SchedSetaffinity(tid, &mask) })
}

// Renice gives every thread of this process the nice value (setpriority(2)), and
// its session's task group, where the kernel makes one of each session
// (sched(7), autogroup): nice values count only within a group. What this
// process starts inherits both. Below the present value it needs privilege.
func Renice(nice int) error {
	err := everyThread("set nice value", func(tid int) error { return unix.Setpriority(unix.PRIO_PROCESS, tid, nice) })
	if err != nil {
		return err
	}
	const group = "/proc/self/autogroup"
	if err := os.WriteFile(group, []byte(strconv.Itoa(nice)), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("set nice value of the session: %w", err)
	}
	return nil
}

// everyThread applies set to every thread of this process. New threads inherit
// from the one that clones them: the second pass catches those cloned by a
// thread that the first had yet to reach.
func everyThread(what string, set func(tid int) error) error {
	for range 2 {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				return err
			}
			if err := set(tid); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
	}
	return nil
}

// CPUs lists the CPUs that this process may use.
func CPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("read CPU affinity: %w", err)
	}
	var cpus []int
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

func cpuSet(cpus []int) (set unix.CPUSet) {
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	return set
}

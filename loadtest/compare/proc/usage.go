// Package proc starts the processes of the comparison on chosen CPUs, stops
// them by their PID, and says what each process tree has used. Linux only.
//
//	Start ──▶ Process ──Usage──▶ CPU time and memory of it and its descendants
//	             └─────Stop───▶ SIGTERM, then SIGKILL
//
// CPU time is read from each process's CPU clock (clock_getcpuclockid(3)), which
// counts user and system time of all its threads in nanoseconds; /proc/PID/stat
// holds the same figure in ticks of 10 ms. A descendant that ended is no longer
// counted: the proxies compared keep their processes.
package proc

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Usage is what a process tree has used.
type Usage struct {
	CPU time.Duration // user and system time since its start
	RSS int64         // resident bytes now; pages shared inside the tree count in each process
}

// UsageOf returns what the process pid and its descendants have used.
func UsageOf(pid int) (Usage, error) {
	all, err := processes()
	if err != nil {
		return Usage{}, err
	}
	tree := Tree(all, pid)
	if len(tree) == 0 {
		return Usage{}, fmt.Errorf("process %d is gone", pid)
	}
	var u Usage
	for _, s := range tree {
		var t unix.Timespec
		// The CPU clock of a process: its PID inverted, shifted, with the
		// "scheduler time of the whole process" selector (CPUCLOCK_SCHED).
		if err := unix.ClockGettime(int32(^s.PID<<3|2), &t); err != nil {
			return Usage{}, fmt.Errorf("read CPU clock of process %d: %w", s.PID, err)
		}
		u.CPU += time.Duration(t.Nano())
		u.RSS += s.RSSPages * int64(os.Getpagesize())
	}
	return u, nil
}

// processes lists every process; one that ends meanwhile is left out.
func processes() ([]Stat, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []Stat
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		line, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		s, err := ParseStat(line)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// BusyTime returns how long CPU cpu has been working since boot, for anyone,
// to 10 ms.
func BusyTime(cpu int) (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	busy, err := ParseBusyTicks(stat)
	if err != nil {
		return 0, err
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	return time.Duration(busy[cpu]) * tick, nil
}

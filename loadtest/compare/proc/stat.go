package proc

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
)

// Stat is what the comparison needs of /proc/PID/stat (proc_pid_stat(5)).
type Stat struct {
	PID, Parent int
	RSSPages    int64 // resident pages
}

// ParseStat reads one /proc/PID/stat line. The second field is the program's
// name in parentheses and may itself hold spaces and parentheses.
func ParseStat(line []byte) (Stat, error) {
	open, shut := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 0 || shut < open {
		return Stat{}, fmt.Errorf("parse process stat: no name in %q", line)
	}
	fields := bytes.Fields(line[shut+1:]) // from field 3, the state
	if len(fields) < 22 {
		return Stat{}, fmt.Errorf("parse process stat: %d fields after the name, want at least 22", len(fields))
	}
	var s Stat
	var err [3]error
	s.PID, err[0] = strconv.Atoi(string(bytes.TrimSpace(line[:open])))
	s.Parent, err[1] = strconv.Atoi(string(fields[1]))
	s.RSSPages, err[2] = strconv.ParseInt(string(fields[21]), 10, 64)
	for _, e := range err {
		if e != nil {
			return Stat{}, fmt.Errorf("parse process stat: %w", e)
		}
	}
	return s, nil
}

// Tree returns root and all its descendants among the processes, in ascending
// order of PID; empty when root is not among them.
func Tree(all []Stat, root int) []Stat {
	children := make(map[int][]Stat)
	var tree []Stat
	for _, s := range all {
		children[s.Parent] = append(children[s.Parent], s)
		if s.PID == root {
			tree = append(tree, s)
		}
	}
	for i := 0; i < len(tree); i++ { // grows while it is walked
		tree = append(tree, children[tree[i].PID]...)
	}
	slices.SortFunc(tree, func(a, b Stat) int { return a.PID - b.PID })
	return tree
}

// ParseBusyTicks returns how many clock ticks each CPU has spent working since
// boot, from /proc/stat: everything but idle and waiting for I/O.
func ParseBusyTicks(stat []byte) (map[int]int64, error) {
	busy := make(map[int]int64)
	for line := range bytes.Lines(stat) {
		rest, ok := bytes.CutPrefix(line, []byte("cpu"))
		fields := bytes.Fields(rest)
		if !ok || len(fields) < 9 || rest[0] == ' ' {
			continue // not a CPU, or the sum of all
		}
		cpu, err := strconv.Atoi(string(fields[0]))
		if err != nil {
			return nil, fmt.Errorf("parse CPU ticks: %w", err)
		}
		for i, f := range fields[1:9] { // user nice system idle iowait irq softirq steal
			ticks, err := strconv.ParseInt(string(f), 10, 64)
			if err != nil {
				return nil, fmt.Errorf("parse CPU ticks: %w", err)
			}
			if i != 3 && i != 4 {
				busy[cpu] += ticks
			}
		}
	}
	return busy, nil
}

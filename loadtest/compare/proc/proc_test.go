package proc

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseStat(t *testing.T) {
	line := "4242 (my (odd) na me) S 17 4242 4242 0 -1 4194560 1200 0 0 0 31 12 0 0 20 0 5 0 9000 123456789 777 18446744073709551615 1 1 0 0\n"
	got, err := ParseStat([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Stat{PID: 4242, Parent: 17, RSSPages: 777}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range []string{"", "12 name S 1", "12 (name) S 1 2", strings.Replace(line, " 17 ", " x ", 1)} {
		if s, err := ParseStat([]byte(bad)); err == nil {
			t.Errorf("ParseStat(%q) = %+v, want an error", bad, s)
		}
	}
}

func TestTreeHoldsDescendantsOnly(t *testing.T) {
	all := []Stat{{PID: 1}, {PID: 7, Parent: 1}, {PID: 12, Parent: 9}, {PID: 9, Parent: 7}, {PID: 8, Parent: 1}, {PID: 5, Parent: 7}}
	var pids []int
	for _, s := range Tree(all, 7) {
		pids = append(pids, s.PID)
	}
	if diff := cmp.Diff([]int{5, 7, 9, 12}, pids); diff != "" {
		t.Error(diff)
	}
	if tree := Tree(all, 77); len(tree) != 0 {
		t.Errorf("tree of an unknown process: %v", tree)
	}
}

func TestParseBusyTicks(t *testing.T) {
	stat := "cpu  30 0 30 300 30 30 30 30 0 0\ncpu0 1 2 3 1000 2000 4 5 6 7 8\ncpu11 10 0 10 1 1 0 0 0 0 0\nintr 5 6\n"
	got, err := ParseBusyTicks([]byte(stat))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[int]int64{0: 21, 11: 20}, got); diff != "" {
		t.Error(diff)
	}
}

func TestStartedProcessIsPinnedMeasuredAndStopped(t *testing.T) {
	cpus, err := CPUs()
	if err != nil {
		t.Fatal(err)
	}
	last := cpus[len(cpus)-1]
	var out strings.Builder
	p, err := Start(Spec{
		Args:   []string{"/bin/sh", "-c", "grep Cpus_allowed_list /proc/self/status; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exec sleep 60 >/dev/null 2>&1"},
		Output: &out, CPUs: []int{last},
	})
	if err != nil {
		t.Fatal(err)
	}
	var u Usage
	for deadline := time.Now().Add(10 * time.Second); u.CPU < time.Millisecond; {
		if u, err = p.Usage(); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("usage %+v: no CPU time seen", u)
		}
	}
	if u.RSS <= 0 {
		t.Errorf("RSS = %d", u.RSS)
	}
	p.Stop(5 * time.Second)
	<-p.Ended()
	if p.Err() == nil {
		t.Error("a terminated process ended without an error")
	}
	p.Stop(time.Second) // again: nothing happens
	if want := strings.TrimSpace(out.String()); !strings.HasSuffix(want, "\t"+strconv.Itoa(last)) {
		t.Errorf("child says %q, want CPU %d alone", want, last)
	}
	if again, err := CPUs(); err != nil || len(again) != len(cpus) {
		t.Errorf("own CPUs afterwards: %v, %v; want %v", again, err, cpus)
	}
}

func TestUsageOfSelfGrows(t *testing.T) {
	before, err := UsageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); time.Since(start) < 20*time.Millisecond; {
	}
	after, err := UsageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if d := after.CPU - before.CPU; d <= 0 || d > time.Minute {
		t.Errorf("CPU time grew by %v", d)
	}
}

//go:build integration

package test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

// judgement is what the answers of a drill come to, for one tenant.
type judgement struct {
	admitted, refused int
	peak              int // most that were admitted within one window for certain
	p99, slowest      time.Duration
}

// judge says what is true of a tenant's answers for certain: a request was decided
// between its being sent and its being answered, so an admission is counted in a
// window only when it lies in it whole. A slow machine can hide an admission
// too many, and cannot make one up.
func judge(answers []answer, tenant int, window time.Duration) (j judgement) {
	var from, to, took []time.Duration
	for _, a := range answers {
		if a.tenant != tenant {
			continue
		}
		if !a.down {
			took = append(took, a.to-a.from)
		}
		switch a.status {
		case http.StatusOK:
			j.admitted++
			from, to = append(from, a.from), append(to, a.to)
		case http.StatusTooManyRequests:
			j.refused++
		}
	}
	slices.Sort(from)
	slices.Sort(to)
	for ended, at := range to {
		// Ended by at, less what had been sent a window before.
		before, _ := slices.BinarySearch(from, at-window)
		j.peak = max(j.peak, ended+1-before)
	}
	if slices.Sort(took); len(took) > 0 {
		j.p99, j.slowest = took[len(took)*99/100], took[len(took)-1]
	}
	return j
}

func TestJudgeFindsOneTooMany(t *testing.T) {
	const window = 10 * time.Second
	var list []answer
	add := func(at, took time.Duration) {
		list = append(list, answer{from: at, to: at + took, status: http.StatusOK})
	}
	for i := range 5 {
		add(time.Duration(i)*time.Second, time.Millisecond)
	}
	if j := judge(list, 0, window); j.peak != 5 || j.admitted != 5 {
		t.Errorf("%+v, want a peak of 5", j)
	}
	add(10*time.Second, time.Millisecond) // the first had left when this one was answered
	if j := judge(list, 0, window); j.peak != 5 {
		t.Errorf("%+v, want a peak of 5", j)
	}
	add(10*time.Second+500*time.Millisecond, time.Millisecond)
	if j := judge(list, 0, window); j.peak != 6 {
		t.Errorf("%+v, want a peak of 6", j)
	}
	list[0].to = 600 * time.Millisecond // it may have been decided in the window, or not
	if j := judge(list, 0, window); j.peak != 6 {
		t.Errorf("%+v, want a peak of 6", j)
	}
	list[6].to += time.Hour // nothing is certain of this one
	if j := judge(list, 0, window); j.peak != 5 {
		t.Errorf("%+v, want a peak of 5", j)
	}
}

// verdict fails the test when a drill has broken a promise: a limit exceeded, an
// answer that is neither 200 nor 429, a client that was kept waiting.
func (l *clients) verdict(t *testing.T, answers []answer) {
	t.Helper()
	bad := map[string]int{}
	for _, a := range answers {
		switch {
		case a.down:
		case a.err != nil:
			bad[fmt.Sprintf("%s: %v", a.node.name, a.err)]++
		case a.status != http.StatusOK && a.status != http.StatusTooManyRequests:
			bad[fmt.Sprintf("%s: status %d", a.node.name, a.status)]++
		}
	}
	for what, n := range bad {
		t.Errorf("%d times: %s", n, what)
	}
	for i, w := range l.flows {
		j := judge(answers, i, fleetWindow)
		t.Logf("%s: %d admitted, %d refused, at most %d of %d in a window; answers within %v (p99), %v (slowest)", w.tier, j.admitted, j.refused, j.peak, w.limit,
			j.p99.Round(time.Millisecond/10), j.slowest.Round(time.Millisecond))
		if j.peak > w.limit {
			t.Errorf("%s: %d admitted within a window, the limit is %d", w.tier, j.peak, w.limit)
		}
		if j.slowest > noWait {
			t.Errorf("%s: a client waited %v", w.tier, j.slowest)
		}
	}
}

// noWait is what no client waits, be the machine as busy as it may. What they do
// wait is in the log and, as measured, in docs/failures.md.
const noWait = 4 * time.Second

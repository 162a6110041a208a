package main

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

func TestPhasesStopBackwardsAndAll(t *testing.T) {
	var order []string
	step := func(name string, stopErr error) phase {
		return phase{name, func(context.Context) error { order = append(order, "+"+name); return nil },
			func(context.Context) error { order = append(order, "-"+name); return stopErr }, time.Second}
	}
	bad := errors.New("bad")
	phases := []phase{step("a", nil), step("b", bad), step("c", nil)}
	if err := startAll(t.Context(), phases); err != nil {
		t.Fatal(err)
	}
	if err := stopAll(phases, nil); !errors.Is(err, bad) {
		t.Errorf("stopAll = %v, want the error of b", err)
	}
	if want := []string{"+a", "+b", "+c", "-c", "-b", "-a"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
}

func TestFailedStartStopsWhatRan(t *testing.T) {
	stopped := false
	bad := errors.New("no socket")
	err := startAll(t.Context(), []phase{
		{"a", func(context.Context) error { return nil }, func(context.Context) error { stopped = true; return nil }, time.Second},
		{"b", func(context.Context) error { return bad }, nil, 0},
	})
	if !errors.Is(err, bad) || err.Error() != "b: no socket" || !stopped {
		t.Errorf("err %v, stopped %v", err, stopped)
	}
}

func TestRunnerStops(t *testing.T) {
	r := goRun(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	if err := r.stop(t.Context()); err != nil {
		t.Error(err)
	}
}

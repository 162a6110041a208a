package traffic

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const window = 10 * time.Second

func flows() []Flow {
	return []Flow{
		{Name: "steady", Load: 1.5, Tenants: 2, Limit: 1000},
		{Name: "bursts", Shape: Bursts, Load: 1.2, Tenants: 1, Limit: 500},
		{Name: "edge", Shape: Edge, Spread: Zipf, Load: 1.2, Tenants: 1, Limit: 300},
		{Name: "shift", Spread: Shift, Load: 0.5, Tenants: 1, Limit: 400, From: 10 * time.Second},
	}
}

func TestASeedMakesOnePlan(t *testing.T) {
	a, b := New("x", 7, 3, window, 40*time.Second, flows()...), New("x", 7, 3, window, 40*time.Second, flows()...)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
	if c := New("x", 8, 3, window, 40*time.Second, flows()...); cmp.Equal(a.Requests, c.Requests) {
		t.Error("another seed makes the same plan")
	}
	if !slices.IsSortedFunc(a.Requests, func(a, b Request) int { return int(a.At - b.At) }) {
		t.Error("not in order of time")
	}
}

func TestLoadsAreAsAsked(t *testing.T) {
	p := New("x", 7, 3, window, 40*time.Second, flows()...)
	count := make([]int, len(p.Tenants))
	nodes := make([][3]int, len(p.Tenants))
	for _, r := range p.Requests {
		count[r.Tenant]++
		nodes[r.Tenant][r.Node]++
	}
	// 4 windows of 1.5 × 1000; 4 bursts of 1.2 × 500; 2 × (1.2 × 300 + 3 × 300); 3 windows of 0.5 × 400.
	for i, want := range []int{6000, 6000, 2400, 2520, 600} {
		if d := count[i] - want; d < -want/10 || d > want/10 {
			t.Errorf("%s: %d requests, want about %d", p.Tenants[i].Name, count[i], want)
		}
	}
	if n := nodes[3]; !(n[0] > n[1] && n[1] > n[2] && n[2] > 0) {
		t.Errorf("zipf: %v", n)
	}
	for _, r := range p.Requests {
		if r.Tenant == 4 && (r.At < 10*time.Second || r.Node != int(r.At/(window/4))%3) {
			t.Fatalf("shift: %+v", r)
		}
	}
}

func TestRequestsAreSentOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New("x", 7, 3, window, 40*time.Second, flows()...)
		start := time.Now()
		var mu sync.Mutex
		var got []Request
		late := p.Drive(context.Background(), start, func(r Request) {
			if at := time.Since(start); at != r.At {
				t.Errorf("%v instead of %v", at, r.At)
			}
			time.Sleep(time.Second) // an answer that takes long delays nobody
			mu.Lock()
			got = append(got, r)
			mu.Unlock()
		})
		if late != 0 || len(got) != len(p.Requests) {
			t.Errorf("late %v, %d of %d sent", late, len(got), len(p.Requests))
		}
	})
}

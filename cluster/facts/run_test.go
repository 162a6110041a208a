package facts

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// running opens a store on path and runs it until the returned function is called.
func running(t *testing.T, path string) (*Store, func()) {
	t.Helper()
	s, err := Open(Options{Node: 1, Path: path})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return s, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestRunLetsFactsExpireAtTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := running(t, "")
		defer stop()
		began := time.Now()
		var gone atomic.Int64
		defer s.Watch("ban", func(changes []Change) {
			if changes[0].Gone {
				gone.Store(int64(time.Since(began)))
			}
		})()
		// The store first has nothing to wait for, then something that is far off.
		s.Set("ban", "far", nil, began.Add(time.Hour))
		time.Sleep(3 * time.Second)
		s.Set("ban", "near", nil, began.Add(3500*time.Millisecond))
		time.Sleep(2 * time.Second)
		if after := time.Duration(gone.Load()); after < 3500*time.Millisecond || after > 3510*time.Millisecond {
			t.Errorf("watchers heard after %v, want 3.5 s", after)
		}
	})
}

func TestRunKeepsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "facts.snap")
	s, stop := running(t, path)
	s.Set("ban", "x", []byte("1"), time.Time{})
	stop()
	again, stop := running(t, path)
	defer stop()
	if f, _ := again.Get("ban", "x"); string(f.Value) != "1" {
		t.Errorf("after a restart the fact is %q", f.Value)
	}
}

// Invariant 8.
func TestOneProcessOfANodeKeepsTheFacts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "facts.snap")
	before, stopBefore := running(t, path)
	before.Set("ban", "x", []byte("1"), time.Time{})
	after, stopAfter := running(t, path)
	after.Freeze()
	if err := after.Set("ban", "y", nil, time.Time{}); !errors.Is(err, ErrFrozen) {
		t.Errorf("the successor writes before it has taken over: %v", err)
	}
	before.Set("ban", "x", []byte("2"), time.Time{})

	before.Freeze()
	if err := after.Restore(before.Encode()); err != nil {
		t.Fatal(err)
	}
	after.Thaw()
	if err := before.Delete("ban", "x"); !errors.Is(err, ErrFrozen) {
		t.Errorf("the predecessor still writes: %v", err)
	}
	after.Set("ban", "z", []byte("3"), time.Time{})
	stopAfter()
	stopBefore() // later, as a process that drains
	last, stop := running(t, path)
	defer stop()
	if x, _ := last.Get("ban", "x"); string(x.Value) != "2" {
		t.Errorf("x is %q, want 2", x.Value)
	}
	if z, _ := last.Get("ban", "z"); string(z.Value) != "3" {
		t.Errorf("z is %q, want 3: the predecessor has written the file over", z.Value)
	}
}

package crs

import (
	"testing"
	"testing/synctest"
	"time"
)

func requestNamed(t *testing.T, name string) *Request {
	t.Helper()
	for _, c := range benchRequests() {
		if c.name == name {
			r := *c.r
			return &r
		}
	}
	t.Fatalf("no request %s", name)
	return nil
}

// While all places are taken, a request that needs the engine waits until its
// time is over, and is then refused, never let through; one that does not need
// the engine does not wait.
func TestNoPlaceAtTheGate(t *testing.T) {
	e := engineOf(t, Profile{Paranoia: 1})
	attack, plain, large := requestNamed(t, "attack"), requestNamed(t, "GET-10-args"), requestNamed(t, "form-100KB")
	e.Inspect(plain, &Settings{Threshold: 5, Limits: DefaultLimits}) // so that its head is known
	synctest.Test(t, func(t *testing.T) {
		gate := NewGate(1, 100*time.Millisecond)
		limits := DefaultLimits
		limits.Arguments = 5000
		set := &Settings{Threshold: 5, Limits: limits, Gate: gate}
		if !gate.enter(time.Time{}, nil) {
			t.Fatal("no place at an empty gate")
		}
		for _, r := range []*Request{attack, large} {
			begin := time.Now()
			if v := e.Inspect(r, set); !v.Overload || !v.Refused || v.Engine {
				t.Errorf("%s without a place: %+v", r.Target, v)
			}
			if waited := time.Since(begin); waited != 100*time.Millisecond {
				t.Errorf("%s waited %v, want 100ms", r.Target, waited)
			}
		}
		begin := time.Now()
		if v := e.Inspect(plain, set); v.Refused || time.Since(begin) != 0 {
			t.Errorf("one without a need of the engine: %+v after %v", v, time.Since(begin))
		}

		// The client goes away.
		gone := make(chan struct{})
		time.AfterFunc(30*time.Millisecond, func() { close(gone) })
		r := *attack
		r.Gone = gone
		begin = time.Now()
		if v := e.Inspect(&r, set); !v.Overload || time.Since(begin) != 30*time.Millisecond {
			t.Errorf("after its client had gone: %+v after %v", v, time.Since(begin))
		}

		// The place becomes free.
		time.AfterFunc(50*time.Millisecond, gate.leave)
		begin = time.Now()
		if v := e.Inspect(attack, set); v.Overload || !v.Refused || !v.Engine || time.Since(begin) != 50*time.Millisecond {
			t.Errorf("with a place after 50ms: %+v after %v", v, time.Since(begin))
		}
		if gate.Busy() != 0 {
			t.Errorf("%d places are taken when nobody is inside", gate.Busy())
		}
	})
}

// An inspection whose time is over before it is at its end is given up, with
// whatever it has seen.
func TestTimeRunsOut(t *testing.T) {
	e := engineOf(t, Profile{Paranoia: 1})
	set := &Settings{Threshold: 5, Limits: DefaultLimits, Gate: NewGate(4, time.Nanosecond)}
	for _, name := range []string{"attack", "JSON-10KB", "multipart-100KB"} {
		if v := e.Inspect(requestNamed(t, name), set); !v.Overload || !v.Refused || v.Engine {
			t.Errorf("%s in a nanosecond: %+v", name, v)
		}
	}
	if set.Gate.Busy() != 0 {
		t.Errorf("%d places are taken when nobody is inside", set.Gate.Busy())
	}
	set.Gate = NewGate(4, time.Hour)
	if v := e.Inspect(requestNamed(t, "JSON-10KB"), set); v.Refused {
		t.Errorf("the storage of an inspection that was given up spoils the next: %+v", v)
	}
}

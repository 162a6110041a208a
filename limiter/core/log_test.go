package core

import (
	"math/rand/v2"
	"testing"
)

// checkLog fails when an invariant of the log does not hold.
func checkLog(t testing.TB, l *Log, most int) {
	t.Helper()
	var sum int64
	for i, r := range l.runs {
		sum += int64(r.N)
		if r.N == 0 || i > 0 && !l.runs[i-1].At.Before(r.At) {
			t.Fatalf("runs out of order or empty: %v", l.runs)
		}
	}
	if sum != l.used || len(l.runs) > most {
		t.Fatalf("%d runs (at most %d) hold %d, used is %d", len(l.runs), most, sum, l.used)
	}
}

// naive is a log without merging.
type naive []Run

func (v naive) from(at Stamp) (n int64) {
	for _, r := range v {
		if !r.At.Before(at) {
			n += int64(r.N)
		}
	}
	return n
}

// play drives a log and a naive one with the same script of three bytes a step.
func play(t testing.TB, script []byte, most int, base Stamp) {
	const span = 500
	var l Log
	var all naive
	now := base
	for ; len(script) >= 3; script = script[3:] {
		op, a, b := script[0], script[1], script[2]
		now += Stamp(a) * Stamp(op%5)
		switch op % 4 {
		case 0, 1:
			n := uint32(b%8) + 1
			at := now - Stamp(op>>6) // sometimes overtaken
			got := l.Add(at, n, most)
			if got.Before(at) {
				t.Fatalf("Add(%d) went in at %d, earlier", at, got)
			}
			all = append(all, Run{at, n})
		case 2:
			l.Expire(now, span)
			for i, r := range l.runs {
				if !now.Before(r.At + span) {
					t.Fatalf("run %d of %v should have left at %d", i, l.runs, now)
				}
			}
		case 3:
			// Remove what was just added, as an undo does.
			at := l.Add(now, 2, most)
			l.Add(now+Stamp(b), 1, most)
			all = append(all, Run{now + Stamp(b), 1})
			if !l.Remove(at, 2) {
				t.Fatalf("uses added at %d are not in %v", at, l.runs)
			}
			now += Stamp(b)
		}
		checkLog(t, &l, most)
		// No use may be seen as older than it is, inside the window.
		for _, at := range []Stamp{now, now - 1, now - 10, now - span/2, now - span + 1} {
			var have int64
			for _, r := range l.runs {
				if !r.At.Before(at) {
					have += int64(r.N)
				}
			}
			if want := all.from(at); have < want {
				t.Fatalf("%d uses at or after %d, want at least %d: %v", have, at, want, l.runs)
			}
		}
	}
}

func FuzzLog(f *testing.F) {
	f.Add([]byte{0, 1, 1, 1, 2, 3, 2, 9, 9, 3, 0, 200, 0, 255, 7}, uint8(4), uint32(0))
	f.Add([]byte{4, 255, 1, 4, 255, 1, 2, 255, 0, 192, 3, 5}, uint8(2), uint32(1<<32-300))
	f.Fuzz(func(t *testing.T, script []byte, most uint8, base uint32) {
		play(t, script[:min(len(script), 600)], 2+int(most)%20, Stamp(base))
	})
}

func TestALogNeverTakesAUseForOlderThanItIs(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		script := make([]byte, 900)
		for i := range script {
			script[i] = byte(rnd.Uint32())
		}
		play(t, script, 2+int(seed%20), Stamp(rnd.Uint32()))
	}
}

func TestMergingDelaysLittle(t *testing.T) {
	const span = 36000
	var l Log
	var all []Stamp
	add := func(at Stamp, n int) {
		l.Add(at, uint32(n), MaxRuns)
		for range n {
			all = append(all, at)
		}
	}
	for at := Stamp(0); at < span; at += 50 { // a drizzle, with bursts in it
		add(at, 1)
		if at%9000 == 0 {
			for i := range Stamp(40) {
				add(at+i+1, 20)
			}
		}
	}
	// Merging keeps the order, so the k-th use of the log is the k-th added.
	var delay, worst, k int
	for _, r := range l.Runs() {
		for range r.N {
			d := int(r.At - all[k])
			delay += d
			worst = max(worst, d)
			k++
		}
	}
	if mean := float64(delay) / float64(k) / span; mean > 0.002 {
		t.Errorf("uses stay %.4f of a window too long, want 0.002 at most", mean)
	}
	if share := float64(worst) / span; share > 0.05 {
		t.Errorf("one use stays %.4f of a window too long, want 0.05 at most", share)
	}
}

func TestAMergeOfNewestAndNextMovesTheNewest(t *testing.T) {
	var l Log
	l.Add(0, 1000, 2)
	l.Add(1000, 1, 2)
	l.Add(1001, 5, 2)
	if want := []Run{{0, 1000}, {1001, 6}}; l.runs[0] != want[0] || l.runs[1] != want[1] {
		t.Errorf("%v, want %v", l.runs, want)
	}
}

func TestLeavesCountsFromTheOldest(t *testing.T) {
	var l Log
	l.Add(10, 3, 8)
	l.Add(20, 3, 8)
	for n, want := range map[int64]Stamp{1: 10, 3: 10, 4: 20, 6: 20} {
		if at, ok := l.Leaves(n); !ok || at != want {
			t.Errorf("Leaves(%d) = %d, %v, want %d", n, at, ok, want)
		}
	}
	if _, ok := l.Leaves(7); ok {
		t.Error("seven of six uses left")
	}
}

func TestRescaleNeverMakesAUseOlder(t *testing.T) {
	for seed := range uint64(500) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		units := []int64{1e6, 1e7, 1e8}
		from, to := units[rnd.IntN(3)], units[rnd.IntN(3)]
		monoNS := rnd.Int64N(1e15)
		now, then := Stamp(monoNS/from), Stamp(monoNS/to)
		var l Log
		var ns []int64
		for age := int64(20); age >= 0; age-- {
			at := now + 1 - Stamp(age*rnd.Int64N(50))
			if got := l.Add(at, 1, 64); got != at {
				at = got
			}
			ns = append(ns, (monoNS/from+int64(int32(at-now)))*from)
		}
		l.Rescale(now, then, from, to)
		checkLog(t, &l, 64)
		i := 0
		for _, r := range l.runs {
			at := (monoNS/to + int64(int32(r.At-then))) * to
			for range r.N {
				if at < ns[i] || at > ns[i]+3*max(from, to) {
					t.Fatalf("seed %d: a use at %d ns became one at %d", seed, ns[i], at)
				}
				i++
			}
		}
	}
}

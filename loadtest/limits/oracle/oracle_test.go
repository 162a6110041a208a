package oracle

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const second = int64(time.Second)

// at makes a decision about one key with a limit of 3 a second.
func at(beforeNS, tookNS int64, admitted bool) Decision {
	return Decision{BeforeNS: beforeNS, TookNS: uint32(tookNS), Cost: 1, Key: 1, Limit: 3, WindowMS: 1000, Admitted: admitted}
}

func TestWhatLiesInAWindowWholeCounts(t *testing.T) {
	for _, c := range []struct {
		name             string
		decisions        []Decision
		excess, needless int64
	}{
		{"at the limit", []Decision{at(1, 0, true), at(2, 0, true), at(3, 0, true), at(4, 0, false)}, 0, 0},
		{"one above", []Decision{at(1, 0, true), at(2, 0, true), at(3, 0, true), at(second, 0, true)}, 1, 0},
		{"a window is open at its beginning", []Decision{at(1, 0, true), at(2, 0, true), at(3, 0, true), at(second+1, 0, true)}, 0, 0},
		{"one may have been decided before", []Decision{at(1, 5, true), at(2, 5, true), at(3, 5, true), at(second, 9, true)}, 0, 0},
		{"three at one moment, then one", []Decision{at(7, 0, true), at(7, 0, true), at(7, 0, true), at(7, 0, true)}, 1, 0},
		{"refused with room", []Decision{at(1, 0, true), at(2, 0, true), at(3, 0, false)}, 0, 1},
		{"refused as one leaves", []Decision{at(1, 0, true), at(2, 0, true), at(3, 0, true), at(second, 1, false)}, 0, 0},
		{"refused after one has left", []Decision{at(1, 0, true), at(2, 0, true), at(3, 0, true), at(second+1, 1, false)}, 0, 1},
		{"refused while another was under way", []Decision{at(1, 0, true), at(2, 0, true), at(3, 9, true), at(4, 1, false)}, 0, 0},
	} {
		k := Judge(c.decisions)[0]
		if k.Excess() != c.excess || k.Needless != c.needless {
			t.Errorf("%s: excess %d, needless %d; want %d and %d", c.name, k.Excess(), k.Needless, c.excess, c.needless)
		}
	}
}

// run makes the decisions of many nodes that keep a common exact log of each key,
// unless spoil changes them.
func run(seed uint64, spoil func(*rand.Rand, *Log, int64) (admit bool)) (list []Decision) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	for key := range uint64(3) {
		log := Log{Limit: 20, WindowNS: second}
		now := second
		for range 2000 {
			now += rnd.Int64N(second / 20)
			cost := 1 + rnd.Int64N(3)
			admit := spoil(rnd, &log, now)
			admit = log.Admit(now, cost) || admit
			before := now - rnd.Int64N(1000)
			list = append(list, Decision{
				BeforeNS: before, TookNS: uint32(now - before + rnd.Int64N(1000)), Cost: uint32(cost), Key: key, Limit: 20, WindowMS: 1000, Admitted: admit,
			})
		}
	}
	rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func TestAnExactLimiterIsFoundInnocent(t *testing.T) {
	for seed := range uint64(20) {
		list := run(seed, func(*rand.Rand, *Log, int64) bool { return false })
		s := Summarize(list)
		if s.Excess != 0 || s.Needless != 0 || s.Keys != 3 || s.Requests != 6000 {
			t.Errorf("seed %d: %+v", seed, s)
		}
		// The moments of the requests differ from those of the decisions by microseconds.
		if s.Throughput() < 0.999 || s.Throughput() > 1.001 {
			t.Errorf("seed %d: throughput %v", seed, s.Throughput())
		}
	}
}

func TestAnAdmissionTooMuchIsFound(t *testing.T) {
	for seed := range uint64(20) {
		spoilt := false
		list := run(seed, func(_ *rand.Rand, l *Log, _ int64) bool {
			if spoilt || l.Used() < l.Limit {
				return false
			}
			spoilt = true
			return true
		})
		if s := Summarize(list); s.Excess == 0 {
			t.Errorf("seed %d: one admission above a full window was not found", seed)
		}
	}
}

// TestPeaksAreThoseOfTheDefinition compares with counting every window.
func TestPeaksAreThoseOfTheDefinition(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		var list []Decision
		for range 60 {
			list = append(list, at(second+rnd.Int64N(5*second), rnd.Int64N(second/3), rnd.IntN(4) > 0))
		}
		want := int64(0)
		for _, end := range list {
			n := int64(0)
			for _, d := range list {
				if d.Admitted && d.AfterNS() <= end.AfterNS() && d.BeforeNS > end.AfterNS()-second {
					n++
				}
			}
			want = max(want, n)
		}
		if k := Judge(slices.Clone(list))[0]; k.Peak != want {
			t.Errorf("seed %d: peak %d, want %d", seed, k.Peak, want)
		}
	}
}

package rig

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// latencies is a histogram: eight steps for each doubling, so that a quantile is at
// most an eighth too long.
type latencies struct{ counts [64 * 8]atomic.Int64 }

func (l *latencies) add(d time.Duration) { l.counts[step(max(d, 1))].Add(1) }

// step is the place of a duration.
func step(d time.Duration) int {
	n := uint64(d)
	octave := bits.Len64(n) - 1
	if octave < 3 {
		return int(n)
	}
	return (octave-2)*8 + int(n>>(octave-3)&7)
}

// upper is the end of a place.
func upper(i int) time.Duration {
	if i < 8 {
		return time.Duration(i)
	}
	octave := i/8 + 2
	return time.Duration(uint64(8+i%8+1)<<(octave-3)) - 1
}

// quantiles returns the durations below which shares q of all were.
func (l *latencies) quantiles(q ...float64) []time.Duration {
	total := int64(0)
	for i := range l.counts {
		total += l.counts[i].Load()
	}
	out := make([]time.Duration, len(q))
	for k, share := range q {
		sum := int64(0)
		for i := range l.counts {
			if sum += l.counts[i].Load(); total > 0 && float64(sum) >= share*float64(total) {
				out[k] = upper(i)
				break
			}
		}
	}
	return out
}

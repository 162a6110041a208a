package series

import (
	"math/bits"
	"time"
)

// The durations that a sketch tells apart. Each octave, from a power of two
// nanoseconds to the next, has eight buckets of equal width.
const (
	lowBit    = 16 // 2^16 ns
	octaves   = 20
	perOctave = 8 // 1 << subBits
	subBits   = 3

	Shortest = time.Duration(1) << lowBit             // 65.536 µs
	Longest  = time.Duration(1) << (lowBit + octaves) // 68.7 s

	// Buckets is how many counters a sketch has; the first one is for what is
	// shorter than Shortest, the last one for what is not shorter than Longest.
	Buckets = octaves*perOctave + 2
)

// Index returns the bucket of a duration.
func Index(d time.Duration) int {
	switch {
	case d < Shortest:
		return 0
	case d >= Longest:
		return Buckets - 1
	}
	e := bits.Len64(uint64(d)) - 1 // lowBit ≤ e < lowBit + octaves
	sub := int(d>>(e-subBits)) & (perOctave - 1)
	return 1 + (e-lowBit)*perOctave + sub
}

// middle returns the duration that stands for a bucket: its middle, which no
// duration of the bucket is further from than a sixteenth of its own length.
func middle(i int) time.Duration {
	switch {
	case i <= 0:
		return Shortest
	case i >= Buckets-1:
		return Longest
	}
	octave, sub := (i-1)/perOctave, (i-1)%perOctave
	width := Shortest << octave / perOctave
	return Shortest<<octave + time.Duration(sub)*width + width/2
}

// Sketch counts durations by bucket. The zero value is empty.
type Sketch [Buckets]uint64

// Merge adds what o has counted.
func (s *Sketch) Merge(o *Sketch) {
	for i, n := range o {
		s[i] += n
	}
}

// Count is how many durations were counted.
func (s *Sketch) Count() (n uint64) {
	for _, c := range s {
		n += c
	}
	return n
}

// Quantile returns the duration that the share q of all, from 0 to 1, do not
// exceed (invariant 1); 0 when nothing was counted.
func (s *Sketch) Quantile(q float64) time.Duration {
	total := s.Count()
	if total == 0 {
		return 0
	}
	// The rank, from 1: the smallest one that is at least q of all.
	rank := uint64(q * float64(total))
	if float64(rank) < q*float64(total) || rank == 0 {
		rank++
	}
	rank = min(rank, total)
	for i, n := range s {
		if n >= rank {
			return middle(i)
		}
		rank -= n
	}
	return Longest
}

// Above returns the share of durations that are longer than d, 0 when nothing
// was counted. Those in d's own bucket do not count.
func (s *Sketch) Above(d time.Duration) float64 {
	var above uint64
	for i := Index(d) + 1; i < Buckets; i++ {
		above += s[i]
	}
	if above == 0 {
		return 0
	}
	return float64(above) / float64(s.Count())
}

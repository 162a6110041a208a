package telemetry

import (
	"math/bits"
	"strconv"
)

// buckets is the shape of a histogram: its upper bounds in integer units, and
// how to print them in the base unit. A histogram takes slots() counters of a
// block: one for each bound, one for what is above the last, and the sum.
//
// The bounds are fixed and the same on every node, because only then can
// quantiles be taken over nodes (histogram_quantile over sum by (le)).
type buckets struct {
	bounds []uint64
	unit   float64   // units per base unit: 1e9 for nanoseconds, 1 for bytes
	le     []string  // the bounds as label values
	first  [65]uint8 // where to start for a value of so many bits
}

func newBuckets(unit float64, bounds ...float64) *buckets {
	b := &buckets{unit: unit}
	for _, x := range bounds {
		b.bounds = append(b.bounds, uint64(x*unit+0.5))
		b.le = append(b.le, strconv.FormatFloat(x, 'f', -1, 64))
	}
	for n := range b.first {
		lowest := uint64(0) // the lowest value of n bits
		if n > 0 {
			lowest = 1 << (n - 1)
		}
		i := 0
		for i < len(b.bounds) && b.bounds[i] < lowest {
			i++
		}
		b.first[n] = uint8(i)
	}
	return b
}

// slots is how many counters a histogram of this shape takes.
func (b *buckets) slots() int { return len(b.bounds) + 2 }

// index returns the counter that v adds to: the first bound that is not below
// it. The bit length leaves one or two bounds to compare with.
func (b *buckets) index(v uint64) int {
	i := int(b.first[bits.Len64(v)])
	for i < len(b.bounds) && b.bounds[i] < v {
		i++
	}
	return i
}

// observe adds v to the histogram whose counters start at base. A negative
// value, from a clock that was set back, counts as zero.
func (b *buckets) observe(c *cells, stripe, base int, v int64) {
	u := uint64(max(v, 0))
	c.add(stripe, base+b.index(u), 1)
	c.add(stripe, base+len(b.bounds)+1, u)
}

var (
	// Request times: from a cache's answer to a minute-long export.
	requestSeconds = newBuckets(1e9, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60)
	// What sluice adds: tens of microseconds when well; the alert is at 5 ms.
	overheadSeconds = newBuckets(1e9, .00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .1, 1)
	// Bodies: powers of four.
	bodyBytes = newBuckets(1, 256, 1<<10, 4<<10, 16<<10, 64<<10, 256<<10, 1<<20, 4<<20, 16<<20, 64<<20, 256<<20)
)

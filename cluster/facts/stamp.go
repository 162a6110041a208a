package facts

import (
	"cmp"
	"time"
)

// MaxAhead is how far ahead of the local wall clock a stamp may be.
const MaxAhead = time.Minute

const (
	logicalBits = 16
	maxAheadMS  = int64(MaxAhead / time.Millisecond)
)

// Stamp orders versions. Time is a hybrid logical clock: Unix milliseconds in
// the upper 48 bits, a counter in the lower 16. Node breaks ties.
type Stamp struct {
	Time uint64
	Node uint64
}

// Compare orders stamps as [cmp.Compare] does.
func (s Stamp) Compare(t Stamp) int {
	return cmp.Or(cmp.Compare(s.Time, t.Time), cmp.Compare(s.Node, t.Node))
}

// Wall is the wall clock's part, to the millisecond.
func (s Stamp) Wall() time.Time { return time.UnixMilli(s.ms()) }

func (s Stamp) ms() int64 { return int64(s.Time >> logicalBits) }

func (s Stamp) ahead(nowMS int64) bool { return s.ms() > nowMS+maxAheadMS }

// hlc is the clock itself. Its owner serializes the calls.
type hlc uint64

// next returns a time above all that were returned or observed, and at least
// the wall clock's. When the wall clock was far ahead once and was put right,
// it starts anew: the others would refuse stamps from the future.
func (c *hlc) next(nowMS int64) uint64 {
	wall := uint64(nowMS) << logicalBits
	if t := uint64(*c); t >= wall && int64(t>>logicalBits) <= nowMS+maxAheadMS {
		wall = t + 1
	}
	*c = hlc(wall)
	return wall
}

// observe takes note of another node's time. The caller has refused those too
// far ahead.
func (c *hlc) observe(t uint64) { *c = max(*c, hlc(t)) }

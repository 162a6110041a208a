package core

// Stamp is a point in time in ticks of a length that the caller chooses and
// keeps. Stamps wrap: they are compared by their difference, so those that meet
// must lie within 2³¹ ticks of each other.
type Stamp uint32

// Before reports whether s is earlier than t.
func (s Stamp) Before(t Stamp) bool { return int32(s-t) < 0 }

// Limit is a hard bound: at most Rights uses in any trailing Span of ticks.
type Limit struct {
	Rights  int64  // L, 1 to 2³¹−1
	Span    Stamp  // W in ticks, below 2³⁰
	Version uint64 // the higher one of two limits of a key holds
}

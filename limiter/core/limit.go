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

	// Ends is above 0 for a window that is emptied as a whole: the ticks until
	// then. Span is then the ticks since it was emptied last.
	Ends Stamp
	// Recent is how many ticks a replica counts as one of those that share a key.
	// Default: 600.
	Recent Stamp
}

// Wait is the ticks until a run stamped at leaves the window.
func (l Limit) Wait(now, at Stamp) Stamp {
	if l.Ends > 0 {
		return l.Ends
	}
	return at + l.Span - now
}

func (l Limit) recent() Stamp {
	if l.Recent == 0 {
		return 600
	}
	return l.Recent
}

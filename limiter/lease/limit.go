package lease

import (
	"time"

	"sluice/limiter/core"
)

// Key names a bucket: 128 bits, evenly spread.
type Key [2]uint64

// Instant is a reading of the clocks: one that is never stepped and goes on while
// the machine is suspended, and the wall's.
type Instant struct {
	MonoNS int64
	UnixNS int64
}

// After is the instant so much later.
func (i Instant) After(d time.Duration) Instant {
	return Instant{i.MonoNS + int64(d), i.UnixNS + int64(d)}
}

// Limit is a bucket's limit as nodes tell it each other.
type Limit struct {
	Rights  int64
	Window  time.Duration
	Fixed   bool   // emptied at wall-clock multiples of Window
	Version uint64 // the higher of two holds; of equals, each is judged by its own
}

// Tick is the length of a tick of the limit's stamps, so short that a burst that
// comes back after exactly one window loses next to nothing, and so long that
// every window is below 2³⁰ ticks.
func (l Limit) Tick() time.Duration {
	switch {
	case l.Window < 100*time.Second:
		return time.Millisecond
	case l.Window <= 100*24*time.Hour:
		return 10 * time.Millisecond
	default:
		return 100 * time.Millisecond
	}
}

// Stamp is the present in the limit's ticks.
func (l Limit) Stamp(now Instant) core.Stamp { return core.Stamp(now.MonoNS / int64(l.Tick())) }

// core is the limit at now as the arithmetic has it.
func (l Limit) core(now Instant) core.Limit {
	tick := int64(l.Tick())
	c := core.Limit{
		Rights: l.Rights, Version: l.Version,
		Span:   core.Stamp((int64(l.Window) + tick - 1) / tick),
		Recent: core.Stamp(int64(time.Minute) / tick),
	}
	if l.Fixed {
		into := now.UnixNS % int64(l.Window)
		present := now.MonoNS / tick
		c.Span = core.Stamp(present - floorDiv(now.MonoNS-into, tick))
		c.Ends = core.Stamp(max(1, floorDiv(now.MonoNS-into+int64(l.Window)+tick-1, tick)-present))
	}
	return c
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// duration is n ticks.
func (l Limit) duration(n core.Stamp) time.Duration { return time.Duration(n) * l.Tick() }

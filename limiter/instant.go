package limiter

import "time"

// Instant is one reading of the clock. Ages, and so every sliding window and
// burst, follow MonoNS, which nobody can step; UnixNS is for what people see
// (the reset time) and for fixed windows. Read it once a request and pass it on.
type Instant struct {
	MonoNS int64 // nanoseconds since a fixed moment of this process, never decreasing
	UnixNS int64 // nanoseconds since 1970-01-01T00:00:00Z
}

// origin is the zero of MonoNS.
var origin = time.Now()

// Now reads the clock.
func Now() Instant { return At(time.Now()) }

// At is the instant of t, which must come from time.Now so that it carries a
// monotonic reading; without one, steps of the wall clock show in MonoNS.
func At(t time.Time) Instant {
	return Instant{MonoNS: int64(t.Sub(origin)), UnixNS: t.UnixNano()}
}

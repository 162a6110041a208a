package conf

import (
	"net/netip"
	"time"
)

// Duration is a length of time written as 30s, 5m, 1h or 14d.
type Duration time.Duration

// Std returns d as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// Size is a number of bytes written as 64KiB, 1MiB or 10GB.
type Size int64

// Rate is a number of events per second, written as 50/s, 600/m or 1000/h.
type Rate float64

// Percent is a share between 0 and 1, written as 20% or 0.2.
type Percent float64

// Secret is text that is never printed: every way of formatting it gives [redacted].
type Secret string

// Prefix is a network written as 10.0.0.0/8, or a single address.
type Prefix struct{ netip.Prefix }

// Position is a place in a configuration file; Line and Column count from 1.
type Position struct {
	File   string
	Line   int
	Column int
}

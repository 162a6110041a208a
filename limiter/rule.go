package limiter

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"sluice/conf"
	"sluice/limiter/core"
)

// Bounds of what Compile accepts.
const (
	// MaxRequests is the largest quota. It keeps every sum of uses in 32 bits.
	MaxRequests = math.MaxInt32
	// MinWindow and MaxWindow bound a quota's window.
	MinWindow = time.Second
	MaxWindow = 366 * 24 * time.Hour
)

// Rule is one limit as compiled numbers. It is immutable and may be shared by
// any number of keys and goroutines.
//
// Two rules with the same id count together: a key is made of the id, never of
// the numbers, so a tenant that changes tier, or a tier whose quota changes,
// keeps what it has used. Name rules after what they count ("tenant",
// "route:/export"), not after the tier.
type Rule struct {
	id     string
	digest uint64 // of id, the start of every key of this rule
	window time.Duration
	fixed  bool

	limit    core.Limit
	revision uint64 // of the configuration; see CompileRevision
	unitNS   int64  // length of a tick
	unit     uint8  // what a stamp of this rule means; equal units can share a log

	// Burst limit (GCRA); intervalNS is 0 when there is none.
	intervalNS  int64 // one request's share of time, rounded up
	toleranceNS int64 // size × intervalNS
	burst       int64 // size
}

// versions numbers compiled rules; a later Compile has the higher version.
var versions atomic.Uint64

// Compile checks l and turns it into a Rule called id. Zero fields have the
// defaults that conf documents. Errors name the field (requests, per, window,
// burst.rate, burst.size) and what would be right.
func Compile(id string, l conf.Limit) (*Rule, error) { return CompileRevision(id, l, 0) }

// CompileRevision is Compile for nodes that may have different configurations for
// a while: of two limits of a key, the authority counts by that of the higher
// revision. With equal revisions each node is judged by its own limit.
func CompileRevision(id string, l conf.Limit, revision uint64) (*Rule, error) {
	window := l.Per.Std()
	if window == 0 {
		window = time.Hour
	}
	var errs []error
	if id == "" {
		errs = append(errs, errors.New("a rule needs an id"))
	}
	if l.Requests < 1 || l.Requests > MaxRequests {
		errs = append(errs, fmt.Errorf("requests: %d is outside 1 to %d", l.Requests, int64(MaxRequests)))
	}
	if window < MinWindow || window > MaxWindow {
		errs = append(errs, fmt.Errorf("per: %v is outside %v to %v", window, MinWindow, MaxWindow))
	}
	if l.Window != "" && l.Window != "sliding" && l.Window != "fixed" {
		errs = append(errs, fmt.Errorf("window: %q is neither sliding nor fixed", l.Window))
	}
	r := &Rule{id: id, digest: digest(id), window: window, fixed: l.Window == "fixed", revision: revision}
	if l.Burst != nil {
		errs = append(errs, r.compileBurst(*l.Burst))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("limit %q: %w", id, err)
	}

	r.limit.Rights = l.Requests
	r.finish()
	return r, nil
}

// finish works out what follows from the window, and gives r its version.
func (r *Rule) finish() {
	r.limit.Version = versions.Add(1)
	if r.fixed {
		// A fixed window is a sliding one whose tick is the window and whose
		// span is nothing: a use counts until its tick ends.
		r.unitNS, r.unit, r.limit.Span = int64(r.window), fixedUnit, 0
		return
	}
	r.unitNS, r.unit = slidingUnit(r.window)
	// Rounded up, so that a right never comes back early.
	r.limit.Span = core.Stamp((int64(r.window) + r.unitNS - 1) / r.unitNS)
}

// compileBurst sets the numbers of the burst limit.
func (r *Rule) compileBurst(b conf.Burst) error {
	rate := float64(b.Rate)
	if !(rate >= 1e-6 && rate <= 1e9) {
		return fmt.Errorf("burst.rate: %v a second is outside 0.000001 to 1000000000", rate)
	}
	size := b.Size
	if size == 0 {
		size = max(1, int64(rate))
	}
	// Rounded up: the rate is never above the one asked for, and below it by
	// one nanosecond a request at most.
	interval := int64(math.Ceil(float64(time.Second) / rate))
	if size < 1 || size > MaxRequests || size > int64(MaxWindow)/interval {
		return fmt.Errorf("burst.size: %d is outside 1 to %d, or takes longer than %v to come back at this rate",
			size, int64(MaxRequests), MaxWindow)
	}
	r.burst, r.intervalNS, r.toleranceNS = size, interval, size*interval
	return nil
}

// Units of stamps. A sliding window counts in decimal ticks, fine enough that a
// client whose burst comes back after exactly one window loses next to nothing,
// coarse enough that every window is below 2³⁰ ticks. Stamps of two such units
// can be converted.
const (
	unit1ms uint8 = iota
	unit10ms
	unit100ms
	fixedUnit
)

func slidingUnit(window time.Duration) (ns int64, unit uint8) {
	switch {
	case window < 100*time.Second:
		return int64(time.Millisecond), unit1ms
	case window <= 100*24*time.Hour:
		return int64(10 * time.Millisecond), unit10ms
	default:
		return int64(100 * time.Millisecond), unit100ms
	}
}

// ID returns the name that Compile was given.
func (r *Rule) ID() string { return r.id }

// Limit returns the requests per window.
func (r *Rule) Limit() int64 { return r.limit.Rights }

// Window returns the length of the window.
func (r *Rule) Window() time.Duration { return r.window }

// Fixed reports whether the count starts anew at wall-clock multiples of the window.
func (r *Rule) Fixed() bool { return r.fixed }

// Burst returns how many requests may come at once and the time after which
// each comes back; 0 and 0 when the rule has no burst limit.
func (r *Rule) Burst() (size int64, interval time.Duration) {
	return r.burst, time.Duration(r.intervalNS)
}

// Version orders compiled rules of one process: later is higher.
func (r *Rule) Version() uint64 { return r.limit.Version }

// at is the present in the rule's ticks, and how far into the tick it is.
func (r *Rule) at(now Instant) (tick core.Stamp, phaseNS int64) {
	// Dividing by a constant costs a multiplication, by a variable five times that.
	switch ns := now.MonoNS; r.unit {
	case unit1ms:
		return core.Stamp(ns / 1e6), ns % 1e6
	case unit10ms:
		return core.Stamp(ns / 1e7), ns % 1e7
	case unit100ms:
		return core.Stamp(ns / 1e8), ns % 1e8
	default:
		return core.Stamp(now.UnixNS / r.unitNS), now.UnixNS % r.unitNS
	}
}

// until is the time from the present to the moment when uses stamped at leave
// the window; 0 when they may leave now.
func (r *Rule) until(at, tick core.Stamp, phaseNS int64) time.Duration {
	return time.Duration(max(0, int64(int32(at+r.limit.Span-tick))*r.unitNS-phaseNS))
}

// slack is how many ticks a bucket's time may be ahead of the present before the
// difference is taken for a wrapped tick or a clock that was set back, rather
// than for two requests that overtook each other.
func (r *Rule) slack() core.Stamp {
	if r.fixed {
		return 1
	}
	return 1 << 20
}

// sameTicks reports whether stamps of r and o mean the same.
func (r *Rule) sameTicks(o *Rule) bool { return r.unit == o.unit && r.unitNS == o.unitNS }

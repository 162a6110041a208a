package limiter

import "context"

// Options configure a Limiter. The zero value is safe.
type Options struct {
	// Secret keys the hash of every Key; nodes that share limits share it. Zero: a
	// random one.
	Secret [16]byte
	// MaxKeys bounds the buckets of tenants and others that are not addresses.
	// Default: 2,097,152 (about 150 B each while quiet).
	MaxKeys int
	// MaxAddresses bounds the buckets of client addresses; memory is taken as
	// they come. Default: 1,048,576.
	MaxAddresses int
	// Clock is read by Run. Default: Now.
	Clock func() Instant
}

// Limiter holds the buckets and decides. It lives as long as the process:
// configuration reloads bring new rules, never a new Limiter.
type Limiter struct {
	secret [2]uint64
}

// New returns a Limiter without starting anything.
func New(o Options) *Limiter { panic("BUG: not built yet") }

// Decide weighs all charges of one request at once: all are taken, or none and
// d.Admitted is false. It never blocks on anything slow and does not allocate,
// except for the first charge to a key. It may be called from any goroutine; d
// and charges belong to the caller. More than MaxCharges charges panic.
func (l *Limiter) Decide(now Instant, charges []Charge, d *Decision) { panic("BUG: not built yet") }

// Run drops buckets in which nothing is used any more, until ctx ends. Decide is
// right without it, but keeps every key.
func (l *Limiter) Run(ctx context.Context) error { panic("BUG: not built yet") }

// Usage returns the state of k under r now.
func (l *Limiter) Usage(r *Rule, k Key) Usage { panic("BUG: not built yet") }

// Stats returns the counters.
func (l *Limiter) Stats() Stats { panic("BUG: not built yet") }

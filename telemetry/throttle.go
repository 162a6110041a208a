package telemetry

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// Throttle lets a warning that may repeat with every request through once per
// Every, and counts the others. Have one for each place that warns. The zero
// value lets one through in ten seconds.
type Throttle struct {
	Every time.Duration // Default: 10s

	next       atomic.Int64 // Unix nanoseconds before which nothing passes
	suppressed atomic.Uint64
}

// Allow reports whether to warn now, and how often it said no since it last
// said yes. It takes no lock.
func (t *Throttle) Allow() (suppressed uint64, ok bool) {
	every := t.Every
	if every <= 0 {
		every = 10 * time.Second
	}
	now := time.Now().UnixNano()
	next := t.next.Load()
	// A clock set back by more than a period must not silence the warning until
	// it has caught up.
	if now < next && next-now <= int64(every) || !t.next.CompareAndSwap(next, now+int64(every)) {
		t.suppressed.Add(1)
		return 0, false
	}
	return t.suppressed.Swap(0), true
}

// Warn logs msg at level Warn when Allow lets it, with the number of those that
// it did not let through under the key suppressed.
func (t *Throttle) Warn(log *slog.Logger, msg string, attrs ...slog.Attr) {
	suppressed, ok := t.Allow()
	if !ok {
		return
	}
	if suppressed > 0 {
		attrs = append(attrs, slog.Uint64(KeySuppressed, suppressed))
	}
	log.LogAttrs(context.Background(), slog.LevelWarn, msg, attrs...)
}

package ship

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"sluice/telemetry"
)

// Options of an [Output].
type Options struct {
	Name     string // of the output, in metrics and warnings
	Protocol Protocol
	// Timeout bounds one delivery. Default: 10s
	Timeout time.Duration
	// Buffer bounds the lines in memory, in bytes. Default: 8 MiB
	Buffer int
	// SpillDir and Spill are where lines wait when half of the buffer is full, and
	// how many bytes of them may. Default: none do
	SpillDir string
	Spill    int64
	// Logger takes warnings. Default: none
	Logger *slog.Logger
}

// A Protocol delivers lines. It is used by one goroutine.
type Protocol interface {
	// Deliver sends whole lines, each with its line feed. An error that is
	// [Refused] means that trying again is of no use.
	Deliver(ctx context.Context, lines []byte) error
	// Close ends connections.
	Close() error
}

// Refused is the error of a receiver that refuses lines for what they are.
type Refused struct {
	Lines int // how many; 0: all
	Why   error
}

func (r *Refused) Error() string { return r.Why.Error() }

func (r *Refused) Unwrap() error { return r.Why }

const (
	// maxDelivery is what one delivery takes at most.
	maxDelivery = 1 << 20
	// linger is how long lines wait for more to go with them.
	linger = 500 * time.Millisecond
	// The pause after a failure doubles from the first to the last.
	firstPause, lastPause = 250 * time.Millisecond, 15 * time.Second
	// farewell is how long what is left may take when the process ends.
	farewell = 2 * time.Second
)

// Output is a place that lines are sent to: a [telemetry.Sink].
type Output struct {
	o     Options
	queue queue
	disk  *spill // nil: none

	dropped atomic.Uint64
	sent    atomic.Uint64
	down    atomic.Bool
	failing telemetry.Throttle
}

// Open returns an output. It dials nothing before Run; an error is the spill
// directory's.
func Open(o Options) (*Output, error) {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Buffer <= 0 {
		o.Buffer = 8 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	out := &Output{o: o}
	out.queue.limit = o.Buffer
	out.queue.more = make(chan struct{}, 1)
	if o.Spill > 0 && o.SpillDir != "" {
		disk, err := openSpill(o.SpillDir, o.Spill)
		if err != nil {
			return nil, fmt.Errorf("log output %s: %w", o.Name, err)
		}
		out.disk = disk
	}
	return out, nil
}

// Offer takes whole lines; see [telemetry.Sink].
func (o *Output) Offer(lines []byte) {
	if !o.queue.push(lines) {
		o.dropped.Add(countLines(lines))
	}
}

// Run delivers until ctx is done, then for two seconds what is left; what cannot be
// delivered goes to disk, where there is one.
func (o *Output) Run(ctx context.Context) error {
	var spilling sync.WaitGroup
	if o.disk != nil {
		spilling.Go(func() { o.spillOver(ctx) })
	}
	o.send(ctx)
	spilling.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	for o.sendOne(last) == nil {
	}
	return errors.Join(o.leave(), o.o.Protocol.Close())
}

// send delivers until ctx is done.
func (o *Output) send(ctx context.Context) {
	pause := firstPause
	for {
		if !o.await(ctx) {
			return
		}
		err := o.sendOne(ctx)
		switch {
		case err == nil || errors.Is(err, errNothing):
			if o.down.Swap(false) {
				o.o.Logger.Info("log output takes lines again", telemetry.KeyName, o.o.Name)
			}
			pause = firstPause
			continue
		case ctx.Err() != nil:
			return
		}
		o.down.Store(true)
		o.failing.Warn(o.o.Logger, "log output does not take lines; they are kept and it is tried again",
			slog.String(telemetry.KeyName, o.o.Name), slog.String(telemetry.KeyError, err.Error()))
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, lastPause)
	}
}

// await waits until there is something to send, and a little for more. It returns
// false when ctx is done.
func (o *Output) await(ctx context.Context) bool {
	for {
		if o.disk != nil && o.disk.size() > 0 || o.queue.size() >= maxDelivery {
			return ctx.Err() == nil
		}
		if o.queue.size() > 0 {
			select {
			case <-ctx.Done():
				return false
			case <-time.After(linger):
				return true
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-o.queue.more:
		case <-time.After(10 * time.Second):
			if o.disk != nil {
				o.report(o.disk.adopt())
			}
		}
	}
}

var errNothing = errors.New("nothing to send")

// sendOne delivers the oldest lines, from disk or else from memory, and removes
// them when they arrived.
func (o *Output) sendOne(ctx context.Context) error {
	var lines []byte
	var done func()
	if o.disk != nil && !o.queue.flying() { // what failed last time is older than what was spilled since
		var err error
		if lines, done, err = o.disk.head(maxDelivery); err != nil {
			o.report(err)
		}
	}
	if len(lines) == 0 {
		if lines = o.queue.take(maxDelivery); len(lines) == 0 {
			return errNothing
		}
		done = o.queue.delivered
	}
	ctx, cancel := context.WithTimeout(ctx, o.o.Timeout)
	defer cancel()
	err := o.o.Protocol.Deliver(ctx, lines)
	n := countLines(lines)
	if refused, ok := errors.AsType[*Refused](err); ok {
		lost := uint64(refused.Lines)
		if lost == 0 {
			lost = n
		}
		o.dropped.Add(lost)
		n -= min(lost, n)
		o.failing.Warn(o.o.Logger, "log output refuses lines, which are dropped",
			slog.String(telemetry.KeyName, o.o.Name), slog.String(telemetry.KeyError, err.Error()), slog.Uint64(telemetry.KeyCount, lost))
		err = nil
	}
	if err != nil {
		return err
	}
	o.sent.Add(n)
	done()
	return nil
}

// spillOver moves lines to disk while memory is more than half full.
func (o *Output) spillOver(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// Once there are lines on disk, newer ones queue up behind them only as
		// memory fills: the sender takes the disk's first.
		for o.queue.size() > o.o.Buffer/2 && o.spillOne() {
		}
	}
}

// spillOne moves the oldest lines of memory that are not being sent to the disk.
func (o *Output) spillOne() bool {
	if o.disk.full() {
		return false
	}
	lines := o.queue.steal(maxDelivery)
	if len(lines) == 0 {
		return false
	}
	if err := o.disk.append(lines); err != nil {
		o.dropped.Add(countLines(lines))
		o.report(err)
		return false
	}
	return true
}

// leave puts what is left in memory on disk, or counts it.
func (o *Output) leave() error {
	o.queue.back()
	for {
		lines := o.queue.steal(maxDelivery)
		if len(lines) == 0 {
			break
		}
		if o.disk == nil || o.disk.full() {
			o.dropped.Add(countLines(lines))
		} else if err := o.disk.append(lines); err != nil {
			o.dropped.Add(countLines(lines))
			o.report(err)
		}
	}
	if o.disk == nil {
		return nil
	}
	return o.disk.close()
}

func (o *Output) report(err error) {
	if err != nil {
		o.failing.Warn(o.o.Logger, "log output cannot keep lines on disk",
			slog.String(telemetry.KeyName, o.o.Name), slog.String(telemetry.KeyError, err.Error()))
	}
}

// Stats are an output's counts.
type Stats struct {
	Sent, Dropped   uint64 // lines
	Queued, Spilled int64  // bytes in memory and on disk
	Down            bool   // the last delivery failed
}

// Stats returns the output's counts.
func (o *Output) Stats() Stats {
	s := Stats{Sent: o.sent.Load(), Dropped: o.dropped.Load(), Queued: int64(o.queue.size()), Down: o.down.Load()}
	if o.disk != nil {
		s.Spilled = o.disk.size()
	}
	return s
}

// Collect emits the output's metrics; see [telemetry.Sink].
func (o *Output) Collect(stream string, emit telemetry.Emit) {
	s, sink := o.Stats(), stream+":"+o.o.Name
	up := 1.0
	if s.Down {
		up = 0
	}
	emit("sluice_log_dropped_total", float64(s.Dropped), sink)
	emit("sluice_log_sent_total", float64(s.Sent), sink)
	emit("sluice_log_queue_bytes", float64(s.Queued), sink)
	emit("sluice_log_spilled_bytes", float64(s.Spilled), sink)
	emit("sluice_log_output_up", up, sink)
}

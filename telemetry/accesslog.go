package telemetry

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// AccessLogOptions says where the access log goes. The zero value writes to
// standard output.
type AccessLogOptions struct {
	// File is a path, "stdout" or "off". Default: stdout
	File string
	// Keep is how long rotated files are kept. Default: 14 days
	Keep time.Duration
	// MaxSize bounds the size of the file and the rotated ones together, in
	// bytes. Default: 10 GiB
	MaxSize int64
	// Buffer bounds the memory, in bytes, that holds lines until the disk takes
	// them; it is allocated as needed. Default: 32 MiB
	Buffer int
	// Node and Generation are written on every line; empty and 0 leave them out.
	Node       string
	Generation int
	// Logger takes warnings about the log itself. Default: none
	Logger *slog.Logger
}

func (o AccessLogOptions) withDefaults() AccessLogOptions {
	if o.File == "" {
		o.File = "stdout"
	}
	if o.Keep <= 0 {
		o.Keep = 14 * 24 * time.Hour
	}
	if o.MaxSize <= 0 {
		o.MaxSize = 10 << 30
	}
	if o.Buffer <= 0 {
		o.Buffer = 32 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

const (
	// batchSize is what one write to the disk takes at most: some 130 lines.
	batchSize = 64 << 10
	// flushEvery is how long a line waits for its batch to fill.
	flushEvery = 100 * time.Millisecond
)

// AccessLog writes one JSON line for each request.
//
//	Write ── encode ──> shard ── batch full ──> full ──> Run ──> output
//	                      ^       or 0.1 s later          │
//	                      └───────────── free <───────────┘
//
// A batch is a buffer of batchSize. There are as many as Options.Buffer allows,
// each in a shard, in full, with Run, or in free: that is why neither channel
// can ever be found full by who sends a batch to it.
type AccessLog struct {
	off     bool
	out     output
	log     *slog.Logger
	stripes *striper
	shards  []shard
	full    chan []byte
	free    chan []byte
	spare   atomic.Int64 // batches that may still be allocated
	dropped atomic.Uint64
	reopen  chan struct{}
	failing Throttle
}

// output is where the batches go. Only Run's goroutine calls it.
type output interface {
	// write writes whole lines and returns how many bytes of them it took.
	write(lines []byte) (int, error)
	// idle is called now and then when there is nothing to write.
	idle() error
	// reopen opens the output anew.
	reopen() error
	// sweep compresses and removes old files until ctx is done. It is called
	// on a goroutine of its own, beside the others.
	sweep(ctx context.Context)
	close() error
}

// shard is where the requests of one processor put their lines. Its lock is
// held for as long as one line takes to encode.
type shard struct {
	mu      sync.Mutex
	batch   []byte  // guarded by mu; nil: none, or none free
	encoder encoder // guarded by mu
	closed  bool    // guarded by mu; Run has ended

	_ [64]byte // keeps the next shard's lock off this cache line
}

// OpenAccessLog opens the file, so that a wrong path or permission is an error
// at the start. Nothing is written before Run.
func OpenAccessLog(o AccessLogOptions) (*AccessLog, error) {
	o = o.withDefaults()
	switch o.File {
	case "off":
		return newAccessLog(o, nil), nil
	case "stdout":
		out, err := openStream(os.Stdout)
		if err != nil {
			return nil, err
		}
		return newAccessLog(o, out), nil
	}
	f, err := openLogFile(o.File, o.Keep, o.MaxSize, o.Logger)
	if err != nil {
		return nil, err
	}
	return newAccessLog(o, f), nil
}

func newAccessLog(o AccessLogOptions, out output) *AccessLog {
	stripes := defaultStriper()
	// Twice the processors: a goroutine that is preempted while it holds a shard
	// leaves others to choose from.
	shards := 2 * stripes.stripes
	batches := max(o.Buffer/batchSize, 2)
	a := &AccessLog{
		off:     out == nil,
		out:     out,
		log:     o.Logger,
		stripes: stripes,
		shards:  make([]shard, shards),
		full:    make(chan []byte, batches),
		free:    make(chan []byte, batches),
		reopen:  make(chan struct{}, 1),
	}
	a.spare.Store(int64(batches))
	for i := range a.shards {
		a.shards[i].encoder = newEncoder(o.Node, o.Generation)
	}
	return a
}

// Write appends a line. It never waits for the disk and allocates nothing; the
// line is written about a tenth of a second later, or counted by Dropped. It
// keeps nothing of r.
func (a *AccessLog) Write(r *Record) {
	if a.off {
		return
	}
	first := a.stripes.stripe()
	for i := range a.shards {
		s := &a.shards[(first+i)%len(a.shards)]
		if s.mu.TryLock() {
			a.writeLocked(s, r)
			s.mu.Unlock()
			return
		}
	}
	s := &a.shards[first]
	s.mu.Lock()
	a.writeLocked(s, r)
	s.mu.Unlock()
}

func (a *AccessLog) writeLocked(s *shard, r *Record) {
	if s.closed {
		a.dropped.Add(1)
		return
	}
	if s.batch == nil {
		if s.batch = a.takeFree(); s.batch == nil {
			a.dropped.Add(1)
			return
		}
	}
	s.batch = s.encoder.append(s.batch, r)
	if len(s.batch)+MaxLine > cap(s.batch) {
		a.full <- s.batch // never waits, see AccessLog
		s.batch = nil
	}
}

// takeFree returns an empty batch, or nil when all are waiting for the disk.
func (a *AccessLog) takeFree() []byte {
	select {
	case b := <-a.free:
		return b
	default:
	}
	if a.spare.Add(-1) >= 0 {
		return make([]byte, 0, batchSize)
	}
	a.spare.Add(1)
	return nil
}

// Run writes the lines until ctx is done, then those that are left, and closes
// the file. It returns when nothing of it runs any more. Call it once; stop it
// after the last request has ended, as later lines are dropped.
func (a *AccessLog) Run(ctx context.Context) error {
	if a.off {
		<-ctx.Done()
		return nil
	}
	var sweeping sync.WaitGroup
	sweeping.Go(func() { a.out.sweep(ctx) })
	defer sweeping.Wait()

	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for idleTicks := 0; ; {
		select {
		case batch := <-a.full:
			idleTicks = 0
			a.write(batch)
		case <-tick.C:
			if a.flush(false) {
				idleTicks = 0
			} else if idleTicks++; idleTicks >= 10 {
				idleTicks = 0
				a.report(a.out.idle(), 0)
			}
		case <-a.reopen:
			a.report(a.out.reopen(), 0)
		case <-ctx.Done():
			a.flush(true)
			return a.out.close()
		}
	}
}

// flush writes the full batches and what the shards hold, and reports whether
// there was anything. With final the shards take no more.
func (a *AccessLog) flush(final bool) (wrote bool) {
	for i := range a.shards {
		s := &a.shards[i]
		s.mu.Lock()
		batch := s.batch
		s.batch = nil
		s.closed = s.closed || final
		s.mu.Unlock()
		if batch == nil {
			continue
		}
		// Batches that filled up before this one go first, so that the lines of
		// one connection mostly stay in order.
		a.writeFull()
		a.write(batch)
		wrote = true
	}
	return a.writeFull() || wrote
}

// writeFull writes the batches that were full when it was called: those that
// fill up meanwhile are Run's next turn, or there might be no end.
func (a *AccessLog) writeFull() (wrote bool) {
	for n := len(a.full); n > 0; n-- {
		a.write(<-a.full)
		wrote = true
	}
	return wrote
}

func (a *AccessLog) write(batch []byte) {
	n, err := a.out.write(batch)
	if err != nil {
		lost := bytes.Count(batch[n:], []byte{'\n'})
		a.dropped.Add(uint64(lost))
		a.report(err, lost)
	}
	a.free <- batch[:0] // never waits, see AccessLog
}

func (a *AccessLog) report(err error, lost int) {
	if err != nil {
		a.failing.Warn(a.log, "access log cannot be written",
			slog.String(KeyError, err.Error()), slog.Int(KeyCount, lost))
	}
}

// Reopen makes Run open the path anew, for rotation by another program. A file
// that was renamed or removed is noticed without it, within about a second.
func (a *AccessLog) Reopen() {
	select {
	case a.reopen <- struct{}{}:
	default: // one is pending and does for both
	}
}

// Dropped returns how many lines were lost because the disk was slow, full or
// broken, or because they came after Run had ended.
func (a *AccessLog) Dropped() uint64 { return a.dropped.Load() }

// Collect emits sluice_log_dropped_total; pass it to [Metrics.Collect].
func (a *AccessLog) Collect(emit Emit) {
	emit("sluice_log_dropped_total", float64(a.Dropped()), "access")
}

package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// StreamOptions says where the lines of a stream go. The zero value writes to
// standard output.
type StreamOptions struct {
	// Name is the stream in metrics and warnings, such as access. Default: log
	Name string
	// File is a path, "stdout" or "off". Default: stdout
	File string
	// Keep is how long rotated files are kept. Default: 14 days
	Keep time.Duration
	// MaxSize bounds the size of the file and the rotated ones together, in
	// bytes. Default: 10 GiB
	MaxSize int64
	// MaxLine bounds a line, in bytes with its line feed. Default: [MaxLine]
	MaxLine int
	// Buffer bounds the memory, in bytes, that holds lines until the disk takes
	// them; it is allocated as needed. Default: 32 MiB
	Buffer int
	// Sinks take the lines too, beside the file.
	Sinks []Sink
	// Logger takes warnings about the log itself. Default: none
	Logger *slog.Logger
}

func (o StreamOptions) withDefaults() StreamOptions {
	if o.Name == "" {
		o.Name = "log"
	}
	if o.File == "" {
		o.File = "stdout"
	}
	if o.Keep <= 0 {
		o.Keep = 14 * 24 * time.Hour
	}
	if o.MaxSize <= 0 {
		o.MaxSize = 10 << 30
	}
	if o.MaxLine <= 0 {
		o.MaxLine = MaxLine
	}
	if o.Buffer <= 0 {
		o.Buffer = 32 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// A Sink takes the lines of a stream to another place than its file, such as a
// collector over the network.
type Sink interface {
	// Offer takes whole lines. It is called by one goroutine, must never wait
	// and keeps nothing of lines: what it cannot hold it drops and counts.
	Offer(lines []byte)
	// Run delivers what was offered until ctx is done; the stream then offers no
	// more. When it returns, nothing of the sink runs any longer.
	Run(ctx context.Context) error
	// Collect emits the sink's metrics, of the stream with this name.
	Collect(stream string, emit Emit)
}

const (
	// batchSize is what one write to the disk takes at least: some 130 lines of
	// the access log.
	batchSize = 64 << 10
	// flushEvery is how long a line waits for its batch to fill.
	flushEvery = 100 * time.Millisecond
)

// Stream is a log of lines, each one JSON object by convention, which are written
// to a file and offered to sinks.
//
//	Write ── copy ──> shard ── batch full ──> full ──> Run ──┬─> disk ──> output
//	                    ^       or 0.1 s later               └─> sinks      │
//	                    └────────────────── free <──────────────────────────┘
//
// A batch is a buffer of batchSize. There are as many as Options.Buffer allows,
// each in a shard, in full, with Run, in disk, or in free: that is why none of the
// channels can ever be found full by who sends a batch to it.
//
// The output has a goroutine of its own, so that a disk that hangs does not
// keep the lines from the sinks. For their sake a few batches are kept from
// it, when there are sinks.
type Stream struct {
	name    string
	out     output // nil: no file
	sinks   []Sink
	maxLine int
	log     *slog.Logger
	stripes *striper
	shards  []shard
	full    chan []byte
	disk    chan []byte
	mostly  int // how many batches may wait for the disk
	free    chan []byte
	size    int          // of a batch
	spare   atomic.Int64 // batches that may still be allocated
	dropped atomic.Uint64
	reopen  chan struct{}
	failing Throttle
}

// output is where the batches go. Only one goroutine calls it.
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
// held for as long as one line takes to copy or encode.
type shard struct {
	mu     sync.Mutex
	batch  []byte // guarded by mu; nil: none, or none free
	closed bool   // guarded by mu; Run has ended

	_ [64]byte // keeps the next shard's lock off this cache line
}

// OpenStream opens the file, so that a wrong path or permission is an error at
// the start. Nothing is written before Run.
func OpenStream(o StreamOptions) (*Stream, error) {
	o = o.withDefaults()
	out, err := openOutput(o)
	if err != nil {
		return nil, err
	}
	return newStream(o, out), nil
}

func openOutput(o StreamOptions) (output, error) {
	switch o.File {
	case "off":
		return nil, nil //nolint:nilnil // no file is an answer
	case "stdout":
		return openPipe(os.Stdout, o.MaxLine)
	}
	return openLogFile(o)
}

func newStream(o StreamOptions, out output) *Stream {
	stripes := defaultStriper()
	// Twice the processors: a goroutine that is preempted while it holds a shard
	// leaves others to choose from.
	shards := 2 * stripes.stripes
	size := max(batchSize, 2*o.MaxLine)
	batches := max(o.Buffer/size, 2)
	s := &Stream{
		name:    o.Name,
		out:     out,
		sinks:   o.Sinks,
		maxLine: o.MaxLine,
		log:     o.Logger,
		stripes: stripes,
		shards:  make([]shard, shards),
		full:    make(chan []byte, batches),
		disk:    make(chan []byte, batches),
		mostly:  batches,
		free:    make(chan []byte, batches),
		size:    size,
		reopen:  make(chan struct{}, 1),
	}
	if len(o.Sinks) > 0 {
		s.mostly = max(batches-2*shards, batches/2)
	}
	s.spare.Store(int64(batches))
	return s
}

// off reports whether nobody wants the lines.
func (s *Stream) off() bool { return s.out == nil && len(s.sinks) == 0 }

// Write appends a line, which has no line feed. It never waits for the disk and
// allocates nothing; the line is written about a tenth of a second later. One
// that is too long, or comes after Run has ended, is counted by Dropped. It keeps
// nothing of line.
func (s *Stream) Write(line []byte) {
	if s.off() {
		return
	}
	if len(line) >= s.maxLine {
		s.dropped.Add(1)
		return
	}
	i, b := s.begin()
	if b != nil {
		b = append(append(b, line...), '\n')
	}
	s.end(i, b)
}

// begin locks a shard and returns its number, and the batch to append one line of
// at most maxLine bytes to; nil when there is no room, which is counted. Call end.
func (s *Stream) begin() (i int, batch []byte) {
	first := s.stripes.stripe()
	for n := range s.shards {
		i = (first + n) % len(s.shards)
		if s.shards[i].mu.TryLock() {
			return i, s.batchLocked(&s.shards[i])
		}
	}
	s.shards[first].mu.Lock()
	return first, s.batchLocked(&s.shards[first])
}

func (s *Stream) batchLocked(sh *shard) []byte {
	if sh.batch == nil && !sh.closed {
		sh.batch = s.takeFree()
	}
	if sh.batch == nil {
		s.dropped.Add(1)
	}
	return sh.batch
}

// end takes back the batch of shard i, with its line, and unlocks the shard.
func (s *Stream) end(i int, batch []byte) {
	sh := &s.shards[i]
	if sh.batch = batch; batch != nil && len(batch)+s.maxLine > cap(batch) {
		s.full <- batch // never waits, see Stream
		sh.batch = nil
	}
	sh.mu.Unlock()
}

// takeFree returns an empty batch, or nil when all are waiting for the disk.
func (s *Stream) takeFree() []byte {
	select {
	case b := <-s.free:
		return b
	default:
	}
	if s.spare.Add(-1) >= 0 {
		return make([]byte, 0, s.size)
	}
	s.spare.Add(1)
	return nil
}

// Run writes the lines until ctx is done, then those that are left, and closes
// the file. It returns when nothing of it runs any more. Call it once; stop it
// after the last request has ended, as later lines are dropped.
func (s *Stream) Run(ctx context.Context) error {
	if s.off() {
		<-ctx.Done()
		return nil
	}
	errs := make([]error, len(s.sinks)+1)
	var running sync.WaitGroup
	// The sinks live a little longer than ctx: until the last line was offered.
	sinking, endSinks := context.WithCancel(context.WithoutCancel(ctx))
	defer endSinks()
	for i, sink := range s.sinks {
		running.Go(func() { errs[i] = sink.Run(sinking) })
	}
	running.Go(func() { errs[len(s.sinks)] = s.runDisk(ctx) })

	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for open := true; open; {
		select {
		case batch := <-s.full:
			s.dispatch(batch)
		case <-tick.C:
			s.flush(false)
		case <-ctx.Done():
			s.flush(true)
			open = false
		}
	}
	close(s.disk)
	endSinks()
	running.Wait()
	return errors.Join(errs...)
}

// flush dispatches the full batches and what the shards hold. With final the
// shards take no more.
func (s *Stream) flush(final bool) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		batch := sh.batch
		sh.batch = nil
		sh.closed = sh.closed || final
		sh.mu.Unlock()
		if batch == nil {
			continue
		}
		// Batches that filled up before this one go first, so that the lines of
		// one connection mostly stay in order.
		s.dispatchFull()
		s.dispatch(batch)
	}
	s.dispatchFull()
}

// dispatchFull dispatches the batches that were full when it was called: those
// that fill up meanwhile are Run's next turn, or there might be no end.
func (s *Stream) dispatchFull() {
	for n := len(s.full); n > 0; n-- {
		s.dispatch(<-s.full)
	}
}

// dispatch offers the batch to the sinks and passes it on to the disk.
func (s *Stream) dispatch(batch []byte) {
	for _, sink := range s.sinks {
		sink.Offer(batch)
	}
	switch {
	case s.out == nil:
		s.free <- batch[:0]
	case len(s.disk) >= s.mostly:
		s.lose(batch, errDiskSlow)
		s.free <- batch[:0]
	default:
		s.disk <- batch // never waits, see Stream
	}
}

var errDiskSlow = errors.New("the disk does not keep up")

// runDisk writes what disk brings, until it is closed.
func (s *Stream) runDisk(ctx context.Context) error {
	if s.out == nil {
		for range s.disk { // nothing ever comes but the end
		}
		return nil
	}
	var sweeping sync.WaitGroup
	sweeping.Go(func() { s.out.sweep(ctx) })
	defer sweeping.Wait()
	const idleEvery = 10 * flushEvery
	idle := time.NewTimer(idleEvery)
	defer idle.Stop()
	for {
		select {
		case batch, ok := <-s.disk:
			if !ok {
				return s.out.close()
			}
			s.write(batch)
		case <-idle.C:
			s.report(s.out.idle(), 0)
		case <-s.reopen:
			s.report(s.out.reopen(), 0)
		}
		idle.Reset(idleEvery)
	}
}

func (s *Stream) write(batch []byte) {
	n, err := s.out.write(batch)
	if err != nil {
		s.lose(batch[n:], err)
	}
	s.free <- batch[:0] // never waits, see Stream
}

// lose counts the lines that could not be written.
func (s *Stream) lose(lines []byte, why error) {
	lost := bytes.Count(lines, []byte{'\n'})
	s.dropped.Add(uint64(lost))
	s.report(why, lost)
}

func (s *Stream) report(err error, lost int) {
	if err != nil {
		s.failing.Warn(s.log, s.name+" log cannot be written",
			slog.String(KeyError, err.Error()), slog.Int(KeyCount, lost))
	}
}

// Reopen makes Run open the path anew, for rotation by another program. A file
// that was renamed or removed is noticed without it, within about a second.
func (s *Stream) Reopen() {
	select {
	case s.reopen <- struct{}{}:
	default: // one is pending and does for both
	}
}

// Dropped returns how many lines were lost because the disk was slow, full or
// broken, because they were too long, or because they came after Run had ended.
func (s *Stream) Dropped() uint64 { return s.dropped.Load() }

// Collect emits the stream's metrics and its sinks'; pass it to [Metrics.Collect].
func (s *Stream) Collect(emit Emit) {
	emit("sluice_log_dropped_total", float64(s.Dropped()), s.name)
	for _, sink := range s.sinks {
		sink.Collect(s.name, emit)
	}
}

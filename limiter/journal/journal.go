package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

const (
	// Patience is how long the disk may take for one write before the journal goes
	// on without it.
	Patience = time.Second
	// retryFirst is how long an inactive journal waits before it tries again; it
	// waits twice as long each time, up to retryLast.
	retryFirst = time.Second
	retryLast  = time.Minute
	// slackBytes is how much a segment may grow beyond its snapshot in any case.
	slackBytes = 1 << 20
)

// Options configure a Journal. All but Create are needed.
type Options struct {
	// Dir is made if it does not exist.
	Dir string
	// Head returns the content of each segment's first frame.
	Head func() []byte
	// Snapshot appends, by Append, a part of everything that must be known without
	// the former segments. It is called with 0, and then with what it returned, by
	// the goroutine of Run, until it returns a negative number. An error means that
	// there is no whole snapshot now, and no segment is removed.
	Snapshot func(from int) (next int, err error)
	Logger   *slog.Logger
	// Create opens a new segment. Default: a file that must not exist.
	Create func(path string) (File, error)
}

// Journal appends records to segments. See the package's documentation.
type Journal struct {
	o       Options
	wake    chan struct{} // room for one
	control chan func()   // for the goroutine of Run

	// Owned by whoever starts Run, then by its goroutine.
	lock    *os.File
	file    File
	number  uint64
	written int64 // bytes of the present segment
	base    int64 // of them when its snapshot was whole
	older   []uint64
	next    int // of the snapshot; negative: it is whole
	wanted  bool
	retry   *time.Timer
	pause   time.Duration // until the next try
	spare   []byte

	mu     sync.Mutex // guards what follows
	active bool
	epoch  uint32
	buf    []byte
	open   *Batch // of buf
	flight *Batch // being written
	stats  Stats
}

// Batch is what becomes durable with one write.
type Batch struct{ done chan struct{} }

// Done is closed when the records are durable, or the journal has turned inactive.
func (b *Batch) Done() <-chan struct{} { return b.done }

// Stats describe a journal.
type Stats struct {
	// Active says that what Append takes will be durable.
	Active bool
	// Err is why it is not, since when; nil while active, and before Begin.
	Err   error
	Since time.Time
	// Bytes are on disk in all segments but the ones that are to be removed.
	Bytes int64
	// Syncs and Failures count since New.
	Syncs, Failures uint64
}

// New returns a journal that is not active. It touches no file.
func New(o Options) *Journal {
	if o.Create == nil {
		o.Create = create
	}
	j := &Journal{o: o, wake: make(chan struct{}, 1), control: make(chan func()), retry: time.NewTimer(time.Hour)}
	j.retry.Stop()
	return j
}

// Replay reads what is in the directory, and keeps other processes from writing to
// it. each is called with every frame; first tells those that are heads. Damage that
// a crash cannot explain is returned with what was read before it. Call it before
// Run.
func (j *Journal) Replay(each func(first bool, content []byte) error) error {
	var err error
	if j.lock, err = lockDir(j.o.Dir); err != nil {
		return err
	}
	list, err := segments(j.o.Dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range list {
		path := segmentPath(j.o.Dir, n)
		text, err := os.ReadFile(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		first := true
		err = scan(text, func(content []byte) error {
			defer func() { first = false }()
			return each(first, content)
		})
		if err != nil && !errors.Is(err, errTorn) {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}

// Append has add append records to a frame, and returns what they become durable
// with; nil when the journal is not active, and then add is not called. fresh is
// true for the first records of a frame. epoch changes whenever records may have
// been lost: what has been appended in another one is not there.
func (j *Journal) Append(add func(b []byte, fresh bool, epoch uint32) []byte) *Batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.active {
		return nil
	}
	fresh := j.open == nil
	if fresh {
		j.open = &Batch{done: make(chan struct{})}
		j.buf = append(j.buf[:0], make([]byte, frameHead)...)
		select {
		case j.wake <- struct{}{}:
		default:
		}
	}
	j.buf = add(j.buf, fresh, j.epoch)
	return j.open
}

// Wait waits for b, at most for Patience: then the disk is stuck, and the journal
// inactive.
func (j *Journal) Wait(b *Batch) {
	select {
	case <-b.done:
		return
	default:
	}
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	select {
	case <-b.done:
	case <-timer.C:
		j.fail(fmt.Errorf("the disk has not answered for %v", Patience))
	}
}

// Stats returns the present state.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.stats
	s.Active = j.active
	return s
}

// fail makes the journal inactive; the goroutine of Run will try again.
func (j *Journal) fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stats.Err == nil {
		j.stats.Err, j.stats.Since = err, time.Now()
		j.o.Logger.Error("limits are not kept on disk: after a crash quotas would begin anew", "error", err, "dir", j.o.Dir)
	}
	j.stats.Failures++
	j.endLocked()
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// endLocked lets go of everybody who waits.
func (j *Journal) endLocked() {
	j.active = false
	for _, b := range []*Batch{j.open, j.flight} {
		if b != nil {
			close(b.done)
		}
	}
	j.open, j.flight = nil, nil
}

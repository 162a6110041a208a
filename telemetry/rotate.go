package telemetry

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sluice/telemetry/segment"
)

// logFile is a stream in a file, which several processes may append to:
// during an upgrade the old and the new generation do.
//
// A file holds the lines of one UTC day and at most segment bytes, about. Then
// it is renamed to NAME-TIME.EXT and a new one begun. Who finds that its file
// no longer has the path opens the path anew.
//
// Locks, by flock: every writer holds its file shared for as long as it has it
// open, and who compresses a renamed file takes it exclusively first; so no
// line is appended to a file that has been compressed. Renaming is done
// with the directory locked exclusively, so that two processes that find the
// file full do not rename twice. Neither is ever waited for.
type logFile struct {
	name    string // of the stream
	path    string
	keep    time.Duration
	maxSize int64
	segment int64
	maxLine int
	log     *slog.Logger
	rotated chan struct{} // wakes the sweep

	f       *os.File
	regular bool      // not a device or a pipe: rotated, and watched for being moved
	last    time.Time // of the last write, or of the file when opened
	torn    bool
}

func openLogFile(o StreamOptions) (*logFile, error) {
	l := &logFile{
		name:    o.Name,
		path:    o.File,
		keep:    o.Keep,
		maxSize: o.MaxSize,
		maxLine: o.MaxLine,
		// A tenth of the whole, so that the oldest tenth goes when it is full;
		// at most what compresses in a second or two.
		segment: min(max(o.MaxSize/10, 1<<20), 256<<20),
		log:     o.Logger,
		rotated: make(chan struct{}, 1),
	}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

// open opens the path for appending and locks it shared. The file may be
// renamed, even compressed, between the two, so it looks again after locking.
func (l *logFile) open() error {
	for range 100 {
		// Readable by the group, for log shippers; not by everyone.
		f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
		if err != nil {
			return fmt.Errorf("open %s log: %w", l.name, err)
		}
		info, err := f.Stat()
		if err != nil {
			_ = f.Close()
			return fmt.Errorf("open %s log: %w", l.name, err)
		}
		regular := info.Mode().IsRegular()
		if regular && (isLocked(flock(f, unix.LOCK_SH)) || !l.isCurrent(info)) {
			_ = f.Close()
			continue
		}
		l.f, l.regular, l.last = f, regular, info.ModTime()
		l.torn = l.torn && info.Size() > 0 // it may be the same file as before
		if info.Size() == 0 {
			l.last = time.Now()
		}
		return nil
	}
	return fmt.Errorf("open %s log: %s is being renamed all the time", l.name, l.path)
}

func (l *logFile) isCurrent(info os.FileInfo) bool {
	now, err := os.Stat(l.path)
	return err == nil && os.SameFile(info, now)
}

func (l *logFile) write(lines []byte) (int, error) {
	if err := l.prepare(int64(len(lines))); err != nil {
		return 0, err
	}
	l.last = time.Now()
	return writeLines(l.f, lines, len(lines)+l.maxLine, &l.torn)
}

// prepare makes l.f the file that more bytes are to be appended to.
func (l *logFile) prepare(more int64) error {
	if l.f == nil {
		return l.open()
	}
	if !l.regular {
		return nil
	}
	info, err := l.f.Stat()
	if err != nil {
		return fmt.Errorf("%s log: %w", l.name, err)
	}
	if !l.isCurrent(info) {
		return l.reopen()
	}
	now := time.Now()
	full := info.Size()+more > l.segment || !sameDay(l.last, now)
	if !full || info.Size() == 0 {
		return nil
	}
	if err := l.rename(info, now); err != nil {
		// The lines matter more than the size: go on in this file.
		l.log.Warn(l.name+" log cannot be rotated", KeyError, err)
		return nil
	}
	select {
	case l.rotated <- struct{}{}:
	default:
	}
	return l.reopen()
}

func sameDay(a, b time.Time) bool {
	ay, am, ad := a.UTC().Date()
	by, bm, bd := b.UTC().Date()
	return ay == by && am == bm && ad == bd
}

// rename moves the file out of the way, unless another process is doing it or
// has done it.
func (l *logFile) rename(info os.FileInfo, now time.Time) error {
	dir, err := os.Open(filepath.Dir(l.path))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // also unlocks it
	if isLocked(flock(dir, unix.LOCK_EX)) || !l.isCurrent(info) {
		return nil
	}
	for {
		to := segment.Name(l.path, now)
		// In this order: the compressed file is there before the other goes.
		taken, err := exists(to)
		if err == nil && !taken {
			taken, err = exists(to + segment.Compressed)
		}
		if err != nil {
			return err
		}
		if !taken {
			return os.Rename(l.path, to)
		}
		now = now.Add(time.Millisecond)
	}
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// idle notices that the file was moved when there is nothing to write, so that
// who moved it need not wait for the next request.
func (l *logFile) idle() error { return l.prepare(0) }

func (l *logFile) reopen() error {
	err := l.close()
	if openErr := l.open(); openErr != nil {
		return openErr
	}
	return err
}

func (l *logFile) close() error {
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	if err != nil {
		return fmt.Errorf("%s log: %w", l.name, err)
	}
	return nil
}

// flock takes or refuses a lock at once. The lock goes with the open file.
func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// isLocked reports whether another holds the lock. A file system without
// locks refuses with another error, and is written to all the same.
func isLocked(err error) bool { return errors.Is(err, unix.EWOULDBLOCK) }

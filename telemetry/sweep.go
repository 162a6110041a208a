package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sluice/telemetry/segment"
)

// sweepEvery is how often old files are looked for, beside after a rotation.
const sweepEvery = time.Minute

func (l *logFile) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := l.sweepOnce(ctx, time.Now()); err != nil && ctx.Err() == nil {
			l.log.Warn("old files of the "+l.name+" log cannot be tidied", KeyError, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-l.rotated:
		}
	}
}

// rotated is a rotated file.
type rotated struct {
	path       string
	at         time.Time // when it was rotated
	size       int64     // with its index
	compressed bool
}

// sweepOnce compresses the rotated files, then removes those that are too old
// or, from the oldest, too many. Another process may be doing the same: a
// file that is gone is not an error.
func (l *logFile) sweepOnce(ctx context.Context, now time.Time) error {
	segments, err := l.segments()
	if err != nil {
		return err
	}
	var errs []error
	for i := range segments {
		s := &segments[i]
		if s.compressed || now.Sub(s.at) > l.keep {
			continue
		}
		if err := compress(ctx, s); err != nil {
			errs = append(errs, err)
		}
	}
	total := int64(0)
	if info, err := os.Stat(l.path); err == nil {
		total = info.Size()
	}
	for _, s := range slices.Backward(segments) { // newest first: they are kept
		total += s.size
		if now.Sub(s.at) <= l.keep && total <= l.maxSize {
			continue
		}
		// The index goes first: one without its file would stay for ever.
		for _, path := range []string{s.path + segment.IndexExt, s.path} {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// segments lists the rotated files, oldest first.
func (l *logFile) segments() ([]rotated, error) {
	dir := filepath.Dir(l.path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []rotated
	for _, e := range entries {
		t, compressed, ok := segment.ParseName(l.path, e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // gone meanwhile
		}
		found = append(found, rotated{filepath.Join(dir, e.Name()), t, info.Size() + sizeOf(filepath.Join(dir, e.Name()+segment.IndexExt)), compressed})
	}
	slices.SortFunc(found, func(a, b rotated) int { return a.at.Compare(b.at) })
	return found, nil
}

// compress replaces the segment by a compressed one and updates s. It leaves
// it alone while a writer still has it open, or another process compresses it.
func compress(ctx context.Context, s *rotated) (err error) {
	src, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // read only, and unlocks it
	if err := flock(src, unix.LOCK_EX); isLocked(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("lock %s: %w", s.path, err)
	}
	if same, err := isFileAt(src, s.path); err != nil || !same {
		return err // compressed by another process before the lock was ours
	}

	to := s.path + segment.Compressed
	part := to + ".part" // of who holds the lock; one left by a crash is overwritten
	dst, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = dst.Close()
			_ = os.Remove(part)
			_ = os.Remove(part + segment.IndexExt)
		}
	}()
	index, err := segment.Write(dst, untilDone{ctx, src})
	if err != nil {
		return fmt.Errorf("compress %s: %w", s.path, err)
	}
	if err = dst.Sync(); err != nil {
		return fmt.Errorf("compress %s: %w", s.path, err)
	}
	info, err := dst.Stat()
	if err != nil {
		return err
	}
	// The index before its file, so that it is there when the file is found. Without
	// one, a search only takes longer.
	if err = os.WriteFile(part+segment.IndexExt, index, 0o640); err != nil {
		return err
	}
	if err = errors.Join(os.Rename(part+segment.IndexExt, to+segment.IndexExt), dst.Close(), os.Rename(part, to)); err != nil {
		return err
	}
	if err := os.Remove(s.path); err != nil {
		return err // the next sweep compresses it again
	}
	s.path, s.size, s.compressed = to, info.Size()+int64(len(index)), true
	return nil
}

// isFileAt reports whether path still leads to f.
func isFileAt(f *os.File, path string) (bool, error) {
	opened, err := f.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(opened, now), err
}

// untilDone reads from r until ctx is done.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}

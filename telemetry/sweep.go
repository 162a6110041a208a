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
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// sweepEvery is how often old files are looked for, beside after a rotation.
const sweepEvery = time.Minute

// segmentTime is the part of a rotated file's name that says when it was
// rotated, in UTC; it sorts as text.
const segmentTime = "20060102T150405.000"

const compressedExt = ".zst"

// segmentName returns the name that path is given when rotated at t.
func segmentName(path string, t time.Time) string {
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + "-" + t.UTC().Format(segmentTime) + ext
}

// parseSegment reports when the file of that name was rotated, and whether it
// is compressed. It knows only names that segmentName makes, so that nothing
// else in the directory is ever touched.
func parseSegment(path, name string) (t time.Time, compressed, ok bool) {
	base := filepath.Base(path)
	ext := filepath.Ext(base)
	name, compressed = strings.CutSuffix(name, compressedExt)
	name, ok = strings.CutPrefix(name, strings.TrimSuffix(base, ext)+"-")
	if !ok {
		return time.Time{}, false, false
	}
	name, ok = strings.CutSuffix(name, ext)
	if !ok || len(name) != len(segmentTime) {
		return time.Time{}, false, false
	}
	t, err := time.Parse(segmentTime, name)
	return t, compressed, err == nil
}

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

// segment is a rotated file.
type segment struct {
	path       string
	rotated    time.Time
	size       int64
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
		if s.compressed || now.Sub(s.rotated) > l.keep {
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
		if now.Sub(s.rotated) <= l.keep && total <= l.maxSize {
			continue
		}
		if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// segments lists the rotated files, oldest first.
func (l *logFile) segments() ([]segment, error) {
	dir := filepath.Dir(l.path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []segment
	for _, e := range entries {
		t, compressed, ok := parseSegment(l.path, e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // gone meanwhile
		}
		found = append(found, segment{filepath.Join(dir, e.Name()), t, info.Size(), compressed})
	}
	slices.SortFunc(found, func(a, b segment) int { return a.rotated.Compare(b.rotated) })
	return found, nil
}

// compress replaces the segment by a compressed one and updates s. It leaves
// it alone while a writer still has it open, or another process compresses it.
func compress(ctx context.Context, s *segment) (err error) {
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

	to := s.path + compressedExt
	part := to + ".part" // of who holds the lock; one left by a crash is overwritten
	dst, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = dst.Close()
			_ = os.Remove(part)
		}
	}()
	// One goroutine and the fastest level: access logs shrink to a tenth even
	// so, and requests need the processor more.
	z, err := zstd.NewWriter(dst, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	if _, err = io.Copy(z, untilDone{ctx, src}); err != nil {
		_ = z.Close()
		return fmt.Errorf("compress %s: %w", s.path, err)
	}
	if err = errors.Join(z.Close(), dst.Sync()); err != nil {
		return fmt.Errorf("compress %s: %w", s.path, err)
	}
	info, err := dst.Stat()
	if err != nil {
		return err
	}
	if err = errors.Join(dst.Close(), os.Rename(part, to)); err != nil {
		return err
	}
	if err := os.Remove(s.path); err != nil {
		return err // the next sweep compresses it again
	}
	s.path, s.size, s.compressed = to, info.Size(), true
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

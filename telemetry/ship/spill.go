package ship

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// spillSegment is how large a file of lines on disk becomes.
const spillSegment = 4 << 20

const spillExt = ".lines"

// spill keeps lines in files, oldest first: DIR/OWNER/NUMBER.lines, each of whole
// lines. OWNER is this process's directory; its file lock is held by who uses it.
type spill struct {
	root  string
	dir   string
	lock  *os.File
	limit int64

	mu    sync.Mutex
	files []spilled // oldest first; the last one may be open for appending
	open  *os.File
	bytes int64 // not delivered yet
	next  int   // number of the next file
}

type spilled struct {
	path string
	size int64
	read int64 // delivered
}

func openSpill(root string, limit int64) (*spill, error) {
	s := &spill{root: root, limit: limit}
	s.dir = filepath.Join(root, fmt.Sprintf("%d-%d", time.Now().UnixMilli(), os.Getpid()))
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return nil, err
	}
	var err error
	if s.lock, err = lockDir(s.dir); err != nil {
		return nil, fmt.Errorf("lock %s: %w", s.dir, err)
	}
	return s, s.adopt()
}

// lockDir takes the lock of a directory of lines, or fails when another has it.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// adopt takes over what processes that have ended left.
func (s *spill) adopt() error {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		dir := filepath.Join(s.root, e.Name())
		if !e.IsDir() || dir == s.dir || isYoung(e.Name()) {
			continue
		}
		lock, err := lockDir(dir)
		if err != nil {
			continue // its owner lives
		}
		if err := s.take(dir); err != nil {
			errs = append(errs, err)
		} else {
			errs = append(errs, os.RemoveAll(dir))
		}
		_ = lock.Close()
	}
	return errors.Join(errs...)
}

// isYoung reports whether a directory was made just now, so that its owner may not
// have locked it yet.
func isYoung(name string) bool {
	made, _, _ := strings.Cut(name, "-")
	ms, err := strconv.ParseInt(made, 10, 64)
	return err == nil && time.Since(time.UnixMilli(ms)).Abs() < time.Second
}

// take moves the files of dir, oldest first, behind our own.
func (s *spill) take(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*"+spillExt))
	if err != nil {
		return err
	}
	slices.SortFunc(names, func(a, b string) int { return number(a) - number(b) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.closeOpenLocked(); err != nil {
		return err
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		to := s.pathLocked()
		if err := os.Rename(name, to); err != nil {
			return err
		}
		s.files = append(s.files, spilled{path: to, size: info.Size()})
		s.bytes += info.Size()
	}
	return nil
}

func number(path string) int {
	n, _ := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), spillExt))
	return n
}

func (s *spill) pathLocked() string {
	s.next++
	return filepath.Join(s.dir, strconv.Itoa(s.next)+spillExt)
}

func (s *spill) size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

func (s *spill) full() bool { return s.size() >= s.limit }

// append writes whole lines. After an error nothing of them is in the files.
func (s *spill) append(lines []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.files); s.open != nil && s.files[n-1].size >= spillSegment {
		if err := s.closeOpenLocked(); err != nil {
			return err
		}
	}
	if s.open == nil {
		path := s.pathLocked()
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
		if err != nil {
			return err
		}
		s.open = f
		s.files = append(s.files, spilled{path: path})
	}
	last := &s.files[len(s.files)-1]
	if _, err := s.open.WriteAt(lines, last.size); err != nil {
		return errors.Join(err, s.open.Truncate(last.size))
	}
	last.size += int64(len(lines))
	s.bytes += int64(len(lines))
	return nil
}

func (s *spill) closeOpenLocked() error {
	if s.open == nil {
		return nil
	}
	err := s.open.Close()
	s.open = nil
	return err
}

// head returns the oldest lines, about n bytes, and what to call when they were
// delivered.
func (s *spill) head(n int) (lines []byte, done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.files) > 0 && s.files[0].read >= s.files[0].size && (len(s.files) > 1 || s.open == nil) {
		if err := os.Remove(s.files[0].path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
		s.files = s.files[1:]
	}
	if len(s.files) == 0 || s.files[0].read >= s.files[0].size {
		return nil, nil, nil
	}
	first := &s.files[0]
	lines, err = readLines(first, n)
	if err != nil || len(lines) == 0 {
		// A file that cannot be read must not hold up the others for ever.
		s.bytes -= first.size - first.read
		first.read = first.size
		return nil, nil, errors.Join(err, fmt.Errorf("%s: its lines are lost", first.path))
	}
	path, got := first.path, int64(len(lines))
	return lines, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.files) > 0 && s.files[0].path == path {
			s.files[0].read += got
			s.bytes -= got
		}
	}, nil
}

// readLines reads about n bytes of whole lines; more when one line is longer.
func readLines(f *spilled, n int) ([]byte, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	for ; ; n *= 2 {
		want := min(int64(n), f.size-f.read)
		b := make([]byte, want)
		if _, err := file.ReadAt(b, f.read); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if end := bytes.LastIndexByte(b, '\n') + 1; end > 0 {
			return b[:end], nil
		}
		if want == f.size-f.read {
			return nil, errors.New("a line without an end")
		}
	}
}

// close lets go of the directory, which goes when nothing is left in it. What was
// delivered of a file is cut off, so that the next process does not send it again.
func (s *spill) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	errs := []error{s.closeOpenLocked()}
	left := false
	for _, f := range s.files {
		switch {
		case f.read >= f.size:
			errs = append(errs, os.Remove(f.path))
		case f.read > 0:
			errs = append(errs, cutHead(f))
			left = true
		default:
			left = true
		}
	}
	if !left {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

func cutHead(f spilled) error {
	b, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	part := f.path + ".part"
	if err := os.WriteFile(part, b[f.read:], 0o640); err != nil {
		return err
	}
	return os.Rename(part, f.path)
}

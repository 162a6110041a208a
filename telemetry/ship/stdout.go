package ship

import (
	"context"
	"os"

	"golang.org/x/sys/unix"
)

// stdout writes to standard output. A write that hangs, because nobody reads, is
// waited for by a goroutine of its own, so that this process can end.
type stdout struct {
	f    *os.File
	busy chan error // of the write under way; nil: none
}

// NewStdout returns a writer to standard output.
func NewStdout() (Protocol, error) {
	// A descriptor of its own: writing to 1 with no reader ends a Go process.
	fd, err := unix.FcntlInt(os.Stdout.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	return &stdout{f: os.NewFile(uintptr(fd), "stdout")}, nil
}

func (s *stdout) Deliver(ctx context.Context, lines []byte) error {
	if s.busy == nil {
		busy := make(chan error, 1)
		s.busy = busy
		go func() { // ends with the write
			_, err := s.f.Write(lines)
			busy <- err
		}()
	}
	select {
	case err := <-s.busy: // also of the last call, which was of the same lines
		s.busy = nil
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *stdout) Close() error { return s.f.Close() }

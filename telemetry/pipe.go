package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// pipe is an output that is neither rotated nor reopened: standard output.
type pipe struct {
	w     io.WriteCloser
	chunk int // most bytes of one write
	torn  bool
}

// openPipe returns an output to where f leads, which stays open. It has a
// descriptor of its own: a write to descriptor 1 or 2 whose reader has gone ends
// a Go process by SIGPIPE, and one to any other is an error.
func openPipe(f *os.File, maxLine int) (*pipe, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("duplicate %s: %w", f.Name(), err)
	}
	s := &pipe{w: os.NewFile(uintptr(fd), f.Name()), chunk: max(batchSize, maxLine)}
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		// Two generations share the pipe during an upgrade: only writes of at
		// most PIPE_BUF are never mixed.
		s.chunk = maxLine
	}
	return s, nil
}

func (s *pipe) write(lines []byte) (int, error) {
	return writeLines(s.w, lines, s.chunk, &s.torn)
}

func (s *pipe) idle() error           { return nil }
func (s *pipe) reopen() error         { return nil }
func (s *pipe) sweep(context.Context) {}
func (s *pipe) close() error          { return s.w.Close() }

// writeLines writes whole lines in pieces of at most chunk bytes that end where
// a line ends; chunk is at least MaxLine. It returns how many bytes were
// written up to the end of a line. *torn is set when a line was cut by an
// error, and the next call ends that line first, so that it alone is spoilt.
func writeLines(w io.Writer, lines []byte, chunk int, torn *bool) (int, error) {
	if *torn {
		if _, err := w.Write([]byte{'\n'}); err != nil {
			return 0, err
		}
		*torn = false
	}
	done := 0
	for done < len(lines) {
		piece := lines[done:]
		if len(piece) > chunk {
			piece = piece[:bytes.LastIndexByte(piece[:chunk], '\n')+1]
		}
		n, err := w.Write(piece)
		if err != nil {
			whole := bytes.LastIndexByte(piece[:n], '\n') + 1
			*torn = n > whole
			return done + whole, err
		}
		done += len(piece)
	}
	return done, nil
}

package telemetry

import (
	"bytes"
	"context"
	"io"
	"os"
)

// stream is an output that is neither rotated nor reopened: standard output.
// It is not closed, because it is the process's.
type stream struct {
	w     io.Writer
	chunk int // most bytes of one write
	torn  bool
}

func newStream(f *os.File) *stream {
	s := &stream{w: f, chunk: batchSize}
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		// Two generations share the pipe during an upgrade: only writes of at
		// most PIPE_BUF are never mixed.
		s.chunk = MaxLine
	}
	return s
}

func (s *stream) write(lines []byte) (int, error) {
	return writeLines(s.w, lines, s.chunk, &s.torn)
}

func (s *stream) idle() error           { return nil }
func (s *stream) reopen() error         { return nil }
func (s *stream) sweep(context.Context) {}
func (s *stream) close() error          { return nil }

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

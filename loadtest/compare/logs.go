package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// collectLogs counts the lines of the access logs and empties them, so that a
// run needs little disk and no log is rotated in the middle of a slice.
func (c *comparison) collectLogs() error {
	time.Sleep(1200 * time.Millisecond) // longer than anyone buffers
	for _, e := range c.entries {
		if !e.logs {
			continue
		}
		lines, err := countLines(e.site.Log)
		if err != nil {
			return err
		}
		e.logged += lines
		if err := os.Truncate(e.site.Log, 0); err != nil {
			return err
		}
	}
	return nil
}

// judgeLogs notes who answered requests without writing their lines.
func (c *comparison) judgeLogs() {
	for _, e := range c.entries {
		if e.logs && float64(e.logged) < 0.999*float64(e.answered) {
			e.smallRow.Notes = append(e.smallRow.Notes, fmt.Sprintf("the access log has %d lines for %d requests", e.logged, e.answered))
		}
	}
}

// countLines counts the lines of a file.
func countLines(path string) (n int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, 1<<20)
	for {
		chunk, err := r.ReadSlice('\n')
		switch {
		case err == nil:
			n++
		case errors.Is(err, io.EOF):
			return n, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return n, fmt.Errorf("%w after %d bytes", err, len(chunk))
		}
	}
}

package segment

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// followEvery is how often a file is looked at for more.
const followEvery = 200 * time.Millisecond

// Follow calls emit with the lines that match and are written from now on, also
// to the files that come after this one, until it returns false or ctx is done.
func Follow(ctx context.Context, path string, q Query, quote func(string) string, emit func(line []byte) bool) error {
	m, err := compile(&q, quote)
	if err != nil {
		return err
	}
	var f *os.File
	defer func() {
		if f != nil {
			f.Close()
		}
	}()
	begin := true // the first file is followed from its end, later ones from their beginning
	var pend []byte
	buf := make([]byte, 64<<10)
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		if f == nil {
			switch f, err = os.Open(path); {
			case errors.Is(err, fs.ErrNotExist):
				f = nil
			case err != nil:
				return err
			case begin:
				if _, err := f.Seek(0, io.SeekEnd); err != nil {
					return err
				}
			}
			begin = false
		}
		moved := f == nil || isMoved(f, path) // before the last read, so that nothing is missed
		for f != nil {
			n, err := f.Read(buf)
			pend = append(pend, buf[:n]...)
			for {
				end := bytes.IndexByte(pend, '\n')
				if end < 0 {
					break
				}
				if line := pend[:end]; m.matches(line) && !emit(line) {
					return nil
				}
				pend = pend[end+1:]
			}
			if n == 0 || err != nil {
				break
			}
		}
		if moved && f != nil {
			f.Close()
			f, pend = nil, nil
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func isMoved(f *os.File, path string) bool {
	was, err := f.Stat()
	if err != nil {
		return true
	}
	now, err := os.Stat(path)
	return err == nil && !os.SameFile(was, now)
}

package segment

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// Write compresses the lines of src into dst, and returns the index of what it wrote.
func Write(dst io.Writer, src io.Reader) (encodedIndex []byte, err error) {
	// One goroutine and the fastest level: access logs shrink to a tenth even
	// so, and requests need the processor more.
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	w := writer{dst: dst, z: z}
	buf := make([]byte, 0, BlockSize+64<<10)
	for {
		n, err := io.ReadFull(src, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return nil, err
		}
		for len(buf) >= BlockSize || last && len(buf) > 0 {
			end := len(buf)
			if end > BlockSize || !last {
				end = bytes.LastIndexByte(buf[:min(end, BlockSize)], '\n') + 1
			}
			if end == 0 { // a line longer than a block
				if end = bytes.IndexByte(buf, '\n') + 1; end == 0 {
					if !last {
						break
					}
					end = len(buf)
				}
			}
			if err := w.block(buf[:end]); err != nil {
				return nil, err
			}
			buf = buf[:copy(buf, buf[end:])]
		}
		if last {
			return w.x.encode(), nil
		}
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
	}
}

type writer struct {
	dst  io.Writer
	z    *zstd.Encoder
	x    index
	at   int64
	out  []byte
	keys []uint64
}

func (w *writer) block(lines []byte) error {
	if len(w.x.blocks) == 0 {
		w.x.key = textKey(lines)
	}
	k := block{offset: w.at, rawOffset: w.x.raw, rawSize: int64(len(lines)), minTime: math.MaxInt64, maxTime: math.MinInt64}
	w.keys = w.keys[:0]
	for line := range bytes.Lines(lines) {
		ms, ok := Time(line)
		if !ok { // may be of any time
			k.minTime, k.maxTime = math.MinInt64, math.MaxInt64
		}
		k.minTime, k.maxTime = min(k.minTime, ms), max(k.maxTime, ms)
		w.keys = keysOf(w.keys, line)
	}
	slices.Sort(w.keys)
	w.keys = slices.Compact(w.keys)
	k.filter = newFilter(w.keys)
	w.out = w.z.EncodeAll(lines, w.out[:0])
	if _, err := w.dst.Write(w.out); err != nil {
		return err
	}
	k.size = int64(len(w.out))
	w.at += k.size
	w.x.raw += k.rawSize
	w.x.blocks = append(w.x.blocks, k)
	return nil
}

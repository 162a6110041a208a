package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Result says how a search went.
type Result struct {
	Next    string `json:"next,omitempty"` // cursor of what is left; empty: nothing is
	Lines   int    `json:"lines"`
	Files   int    `json:"files"`   // that were opened
	Blocks  int    `json:"blocks"`  // that were read
	Skipped int    `json:"skipped"` // that the index ruled out
	Bytes   int64  `json:"bytes"`   // of text that were looked through
}

// ErrGone says that a cursor's file has been removed by age.
var ErrGone = errors.New("the page is gone: its file has been removed")

// Search calls emit with the lines of the log at path that match, newest first, until
// it returns false, the limit is reached or ctx is done. A line is valid only during
// the call. Quote writes a value as the log's lines have it within quotes.
func Search(ctx context.Context, path string, q Query, quote func(string) string, emit func(line []byte) bool) (Result, error) {
	m, err := compile(&q, quote)
	if err != nil {
		return Result{}, err
	}
	s := search{matcher: m, ctx: ctx, emit: emit, limit: q.Limit, before: 1 << 62}
	if s.limit <= 0 {
		s.limit = 100
	}
	if q.After != "" {
		if s.key, s.before, err = parseCursor(q.After); err != nil {
			return Result{}, err
		}
		s.seeking = true
	}
	err = s.run(path)
	return s.Result, err
}

type search struct {
	*matcher
	Result
	ctx   context.Context
	emit  func([]byte) bool
	limit int
	done  bool

	seeking bool   // until the file whose text has key
	key     uint64 // of the text that is searched
	before  int64  // only lines that begin before this offset
	hits    []hit
	z       *zstd.Decoder
	frame   []byte
	text    []byte
}

// hit is a line of a piece of text.
type hit struct{ from, to int }

func (s *search) run(path string) error {
	files, err := list(path)
	if err != nil {
		return err
	}
	defer func() {
		if s.z != nil {
			s.z.Close()
		}
	}()
	var current os.FileInfo
	for _, f := range files {
		if !f.rotated.IsZero() && f.rotated.UnixMilli()+1000 < s.since {
			s.seeking = false // the page was of a time that is not asked for any more
			break             // what was written before has an earlier time
		}
		o, err := f.open()
		if err != nil {
			return err
		}
		if o == nil {
			continue
		}
		info, err := o.Stat()
		switch {
		case err == nil && f.rotated.IsZero():
			current = info
			if !info.Mode().IsRegular() {
				err = fmt.Errorf("%s is no file that can be searched", path)
			}
		case err == nil && current != nil && os.SameFile(current, info):
			o.Close() // renamed while we looked
			continue
		}
		if err == nil {
			err = s.file(o, info.Size())
		}
		o.Close()
		if err != nil || s.done {
			return err
		}
	}
	if s.seeking {
		return ErrGone
	}
	return nil
}

// file searches one file.
func (s *search) file(o *opened, size int64) error {
	key, err := o.key()
	if err != nil || size == 0 {
		return err
	}
	if s.seeking {
		if key != s.key {
			return nil
		}
		s.seeking = false
	}
	s.key = key
	s.Files++
	switch {
	case !o.compressed:
		err = s.plain(o, size)
	case o.index != nil:
		err = s.blocks(o)
	default:
		err = s.whole(o)
	}
	s.before = 1 << 62
	return err
}

// key returns the key of the file's text.
func (o *opened) key() (uint64, error) {
	if o.index != nil {
		return o.index.key, nil
	}
	r := io.Reader(io.NewSectionReader(o, 0, 1<<62))
	if o.compressed {
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return 0, err
		}
		defer z.Close()
		r = z
	}
	var head []byte
	for len(head) < 1<<20 && bytes.IndexByte(head, '\n') < 0 {
		piece := make([]byte, 8<<10)
		n, err := r.Read(piece)
		head = append(head, piece[:n]...)
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return 0, err
		}
	}
	return textKey(head), nil
}

// pieceSize is how much of a plain file is read at once.
const pieceSize = 1 << 20

// plain searches a text from its end.
func (s *search) plain(o *opened, size int64) error {
	end := min(size, s.before)
	want := int64(pieceSize)
	for end > 0 && !s.done {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		start := max(0, end-want)
		s.text = slices.Grow(s.text[:0], int(end-start))[:end-start]
		if _, err := o.ReadAt(s.text, start); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		text := s.text
		if start > 0 { // the first line may have begun before
			n := bytes.IndexByte(text, '\n') + 1
			if n == 0 || n == len(text) {
				want *= 2 // a line longer than a piece
				continue
			}
			text = text[n:]
			start += int64(n)
		}
		s.Blocks++
		s.lines(text, start)
		end, want = start, pieceSize
	}
	return nil
}

// blocks searches a compressed text by its index, from its end.
func (s *search) blocks(o *opened) error {
	for _, b := range slices.Backward(o.index.blocks) {
		if s.done {
			return nil
		}
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if b.rawOffset >= s.before {
			continue
		}
		if !s.mayHold(&b) {
			s.Skipped++
			continue
		}
		if err := s.decoder(); err != nil {
			return err
		}
		s.frame = slices.Grow(s.frame[:0], int(b.size))[:b.size]
		if _, err := o.ReadAt(s.frame, b.offset); err != nil {
			return fmt.Errorf("read a block of %s: %w", o.Name(), err)
		}
		var err error
		if s.text, err = s.z.DecodeAll(s.frame, s.text[:0]); err != nil {
			return fmt.Errorf("decompress a block of %s: %w", o.Name(), err)
		}
		s.Blocks++
		s.lines(s.text, b.rawOffset)
	}
	return nil
}

func (s *search) decoder() (err error) {
	if s.z == nil {
		s.z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30))
	}
	return err
}

// whole searches a compressed text without an index: from its beginning, keeping
// the last lines that match.
func (s *search) whole(o *opened) error {
	z, err := zstd.NewReader(io.NewSectionReader(o, 0, 1<<62), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer z.Close()
	type kept struct {
		line []byte
		at   int64
	}
	var last []kept
	buf, offset := make([]byte, 0, 2*pieceSize), int64(0)
	for final := false; !final; {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, cap(buf))
		}
		n, err := io.ReadFull(z, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if final = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); err != nil && !final {
			return fmt.Errorf("decompress %s: %w", o.Name(), err)
		}
		end := bytes.LastIndexByte(buf, '\n') + 1
		if final {
			end = len(buf)
		}
		s.Blocks++
		s.Bytes += int64(end)
		for _, h := range s.find(buf[:end]) {
			if at := offset + int64(h.from); at < s.before {
				last = append(last, kept{bytes.Clone(buf[h.from:h.to]), at})
			}
		}
		if more := len(last) - 2*s.limit; more > 0 {
			last = slices.Delete(last, 0, len(last)-s.limit)
		}
		offset += int64(end)
		buf = buf[:copy(buf, buf[end:])]
	}
	for _, k := range slices.Backward(last) {
		if s.give(k.line, k.at); s.done {
			break
		}
	}
	return nil
}

// lines gives the lines of a piece of text that match, from its end.
func (s *search) lines(text []byte, offset int64) {
	s.Bytes += int64(len(text))
	for _, h := range slices.Backward(s.find(text)) {
		if at := offset + int64(h.from); at < s.before {
			if s.give(text[h.from:h.to], at); s.done {
				return
			}
		}
	}
}

// find returns the lines of text that match. Where the query has a text that lines
// must hold, only those are looked at that do.
func (s *search) find(text []byte) []hit {
	s.hits = s.hits[:0]
	for at := 0; at < len(text); {
		from := at
		if len(s.needles) > 0 {
			n := bytes.Index(text[at:], s.needles[0])
			if n < 0 {
				break
			}
			from = at + bytes.LastIndexByte(text[at:at+n], '\n') + 1
		}
		to := len(text)
		if n := bytes.IndexByte(text[from:], '\n'); n >= 0 {
			to = from + n
		}
		if to > from && s.matches(text[from:to]) {
			s.hits = append(s.hits, hit{from, to})
		}
		at = to + 1
	}
	return s.hits
}

func (s *search) give(line []byte, at int64) {
	s.Lines++
	if !s.emit(line) || s.Lines >= s.limit {
		s.done = true
		s.Next = fmt.Sprintf("%x:%x", s.key, at)
	}
}

func parseCursor(c string) (key uint64, before int64, err error) {
	k, at, ok := strings.Cut(c, ":")
	key, err = strconv.ParseUint(k, 16, 64)
	if err == nil && ok {
		before, err = strconv.ParseInt(at, 16, 64)
	}
	if err != nil || !ok {
		return 0, 0, fmt.Errorf("%q is no cursor of a search", c)
	}
	return key, before, nil
}

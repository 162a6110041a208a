package segment

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// nameTime is the part of a rotated file's name that says when it was rotated, in
// UTC; it sorts as text.
const nameTime = "20060102T150405.000"

// Name returns the name that path is given when rotated at t.
func Name(path string, t time.Time) string {
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + "-" + t.UTC().Format(nameTime) + ext
}

// ParseName reports when the file of that name was rotated, and whether it
// is compressed. It knows only names that Name makes, with [Compressed] behind them
// or not, so that nothing else in the directory is ever touched.
func ParseName(path, name string) (t time.Time, compressed, ok bool) {
	base := filepath.Base(path)
	ext := filepath.Ext(base)
	name, compressed = strings.CutSuffix(name, Compressed)
	name, ok = strings.CutPrefix(name, strings.TrimSuffix(base, ext)+"-")
	if !ok {
		return time.Time{}, false, false
	}
	name, ok = strings.CutSuffix(name, ext)
	if !ok || len(name) != len(nameTime) {
		return time.Time{}, false, false
	}
	t, err := time.Parse(nameTime, name)
	return t, compressed, err == nil
}

// file is a part of a log: the current file, or a rotated one.
type file struct {
	path    string    // of the text; with Compressed behind it when it is compressed
	rotated time.Time // zero: the current one
}

// list returns the files of a log, the current one first and then the rotated ones
// from the newest.
func list(path string) ([]file, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	var files []file
	for _, e := range entries {
		if t, _, ok := ParseName(path, e.Name()); ok {
			files = append(files, file{filepath.Join(dir, strings.TrimSuffix(e.Name(), Compressed)), t})
		}
	}
	slices.SortFunc(files, func(a, b file) int { return b.rotated.Compare(a.rotated) })
	files = slices.Compact(files) // text and compressed text, in the moment between
	return append([]file{{path: path}}, files...), nil
}

// opened is a file that is being searched.
type opened struct {
	*os.File
	compressed bool
	index      *index // nil: none
}

// open opens the text, or what it was compressed to, perhaps meanwhile. Both being
// gone is no error: it was removed by age.
func (f file) open() (*opened, error) {
	text, err := os.Open(f.path)
	if err == nil {
		return &opened{File: text}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if f.rotated.IsZero() {
		return nil, nil //nolint:nilnil // nothing has been written yet
	}
	z, err := os.Open(f.path + Compressed)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // removed by age
	} else if err != nil {
		return nil, err
	}
	o := &opened{File: z, compressed: true}
	if b, err := os.ReadFile(f.path + Compressed + IndexExt); err == nil {
		if o.index, err = decodeIndex(b); err != nil {
			o.index = nil
		}
	}
	return o, nil
}

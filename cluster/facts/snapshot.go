package facts

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A snapshot file is a header (magic, clock), the entries, and the CRC-32C of
// all before it.
const (
	magic      = "slcfact1"
	headerSize = len(magic) + 8
	maxFile    = 1 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errDamaged = errors.New("facts: the snapshot is damaged")

// Save writes the snapshot file when something has changed since it was last
// written. The file is replaced in one step and is on disk when Save returns. A
// frozen store leaves the file to the process that keeps the facts.
func (s *Store) Save() error {
	if s.o.Path == "" {
		return nil
	}
	s.mu.Lock()
	if !s.dirty || s.frozen {
		s.mu.Unlock()
		return nil
	}
	s.dirty = false
	s.mu.Unlock()
	if err := replace(s.o.Path, s.Encode()); err != nil {
		s.mu.Lock()
		s.dirty = true
		s.mu.Unlock()
		return fmt.Errorf("save facts: %w", err)
	}
	return nil
}

// Encode returns the bytes of a snapshot file.
func (s *Store) Encode() []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b := append(make([]byte, 0, headerSize+4+128*s.total), magic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.clock))
	for _, k := range s.kinds {
		for _, r := range k {
			b = r.Append(b)
		}
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decode checks a snapshot file and returns what is in it.
func decode(b []byte) (clock hlc, entries []*Entry, err error) {
	if len(b) < headerSize+4 || string(b[:len(magic)]) != magic {
		return 0, nil, errDamaged
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return 0, nil, errDamaged
	}
	if entries, err = ParseEntries(body[headerSize:]); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return hlc(binary.LittleEndian.Uint64(body[len(magic):])), entries, nil
}

// Restore merges what [Store.Encode] of this node's predecessor returned.
func (s *Store) Restore(b []byte) error {
	clock, entries, err := decode(b)
	if err != nil {
		return err
	}
	s.mu.Lock()
	now := s.nowMS()
	if !(Stamp{Time: uint64(clock)}).ahead(now) {
		s.clock.observe(uint64(clock))
	}
	for _, e := range entries {
		if e.Stamp.ahead(now) {
			// The clock was put back since. Others would refuse the stamp, so the
			// fact is said again, from now.
			e.Stamp = Stamp{s.clock.next(now), s.o.Node}
		}
		var held *Entry
		if old := s.kinds[e.Kind][e.Key]; old != nil {
			held = old.Entry
		}
		if held == nil && (e.end() <= now || s.full(e.Kind, 2)) {
			continue
		}
		s.clock.observe(e.Stamp.Time)
		if j := join(held, e); j != held {
			s.put(j, now, false)
		}
	}
	s.mu.Unlock()
	s.tell()
	return nil
}

func (s *Store) load() error {
	b, err := readFile(s.o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load facts: %w", err)
	}
	if err := s.Restore(b); err != nil {
		aside := s.o.Path + ".bad"
		s.log.Error("facts not loaded, the file is set aside", "file", aside, "error", err)
		if err := os.Rename(s.o.Path, aside); err != nil {
			return fmt.Errorf("load facts: %w", err)
		}
	}
	s.dirty = false
	return nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	_, err = io.Copy(&b, io.LimitReader(f, maxFile))
	return b.Bytes(), err
}

// replace makes b the content of the file, or leaves the file as it is.
func replace(path string, b []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

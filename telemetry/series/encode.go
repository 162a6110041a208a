package series

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// version is the first byte of an encoded store.
const version = 1

var errStore = errors.New("series: malformed store")

// Encode returns everything that the store knows, for [Store.Restore] of the
// process that takes this one's place.
func (s *Store) Encode() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := binary.AppendVarint([]byte{version}, s.since)
	for k, l := range s.lines {
		b = append(b, byte(k.Kind))
		b = appendBytes(b, []byte(k.Name))
		for i := range l {
			n := 0
			l[i].each(i, 0, func(int64, []byte, *Point) { n++ })
			b = binary.AppendUvarint(b, uint64(n))
			l[i].each(i, 0, func(start int64, short []byte, open *Point) {
				if open != nil {
					short = open.Append(nil)
				}
				b = binary.AppendVarint(b, start)
				b = appendBytes(b, short)
			})
		}
	}
	return b
}

func appendBytes(b, text []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// Restore adds what a predecessor encoded. What it knew by then counts together
// with what this store does. On an error a part may have been taken.
func (s *Store) Restore(encoded []byte) error {
	r := reader{b: encoded}
	if v := r.byte(); v != version {
		return fmt.Errorf("series: version %d of a store, want %d", v, version)
	}
	since := r.varint()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(r.b) > 0 && !r.bad {
		k := Key{Kind: Kind(r.byte()), Name: string(r.bytes())}
		if k.Kind != Total && k.Kind != Route && k.Kind != Tenant || r.bad {
			return errStore
		}
		l := s.lineLocked(k)
		for i := range l {
			for n := r.uvarint(); n > 0 && !r.bad; n-- {
				start, short := r.varint(), r.bytes()
				if r.bad || start <= 0 {
					return errStore
				}
				if err := l[i].restore(i, start, short); err != nil {
					return err
				}
			}
		}
	}
	if r.bad {
		return errStore
	}
	if since > 0 {
		s.beginLocked(since)
	}
	return nil
}

// restore adds a slot that may be older than the open one.
func (r *ring) restore(level int, start int64, short []byte) error {
	l := levels[level]
	start -= start % l.step
	var p Point
	if err := p.Add(short); err != nil {
		return err
	}
	if start >= r.start {
		r.add(level, start, &p)
		return nil
	}
	if r.closed == nil {
		r.closed = make([]slot, l.slots)
	}
	at := &r.closed[int(start/l.step)%l.slots]
	switch {
	case at.short != nil && at.start > start, start <= r.start-l.step*int64(l.slots):
		return nil // older than the level reaches
	case at.short != nil && at.start == start:
		if err := p.Add(at.short); err != nil {
			return err
		}
	}
	*at = slot{start, p.Append(nil)}
	return nil
}

// reader takes an encoded store apart. After the first fault it is bad and
// returns zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) varint() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	text := r.b[:n]
	r.b = r.b[n:]
	return text
}

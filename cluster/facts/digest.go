package facts

import (
	"encoding/binary"
	"errors"
)

const (
	rangeBits = 10

	// Ranges is how many hashes a digest has.
	Ranges = 1 << rangeBits
)

// Digest holds one hash for each range of facts: the exclusive or of the hashes
// of its entries. Equal facts give equal digests.
type Digest [Ranges]uint64

// DigestSize is the encoded length of a digest, in bytes.
const DigestSize = Ranges * 8

// Root is a digest of the digest.
func (s *Store) Root() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.root
}

// Digest returns a copy.
func (s *Store) Digest() *Digest {
	s.mu.RLock()
	defer s.mu.RUnlock()
	d := s.digest
	return &d
}

// Append appends the hashes, eight bytes each, little-endian.
func (d *Digest) Append(b []byte) []byte {
	for _, h := range d {
		b = binary.LittleEndian.AppendUint64(b, h)
	}
	return b
}

var errDigest = errors.New("facts: malformed digest")

// ParseDigest reads what Append wrote, to the last byte.
func ParseDigest(b []byte) (*Digest, error) {
	if len(b) != DigestSize {
		return nil, errDigest
	}
	var d Digest
	for i := range d {
		d[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return &d, nil
}

// RangeSet is a set of ranges, a bit for each.
type RangeSet [Ranges / 8]byte

// Differ returns the ranges in which two digests differ, and how many they are.
func (d *Digest) Differ(other *Digest) (set RangeSet, n int) {
	for i := range d {
		if d[i] != other[i] {
			set[i/8] |= 1 << (i % 8)
			n++
		}
	}
	return set, n
}

// Has says whether the range is in the set.
func (r *RangeSet) Has(i uint16) bool { return r[i/8]&(1<<(i%8)) != 0 }

// In returns the entries of the given ranges, tombstones included.
func (s *Store) In(set *RangeSet) []*Entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []*Entry
	for _, k := range s.kinds {
		for _, r := range k {
			if set.Has(r.place) {
				all = append(all, r.Entry)
			}
		}
	}
	return all
}

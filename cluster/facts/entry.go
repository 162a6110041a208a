package facts

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Bounds of a fact, in bytes. The largest one fits a datagram with room to spare.
const (
	MaxKindLen  = 32
	MaxKeyLen   = 255
	MaxValueLen = 768
)

// Retention is how long a deleted or expired version is remembered at most.
const Retention = 24 * time.Hour

const (
	retentionMS = int64(Retention / time.Millisecond)
	never       = int64(math.MaxInt64)
)

// Entry is one version of a fact as nodes exchange it. It is immutable.
type Entry struct {
	Kind, Key string
	Value     []byte
	Stamp     Stamp
	Deleted   bool

	// expires is when the value ends, in Unix milliseconds. guard is the latest
	// such end of this version and of all that it replaced: until then an old
	// version may still be somewhere.
	expires, guard int64
}

// Expires returns when the fact ends; the zero time when it does not.
func (e *Entry) Expires() time.Time {
	if e.expires == never {
		return time.Time{}
	}
	return time.UnixMilli(e.expires)
}

func (e *Entry) live(nowMS int64) bool { return !e.Deleted && e.expires > nowMS }

// end is when the entry need not be remembered any more.
func (e *Entry) end() int64 {
	death := e.expires
	if e.Deleted {
		death = e.Stamp.ms()
	}
	if death == never {
		return never
	}
	return max(death, min(e.guard, death+retentionMS))
}

// compare orders versions of one fact. Stamps decide; the rest only makes the
// order total, should two versions ever carry one stamp.
func compare(a, b *Entry) int {
	if c := a.Stamp.Compare(b.Stamp); c != 0 {
		return c
	}
	if a.Deleted != b.Deleted {
		if a.Deleted {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(a.expires, b.expires), bytes.Compare(a.Value, b.Value))
}

// join merges two versions of one fact: the newer one, with the later guard. It
// returns a when b adds nothing.
func join(a, b *Entry) *Entry {
	if a == nil {
		return b
	}
	winner := a
	if compare(b, a) > 0 {
		winner = b
	}
	guard := max(a.guard, b.guard)
	if winner.guard == guard {
		return winner
	}
	j := *winner
	j.guard = guard
	return &j
}

const (
	flagDeleted  = 1
	flagNoExpiry = 2
	flagNoGuard  = 4
)

var errMalformed = errors.New("facts: malformed entry")

// Append appends the entry's bytes: flags, kind, key, stamp, expiry, guard,
// value; lengths and times are varints.
func (e *Entry) Append(b []byte) []byte {
	var flags byte
	if e.Deleted {
		flags |= flagDeleted
	}
	if e.expires == never {
		flags |= flagNoExpiry
	}
	if e.guard == never {
		flags |= flagNoGuard
	}
	b = append(b, flags, byte(len(e.Kind)))
	b = append(b, e.Kind...)
	b = append(b, byte(len(e.Key)))
	b = append(b, e.Key...)
	b = binary.LittleEndian.AppendUint64(b, e.Stamp.Time)
	b = binary.LittleEndian.AppendUint64(b, e.Stamp.Node)
	if flags&flagNoExpiry == 0 {
		b = binary.AppendUvarint(b, uint64(e.expires))
	}
	if flags&flagNoGuard == 0 {
		b = binary.AppendUvarint(b, uint64(e.guard))
	}
	b = binary.AppendUvarint(b, uint64(len(e.Value)))
	return append(b, e.Value...)
}

// ParseEntry reads what Append wrote and returns the rest. The entry shares no
// memory with b.
func ParseEntry(b []byte) (e *Entry, rest []byte, err error) {
	r := reader{b: b}
	flags := r.byte()
	e = &Entry{Deleted: flags&flagDeleted != 0}
	kind := r.bytes(int(r.byte()))
	key := r.bytes(int(r.byte()))
	e.Stamp = Stamp{r.uint64(), r.uint64()}
	e.expires, e.guard = never, never
	if flags&flagNoExpiry == 0 {
		e.expires = r.time()
	}
	if flags&flagNoGuard == 0 {
		e.guard = r.time()
	}
	n := r.uvarint()
	if n > MaxValueLen {
		r.bad = true
	}
	value := r.bytes(int(n))
	switch {
	case r.bad, flags&^(flagDeleted|flagNoExpiry|flagNoGuard) != 0,
		e.guard < e.expires && !e.Deleted, e.Deleted && len(value) > 0,
		len(kind) == 0 || len(kind) > MaxKindLen:
		return nil, nil, errMalformed
	}
	e.Kind, e.Key, e.Value = string(kind), string(key), bytes.Clone(value)
	return e, r.b, nil
}

// ParseEntries reads entries until b ends.
func ParseEntries(b []byte) ([]*Entry, error) {
	var all []*Entry
	for len(b) > 0 {
		e, rest, err := ParseEntry(b)
		if err != nil {
			return nil, err
		}
		all, b = append(all, e), rest
	}
	return all, nil
}

// hash is the entry's part of its range's digest.
func (e *Entry) hash() uint64 {
	var room [1280]byte
	return xxhash.Sum64(e.Append(room[:0]))
}

// place is the digest's range that the fact belongs to.
func place(kind, key string) uint16 {
	var d xxhash.Digest
	d.Reset()
	d.WriteString(kind)
	d.Write([]byte{0})
	d.WriteString(key)
	return uint16(d.Sum64() >> (64 - rangeBits))
}

// reader takes fields off a buffer; after the first that is missing, bad is set
// and everything reads as zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) bytes(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte {
	if v := r.bytes(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if v := r.bytes(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// time reads Unix milliseconds, of which 48 bits are possible and never means
// none.
func (r *reader) time() int64 {
	v := r.uvarint()
	if v >= 1<<48 {
		r.bad = true
		return 0
	}
	return int64(v)
}

// clip makes a private copy of the texts, which may be parts of something large.
func clip(kind, key string) (string, string) { return strings.Clone(kind), strings.Clone(key) }

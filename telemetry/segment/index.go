package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
)

// BlockSize is how many bytes of lines a block holds, about.
const BlockSize = 256 << 10

// Extensions of the two files of a segment.
const (
	Compressed = ".zst"
	IndexExt   = ".idx"
)

// block is what the index knows of a block.
type block struct {
	offset, size     int64 // of the frame in the compressed file
	rawOffset        int64 // of the lines in the text
	rawSize          int64
	minTime, maxTime int64 // Unix milliseconds
	filter           filter
}

// index is the table of a segment's blocks, oldest first.
type index struct {
	key    uint64 // of the text: see textKey
	raw    int64  // size of the text
	blocks []block
}

// textKey names a text by its first line, so that it can be told before and after
// it was renamed and compressed.
func textKey(text []byte) uint64 {
	line, _, _ := bytes.Cut(text, []byte{'\n'})
	return xxhash.Sum64(line)
}

// filter is a Bloom filter.
type filter []byte

const (
	bitsPerKey = 12
	probes     = 8
)

func newFilter(keys []uint64) filter {
	f := make(filter, (len(keys)*bitsPerKey+7)/8+1)
	for _, h := range keys {
		f.each(h, func(i uint64) bool { f[i/8] |= 1 << (i % 8); return true })
	}
	return f
}

func (f filter) each(h uint64, do func(uint64) bool) bool {
	n := uint64(len(f)) * 8
	a, b := h, h>>33|h<<31|1
	for range probes {
		if !do(a % n) {
			return false
		}
		a += b
	}
	return true
}

// has reports whether the key may be there; false is certain.
func (f filter) has(h uint64) bool {
	return len(f) == 0 || f.each(h, func(i uint64) bool { return f[i/8]&(1<<(i%8)) != 0 })
}

// Keys of a filter. A tenant or route is there together with each class of status that
// it had, because that is what people look for: one tenant's errors.
const (
	keyRequest = "r="
	keyTenant  = "t="
	keyRoute   = "o="
	keyStatus  = "s="
)

func hash2(kind string, value []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	d.WriteString(kind) //nolint:errcheck // it never fails
	d.Write(value)      //nolint:errcheck // it never fails
	return d.Sum64()
}

func hashClass(h uint64, class int) uint64 { return h ^ uint64(class)*0x9e3779b97f4a7c15 }

// keysOf appends the keys of a line.
func keysOf(keys []uint64, line []byte) []uint64 {
	status := Status(line)
	if id := Text(line, "request_id"); len(id) > 0 {
		keys = append(keys, hash2(keyRequest, id))
	}
	for _, k := range [...]struct{ kind, field string }{{keyTenant, "tenant"}, {keyRoute, "route"}} {
		if v := Text(line, k.field); len(v) > 0 {
			h := hash2(k.kind, v)
			keys = append(keys, h, hashClass(h, status/100))
		}
	}
	if status > 0 {
		keys = append(keys, hash2(keyStatus, strconv.AppendInt(nil, int64(status), 10)), hashClass(0, status/100))
	}
	return keys
}

// Text returns the inside of the JSON string that a line has as field, as it is
// written; nil when it has none.
func Text(line []byte, field string) []byte {
	at := find(line, field)
	if at < 0 || at >= len(line) || line[at] != '"' {
		return nil
	}
	rest := line[at+1:]
	for i := 0; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case '"':
			return rest[:i]
		}
	}
	return nil
}

// find returns where the value of a field begins, or -1. Within texts a quote is
// escaped, so that only a field of the line itself is found.
func find(line []byte, field string) int {
	var buf [40]byte
	needle := append(append(append(buf[:0], '"'), field...), '"', ':')
	for at := 0; ; {
		i := bytes.Index(line[at:], needle)
		if i < 0 {
			return -1
		}
		i += at
		if i > 0 && (line[i-1] == ',' || line[i-1] == '{') {
			return i + len(needle)
		}
		at = i + 1
	}
}

// Number returns the number that a line has as field; ok is false when it has none.
func Number(line []byte, field string) (n float64, ok bool) {
	at := find(line, field)
	if at < 0 {
		return 0, false
	}
	end := at
	for end < len(line) && line[end] != ',' && line[end] != '}' {
		end++
	}
	n, err := strconv.ParseFloat(string(line[at:end]), 64)
	return n, err == nil
}

// Status returns a line's HTTP status, or 0.
func Status(line []byte) int {
	at := find(line, "status")
	if at < 0 || at+3 > len(line) {
		return 0
	}
	n := 0
	for _, c := range line[at : at+3] {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// Time returns a line's time in Unix milliseconds; ok is false when it does not
// begin with one.
func Time(line []byte) (ms int64, ok bool) {
	const head = `{"time":"`
	const form = "2006-01-02T15:04:05.000Z"
	if len(line) < len(head)+len(form) || string(line[:len(head)]) != head {
		return 0, false
	}
	t := line[len(head) : len(head)+len(form)]
	var d [17]int // its digits
	n := 0
	for i := range form {
		switch c := form[i]; {
		case c >= '0' && c <= '9':
			if t[i] < '0' || t[i] > '9' {
				return 0, false
			}
			d[n] = int(t[i] - '0')
			n++
		case c != t[i]:
			return 0, false
		}
	}
	year, month, day := d[0]*1000+d[1]*100+d[2]*10+d[3], d[4]*10+d[5], d[6]*10+d[7]
	at := time.Date(year, time.Month(month), day, d[8]*10+d[9], d[10]*10+d[11], d[12]*10+d[13], 0, time.UTC)
	return at.Unix()*1000 + int64(d[14]*100+d[15]*10+d[16]), true
}

// The index file: magic, key, size of the text, number of blocks, the blocks, and a
// checksum of all that. Numbers are little-endian.
const indexMagic = "SLIX0001"

func (x *index) encode() []byte {
	b := []byte(indexMagic)
	b = binary.LittleEndian.AppendUint64(b, x.key)
	b = binary.LittleEndian.AppendUint64(b, uint64(x.raw))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(x.blocks)))
	for i := range x.blocks {
		k := &x.blocks[i]
		for _, n := range [...]int64{k.offset, k.size, k.rawOffset, k.rawSize, k.minTime, k.maxTime} {
			b = binary.LittleEndian.AppendUint64(b, uint64(n))
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(len(k.filter)))
		b = append(b, k.filter...)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

var errIndex = errors.New("the index is damaged")

func decodeIndex(b []byte) (*index, error) {
	const head = len(indexMagic) + 8 + 8 + 4
	if len(b) < head+4 || string(b[:len(indexMagic)]) != indexMagic {
		return nil, errIndex
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if crc32.ChecksumIEEE(body) != sum {
		return nil, errIndex
	}
	x := &index{
		key: binary.LittleEndian.Uint64(body[len(indexMagic):]),
		raw: int64(binary.LittleEndian.Uint64(body[len(indexMagic)+8:])),
	}
	count := binary.LittleEndian.Uint32(body[head-4:])
	body = body[head:]
	const least = 6*8 + 4
	if int64(count)*least > int64(len(body)) {
		return nil, errIndex
	}
	x.blocks = make([]block, 0, count)
	for range count {
		if len(body) < least {
			return nil, errIndex
		}
		n := func(i int) int64 { return int64(binary.LittleEndian.Uint64(body[8*i:])) }
		k := block{offset: n(0), size: n(1), rawOffset: n(2), rawSize: n(3), minTime: n(4), maxTime: n(5)}
		size := int(binary.LittleEndian.Uint32(body[48:]))
		if k.offset < 0 || k.size < 0 || k.size > math.MaxInt32 || k.rawSize < 0 || k.rawSize > 1<<30 || size < 0 || size > len(body)-least {
			return nil, fmt.Errorf("%w: block %d", errIndex, len(x.blocks))
		}
		k.filter = filter(body[least : least+size])
		x.blocks = append(x.blocks, k)
		body = body[least+size:]
	}
	return x, nil
}

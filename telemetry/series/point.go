package series

import (
	"encoding/binary"
	"errors"
)

// Classes of status, by their place in [Point.Classes].
const (
	Class1xx = iota
	Class2xx
	Class3xx
	Class4xx
	Class5xx
	ClassOther
	classes
)

// Point is the traffic of some time. The zero value is none.
type Point struct {
	Classes [classes]uint64 // requests by class of the status that was sent

	// Of those, by status: 429, 401 and 403.
	Limited, Unauthenticated, Forbidden uint64

	BytesIn, BytesOut uint64 // of bodies

	Latency Sketch // first byte read to last byte written
}

// Requests is how many there were.
func (p *Point) Requests() (n uint64) {
	for _, c := range p.Classes {
		n += c
	}
	return n
}

// Merge adds another point.
func (p *Point) Merge(o *Point) {
	to, from := p.counters(), o.counters()
	for i := range to {
		*to[i] += *from[i]
	}
	p.Latency.Merge(&o.Latency)
}

// counters are all but the sketch, in the order of the encoding.
func (p *Point) counters() [classes + 5]*uint64 {
	c := &p.Classes
	return [...]*uint64{
		&c[0], &c[1], &c[2], &c[3], &c[4], &c[5],
		&p.Limited, &p.Unauthenticated, &p.Forbidden, &p.BytesIn, &p.BytesOut,
	}
}

// Append appends the point's short form: its counters, and of the sketch the
// buckets that are not empty, each as the distance from the one before and its
// count; all varints. The length of the whole is for the caller to keep.
func (p *Point) Append(b []byte) []byte {
	for _, c := range p.counters() {
		b = binary.AppendUvarint(b, *c)
	}
	last := -1
	for i, n := range p.Latency {
		if n > 0 {
			b = binary.AppendUvarint(b, uint64(i-last))
			b = binary.AppendUvarint(b, n)
			last = i
		}
	}
	return b
}

var errMalformed = errors.New("series: malformed point")

// Add merges a point in its short form. On an error p may have taken a part of it.
func (p *Point) Add(short []byte) error {
	for _, c := range p.counters() {
		n, size := binary.Uvarint(short)
		if size <= 0 {
			return errMalformed
		}
		*c += n
		short = short[size:]
	}
	at := -1
	for len(short) > 0 {
		gap, size := binary.Uvarint(short)
		if size <= 0 || gap == 0 || gap > Buckets {
			return errMalformed
		}
		n, more := binary.Uvarint(short[size:])
		at += int(gap)
		if more <= 0 || at >= Buckets {
			return errMalformed
		}
		p.Latency[at] += n
		short = short[size+more:]
	}
	return nil
}

// MarshalBinary returns the short form.
func (p *Point) MarshalBinary() ([]byte, error) { return p.Append(nil), nil }

// UnmarshalBinary reads the short form.
func (p *Point) UnmarshalBinary(short []byte) error {
	*p = Point{}
	return p.Add(short)
}

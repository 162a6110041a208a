package series

import "time"

// levels are the resolutions of a series, finest first: seconds of a slot, and
// how many slots.
var levels = [...]struct {
	step  int64
	slots int
}{{1, 60}, {10, 60}, {60, 60}, {600, 144}}

// levelFor returns the finest level that reaches back d.
func levelFor(d time.Duration) int {
	for i, l := range levels {
		if d <= time.Duration(l.step*int64(l.slots))*time.Second {
			return i
		}
	}
	return len(levels) - 1
}

// line is one series: a ring for each level.
type line [len(levels)]ring

func (l *line) add(t int64, p *Point) {
	for i := range l {
		l[i].add(i, t, p)
	}
}

// ring is the last slots of a level. The one that is being filled is open.
type ring struct {
	start  int64 // of open, in Unix seconds; 0: nothing was added
	open   Point
	closed []slot // by place; nil until the first one
}

type slot struct {
	start int64
	short []byte // nil: none
}

func (r *ring) add(level int, t int64, p *Point) {
	step := levels[level].step
	if start := t - t%step; start > r.start {
		r.close(level)
		r.start = start
	}
	r.open.Merge(p)
}

// close puts the open slot away.
func (r *ring) close(level int) {
	if r.start == 0 {
		return
	}
	l := levels[level]
	if r.closed == nil {
		r.closed = make([]slot, l.slots)
	}
	var buf [maxShort]byte
	short := r.open.Append(buf[:0])
	r.closed[int(r.start/l.step)%l.slots] = slot{r.start, append(make([]byte, 0, len(short)), short...)}
	r.open = Point{}
}

// maxShort is more than a point's short form has in all likelihood; a longer one
// costs an allocation.
const maxShort = 1024

// each calls f for the slots that end after from, in no order: with the short
// form, or for the open one with the point.
func (r *ring) each(level int, from int64, f func(start int64, short []byte, open *Point)) {
	l := levels[level]
	for _, s := range r.closed {
		if s.short != nil && s.start+l.step > from && s.start > r.start-l.step*int64(l.slots) {
			f(s.start, s.short, nil)
		}
	}
	if r.start != 0 && r.start+l.step > from {
		f(r.start, nil, &r.open)
	}
}

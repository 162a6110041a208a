package core

import "slices"

// MaxRuns is the most runs that a log needs for the precision stated in the
// package documentation.
const MaxRuns = 128

// Run is N uses, none of them later than At.
type Run struct {
	At Stamp
	N  uint32
}

// Log is the uses inside a window: runs in strictly rising order of their
// stamps, at most as many as Add is told. When it is full, two neighbours become
// one under the later stamp, so a use may stay longer than the window but never
// leaves it early.
//
// Invariants, after every method: stamps rise; no run is empty; Used is the sum
// of the runs; for every stamp s, the uses recorded at or after s are at least
// those that were added at or after s and not taken out again.
//
// The zero Log is empty. Stamps in one log lie within 2³⁰ ticks of each other.
type Log struct {
	runs []Run
	used int64
}

// Over returns an empty log that uses storage before it allocates.
func Over(storage []Run) Log { return Log{runs: storage[:0]} }

// Load returns the log whose runs are the given ones, in place.
func Load(runs []Run) Log {
	l := Log{runs: runs}
	for _, r := range runs {
		l.used += int64(r.N)
	}
	return l
}

// Runs are the log's own runs, oldest first, valid until the next change.
func (l *Log) Runs() []Run { return l.runs }

// Used is the number of uses in the log.
func (l *Log) Used() int64 { return l.used }

// Oldest is the stamp of the run that leaves first.
func (l *Log) Oldest() (at Stamp, ok bool) {
	if len(l.runs) == 0 {
		return 0, false
	}
	return l.runs[0].At, true
}

// Clear forgets everything and keeps the storage.
func (l *Log) Clear() { l.runs, l.used = l.runs[:0], 0 }

// Add records n uses that happened at or before at, and returns the stamp under
// which they went in: at, or the newest stamp when that is later, since time does
// not run backwards in a log. It keeps at most most runs (at least 2) and
// allocates only while it has fewer.
func (l *Log) Add(at Stamp, n uint32, most int) Stamp {
	if n == 0 {
		return at
	}
	l.used += int64(n)
	if k := len(l.runs) - 1; k >= 0 {
		if newest := &l.runs[k]; !newest.At.Before(at) {
			newest.N += n
			return newest.At
		}
	}
	if len(l.runs) >= most && !l.compact(at) {
		newest := &l.runs[len(l.runs)-1]
		newest.At = at
		newest.N += n
		return at
	}
	if len(l.runs) == cap(l.runs) {
		grown := make([]Run, len(l.runs), min(max(8, 2*cap(l.runs)), most))
		copy(grown, l.runs)
		l.runs = grown
	}
	l.runs = append(l.runs, Run{At: at, N: n})
	return at
}

// Put records n uses that happened at or before at, like Add, and in their place
// when at is earlier than what is there: reports of several nodes interleave. It
// keeps at most most runs: of one too many, the pair merges whose merger delays
// the least.
func (l *Log) Put(at Stamp, n uint32, most int) {
	if n == 0 {
		return
	}
	l.used += int64(n)
	i := len(l.runs)
	for i > 0 && !l.runs[i-1].At.Before(at) {
		i--
	}
	if i < len(l.runs) && l.runs[i].At == at {
		l.runs[i].N += n
		return
	}
	l.runs = slices.Insert(l.runs, i, Run{At: at, N: n})
	if len(l.runs) <= most {
		return
	}
	best, least := 0, ^uint64(0)
	for i, r := range l.runs[:len(l.runs)-1] {
		if w := uint64(r.N) * uint64(l.runs[i+1].At-r.At); w < least {
			best, least = i, w
		}
	}
	l.runs[best+1].N += l.runs[best].N
	l.runs = slices.Delete(l.runs, best, best+1)
}

// compact makes room for a run at next by merging the pair of neighbours whose
// merger delays the least: uses of the earlier one × the gap they are moved by.
// It returns false when that pair is the newest run and the one to come.
func (l *Log) compact(next Stamp) bool {
	last := len(l.runs) - 1
	best, least := last, uint64(l.runs[last].N)*uint64(next-l.runs[last].At)
	for i, r := range l.runs[:last] {
		if w := uint64(r.N) * uint64(l.runs[i+1].At-r.At); w < least {
			best, least = i, w
		}
	}
	if best == last {
		return false
	}
	l.runs[best+1].N += l.runs[best].N
	l.runs = append(l.runs[:best], l.runs[best+1:]...)
	return true
}

// Expire drops the runs that are out of the window at now, those with
// At + span ≤ now, and returns how many uses left.
func (l *Log) Expire(now, span Stamp) int64 {
	var gone int64
	i := 0
	for ; i < len(l.runs) && !now.Before(l.runs[i].At+span); i++ {
		gone += int64(l.runs[i].N)
	}
	if i > 0 {
		l.runs = append(l.runs[:0], l.runs[i:]...)
		l.used -= gone
	}
	return gone
}

// Remove takes back n uses that Add recorded and answered with at. It does
// nothing and returns false when they have left the window.
func (l *Log) Remove(at Stamp, n uint32) bool {
	for i := range l.runs {
		r := &l.runs[i]
		if r.At.Before(at) {
			continue
		}
		// Merging only ever moves a run to its later neighbour's stamp, so the
		// first run that is not earlier is the one that holds these uses.
		if r.N < n {
			return false
		}
		r.N -= n
		l.used -= int64(n)
		if r.N == 0 {
			l.runs = append(l.runs[:i], l.runs[i+1:]...)
		}
		return true
	}
	return false
}

// Leaves returns the stamp of the run with which, counted from the oldest, at
// least n uses will have left; false when the log holds fewer.
func (l *Log) Leaves(n int64) (at Stamp, ok bool) {
	for _, r := range l.runs {
		if n -= int64(r.N); n <= 0 {
			return r.At, true
		}
	}
	return 0, false
}

// Rescale converts every stamp from ticks of from to ticks of to (both in
// nanoseconds), rounding up by a tick at most. now is the present in the old
// ticks, then in the new ones. Stamps that meet become one run.
func (l *Log) Rescale(now, then Stamp, from, to int64) {
	kept := l.runs[:0]
	for _, r := range l.runs {
		// Only distances from the present convert: the stamps may have wrapped.
		// One more tick makes up for the parts of a tick that both presents lack.
		ahead := int64(int32(r.At-now)) * from
		at := then + Stamp(int32(ceilDiv(ahead, to))) + 1
		if k := len(kept) - 1; k >= 0 && !kept[k].At.Before(at) {
			kept[k].N += r.N
			continue
		}
		kept = append(kept, Run{At: at, N: r.N})
	}
	l.runs = kept
}

// Restamp moves every use to at, which must not be earlier than any of them.
func (l *Log) Restamp(at Stamp) {
	if l.used == 0 {
		l.Clear()
		return
	}
	l.runs = append(l.runs[:0], Run{At: at, N: uint32(l.used)})
}

// ceilDiv is a/b rounded towards positive infinity, for b > 0.
func ceilDiv(a, b int64) int64 {
	q := a / b
	if a > 0 && a%b != 0 {
		q++
	}
	return q
}

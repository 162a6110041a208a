package detector

import "time"

// window counts over a sliding time by two buckets: what was counted in the one
// before fades out linearly. Pure: the clock is an argument.
type window struct {
	startNS   int64
	prev, cur float64
	distinct  *distinct // nil: everything counts
}

// distinct remembers, in a bitmap each, what was seen in the two buckets.
type distinct struct {
	prev, cur [distinctBits / 64]uint64
	set       int // bits of cur
}

// distinctBits bounds what can be told apart: counts of a few hundred are good to
// a few per cent.
const distinctBits = 512

// add counts one, or, in a window of distinct things, the thing whose hash is
// given unless it was seen in this bucket or the one before. It returns the
// count over the last per, about.
func (w *window) add(nowNS int64, per time.Duration, hash uint64) float64 {
	w.roll(nowNS, int64(per))
	weight := 1.0
	if d := w.distinct; d != nil {
		weight = d.add(hash)
	}
	w.cur += weight
	return w.count(nowNS, per)
}

func (w *window) count(nowNS int64, per time.Duration) float64 {
	gone := float64(nowNS-w.startNS) / float64(per)
	return w.prev*max(0, 1-gone) + w.cur
}

func (w *window) roll(nowNS, perNS int64) {
	passed := nowNS - w.startNS
	switch {
	case passed < perNS: // also when the clock was set back
		return
	case passed < 2*perNS:
		w.startNS += perNS
		w.prev, w.cur = w.cur, 0
		if d := w.distinct; d != nil {
			d.prev, d.cur, d.set = d.cur, [len(d.cur)]uint64{}, 0
		}
	default:
		w.startNS = nowNS
		w.clear()
	}
}

// clear forgets what was counted, but not what was seen.
func (w *window) clear() {
	w.prev, w.cur = 0, 0
}

// add returns what a thing counts for: nothing when it was seen, else as many as
// new ones that hash onto one of the bits that are set would hide.
func (d *distinct) add(hash uint64) float64 {
	word, bit := hash%distinctBits/64, uint64(1)<<(hash%64)
	if d.cur[word]&bit != 0 {
		return 0
	}
	d.cur[word] |= bit
	weight := float64(distinctBits) / float64(distinctBits-d.set)
	d.set++
	if d.prev[word]&bit != 0 {
		return 0
	}
	return weight
}

// baseline is what somebody usually does in one tick: a mean and a mean deviation,
// both fading.
type baseline struct {
	mean, dev float64
	ticks     int
	alarmed   bool // reported, and not back to normal yet
}

// Ticks, and how fast a baseline follows. With half an hour of half-life a rise
// over the day is usual, and one within minutes is not.
const (
	Tick       = 10 * time.Second
	fade       = 0.00384 // 1 - 2^(-Tick/30min)
	warmUp     = 30      // ticks before a baseline says anything: 5 minutes
	deviations = 6
)

// observe takes the count x of one tick. It reports whether x is far beyond what
// is usual: more than floor, factor times the mean, and six deviations above it.
// A tick that is so teaches only what its limit would have: an attack must not
// become what is usual while it lasts.
func (b *baseline) observe(x, floor, factor float64) (usual float64, alarm bool) {
	usual = b.mean
	limit := max(floor, factor*b.mean, b.mean+deviations*b.dev)
	over := b.ticks >= warmUp && x > limit
	alarm = over && !b.alarmed
	b.alarmed = over || b.alarmed && x > limit/2
	learn := x
	if over {
		learn = limit
	}
	rate := max(fade, 1/float64(b.ticks+1)) // the first ticks weigh equally
	b.dev += rate * (abs(learn-b.mean) - b.dev)
	b.mean += rate * (learn - b.mean)
	b.ticks++
	return usual, alarm
}

func abs(x float64) float64 { return max(x, -x) }

package sim

import (
	"math"
	"slices"

	"sluice/limiter/core"
	"sluice/limiter/lease"
)

// redis is the server: what limiter/script does, which limiter/redis holds to
// core.Ledger on a real one.
type redis struct {
	w           *World
	up          bool
	epoch       uint64
	early, open int64 // ms
	since, last int64
	quorate     int64
	expect      []core.Replica
	presented   map[core.Replica]uint64
	beats       map[core.Replica]int64
	numbers     map[core.Replica]uint64
	votes       map[uint32]int64
	buckets     map[lease.Key]*core.Ledger
}

func (r *redis) forget() {
	*r = redis{w: r.w, up: r.up, presented: map[core.Replica]uint64{}, beats: map[core.Replica]int64{}, numbers: map[core.Replica]uint64{}, votes: map[uint32]int64{}, buckets: map[lease.Key]*core.Ledger{}}
}

// clock is the server's.
func (r *redis) clock() lease.Instant {
	return lease.Instant{MonoNS: r.w.now + 777_777_777, UnixNS: r.w.now + 1_800_000_000_000_000_000}
}

func (r *redis) ms() int64 { return r.clock().MonoNS / 1e6 }

func (r *redis) execute(calls []lease.Call) []lease.Result {
	out := make([]lease.Result, len(calls))
	for i := range calls {
		switch c := &calls[i]; c.Kind {
		case lease.CallProbe:
			out[i].Epoch = r.epoch
		case lease.CallClaim:
			if r.epoch < c.New {
				r.epoch, r.early, r.open = c.New, r.ms()+lease.HoldDown.Milliseconds(), r.ms()+lease.FenceDown.Milliseconds()
				r.expect, r.since, r.last, r.quorate = slices.Clone(c.Expect), r.ms(), r.ms(), 0
			}
			out[i].Epoch = r.epoch
		case lease.CallBeat:
			out[i] = r.beat(c)
		case lease.CallTake:
			out[i] = r.take(c)
		}
	}
	return out
}

func (r *redis) beat(c *lease.Call) (out lease.Result) {
	if r.epoch == 0 {
		return out
	}
	ms := r.ms()
	out.Before = r.numbers[c.Self]
	r.numbers[c.Self], r.beats[c.Self] = c.Beat, ms
	if ms-r.last > 5000 {
		r.since = ms
	}
	r.last = ms
	if c.Presented != 0 {
		r.presented[c.Self] = c.Presented
	}
	if ms < r.open && len(r.expect) > 0 {
		all := true
		for _, e := range r.expect {
			all = all && r.presented[e] == r.epoch
		}
		if all {
			r.open, r.expect = max(r.early, ms), nil
		}
	}
	if c.Votes && c.VotersOf == r.epoch {
		r.votes[uint32(c.Self>>32)] = ms
	}
	if c.VotersOf == r.epoch && (c.Voters != nil || c.Alone) {
		r.quorate = ms + lease.QuorumFor.Milliseconds()
		if len(c.Voters) > 0 {
			var ages []int64
			for _, v := range c.Voters {
				ages = append(ages, -r.votes[v])
			}
			slices.Sort(ages)
			r.quorate = -ages[len(ages)/2] + lease.QuorumFor.Milliseconds()
		}
	}
	out.Epoch, out.OpensMS, out.Quorate = r.epoch, max(0, r.open-ms), r.quorate > ms
	for id, at := range r.beats {
		out.Alive = append(out.Alive, lease.Sign{Replica: id, AgeMS: ms - at})
	}
	slices.SortFunc(out.Alive, func(a, b lease.Sign) int { return int(int64(a.Replica>>32) - int64(b.Replica>>32)) })
	return out
}

func (r *redis) take(c *lease.Call) (out lease.Result) {
	r.w.Takes++
	if r.epoch != c.Take.Epoch {
		out.Reply = core.Reply{To: c.Take.From, Epoch: r.epoch, Seq: c.Take.Seq, Verdict: core.OtherEpoch}
		return out
	}
	now, ms := r.clock(), r.ms()
	g := r.buckets[c.Key]
	if g == nil {
		g = &core.Ledger{}
		r.buckets[c.Key] = g
	}
	g.Epoch, g.Lenient, g.Closed = r.epoch, c.Lenient, 0
	if wait := max(r.open-ms, 100); ms < r.open || ms >= r.quorate {
		g.Closed = core.Stamp(math.Ceil(float64(wait) * 1e6 / float64(c.Limit.Tick())))
	}
	g.Dead = func(id core.Replica) bool { return ms-r.since > 25000 && ms-r.beats[id] > 25000 }
	l := limitOf(c.Limit)
	reply, ok := g.Serve(c.Limit.Stamp(now), l, c.Take, core.MaxRuns)
	out.Reply, out.Old = reply, !ok
	return out
}

func limitOf(l lease.Limit) core.Limit {
	return core.Limit{Rights: l.Rights, Span: core.Stamp(l.Window / l.Tick()), Recent: core.Stamp(60e9 / int64(l.Tick()))}
}

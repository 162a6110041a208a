package oracle

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"sluice/internal/decisionlog"
)

// Decision is one decision about one key, at one node.
type Decision = decisionlog.Record

// Key is the judgement of one key.
type Key struct {
	Name   uint64
	Limit  int64
	Window time.Duration

	Requests, Refusals int64
	Offered, Admitted  int64 // costs
	// Exact is the cost that an exact sliding log would have admitted.
	Exact int64
	// Peak is the most that was admitted within one window, and PeakNS the end of
	// that window on CLOCK_MONOTONIC.
	Peak, PeakNS int64
	// Needless counts refusals while the key had room for them.
	Needless int64
	// Demand is the most that was asked for within one window.
	Demand int64
}

// Excess is what was admitted above the limit in the worst window.
func (k *Key) Excess() int64 { return max(0, k.Peak-k.Limit) }

// Calm reports whether the key never asked for more than a share of its limit.
func (k *Key) Calm(share float64) bool { return float64(k.Demand) <= share*float64(k.Limit) }

// Judge groups decisions by key and judges each. It sorts the slice.
func Judge(decisions []Decision) []Key {
	slices.SortFunc(decisions, func(a, b Decision) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.BeforeNS, b.BeforeNS))
	})
	var keys []Key
	for len(decisions) > 0 {
		n := sort.Search(len(decisions), func(i int) bool { return decisions[i].Key > decisions[0].Key })
		keys = append(keys, judge(decisions[:n]))
		decisions = decisions[n:]
	}
	return keys
}

// judge is Judge for the decisions about one key, in the order in which the
// requests came.
func judge(list []Decision) Key {
	k := Key{
		Name: list[0].Key, Limit: int64(list[0].Limit), Window: time.Duration(list[0].WindowMS) * time.Millisecond,
		Requests: int64(len(list)),
	}
	exact := Log{Limit: k.Limit, WindowNS: int64(k.Window)}
	demand := Log{Limit: 1 << 62, WindowNS: int64(k.Window)}
	var begun, done sums
	for i := range list {
		d := &list[i]
		cost := int64(d.Cost)
		k.Offered += cost
		if exact.Admit(d.BeforeNS, cost) {
			k.Exact += cost
		}
		demand.Admit(d.BeforeNS, cost)
		k.Demand = max(k.Demand, demand.Used())
		if !d.Admitted {
			k.Refusals++
			continue
		}
		k.Admitted += cost
		begun = append(begun, mark{d.BeforeNS, cost})
		done = append(done, mark{d.AfterNS(), cost})
	}
	begun.add()
	done.add()
	for _, m := range done {
		// Ended by now, less what had begun a window ago: what lies in it whole.
		if n := m.sum - begun.until(m.at-int64(k.Window)); n > k.Peak {
			k.Peak, k.PeakNS = n, m.at
		}
	}
	for i := range list {
		d := &list[i]
		if d.Admitted {
			continue
		}
		// Begun before its end, less what had ended a window before its beginning:
		// what may have been in the way.
		if most := begun.until(d.AfterNS()) - done.until(d.BeforeNS-int64(k.Window)); most+int64(d.Cost) <= k.Limit {
			k.Needless++
		}
	}
	return k
}

// mark is a moment, with a cost that add turns into the sum of all until then.
type mark struct{ at, sum int64 }

type sums []mark

func (s sums) add() {
	slices.SortFunc(s, func(a, b mark) int { return cmp.Compare(a.at, b.at) })
	total := int64(0)
	for i := range s {
		total += s[i].sum
		s[i].sum = total
	}
	// Of equal moments each has the sum of all.
	for i := len(s) - 2; i >= 0; i-- {
		if s[i].at == s[i+1].at {
			s[i].sum = s[i+1].sum
		}
	}
}

// until is the sum of all marks at or before a moment.
func (s sums) until(at int64) int64 {
	n := sort.Search(len(s), func(i int) bool { return s[i].at > at })
	if n == 0 {
		return 0
	}
	return s[n-1].sum
}

// Log is an exact sliding log: the definition of the limit. At any moment t the
// costs admitted in (t − window, t] are at most the limit.
type Log struct {
	Limit    int64
	WindowNS int64
	used     int64
	live     []mark // admitted and inside the window, oldest first, each with its cost
}

// Admit admits a cost if it fits. Moments must not go back.
func (l *Log) Admit(atNS, cost int64) bool {
	n := 0
	for n < len(l.live) && l.live[n].at <= atNS-l.WindowNS {
		l.used -= l.live[n].sum
		n++
	}
	l.live = l.live[n:]
	if l.used+cost > l.Limit {
		return false
	}
	l.used += cost
	l.live = append(l.live, mark{atNS, cost})
	return true
}

// Used is what the window held when the log was last asked.
func (l *Log) Used() int64 { return l.used }

package oracle

import (
	"slices"
	"time"

	"sluice/limiter"
)

// Summary is what a run comes to.
type Summary struct {
	Keys               int
	Requests, Refusals int64
	Admitted, Exact    int64
	Needless           int64
	// Excess is the worst key's, and ExcessShare the worst key's share of its limit.
	Excess      int64
	ExcessShare float64
	// CalmRequests and CalmRefusals are those of keys that never asked for more than
	// 85 % of their limit.
	CalmRequests, CalmRefusals int64
	// Local is how many decisions asked nobody.
	Local int64
	// WaitP50 and WaitP999 are times in the limiter, AmberP999 of the decisions that
	// asked somebody.
	WaitP50, WaitP999, AmberP999, WaitMax time.Duration
}

// calmShare is the share of its limit below which nobody should ever be refused.
const calmShare = 0.85

// Summarize judges a run.
func Summarize(decisions []Decision) Summary {
	var s Summary
	for _, k := range Judge(decisions) {
		s.Keys++
		s.Requests += k.Requests
		s.Refusals += k.Refusals
		s.Admitted += k.Admitted
		s.Exact += k.Exact
		s.Needless += k.Needless
		s.Excess = max(s.Excess, k.Excess())
		s.ExcessShare = max(s.ExcessShare, float64(k.Excess())/float64(k.Limit))
		if k.Calm(calmShare) {
			s.CalmRequests += k.Requests
			s.CalmRefusals += k.Refusals
		}
	}
	var all, amber []uint32
	for i := range decisions {
		d := &decisions[i]
		all = append(all, d.WaitNS)
		if d.Zone == uint8(limiter.Amber) {
			amber = append(amber, d.WaitNS)
		} else {
			s.Local++
		}
	}
	slices.Sort(all)
	slices.Sort(amber)
	s.WaitP50, s.WaitP999, s.WaitMax = quantile(all, 0.5), quantile(all, 0.999), quantile(all, 1)
	s.AmberP999 = quantile(amber, 0.999)
	return s
}

// Throughput is what was admitted, as a share of what an exact log would have.
func (s *Summary) Throughput() float64 {
	if s.Exact == 0 {
		return 1
	}
	return float64(s.Admitted) / float64(s.Exact)
}

// quantile of sorted values, nearest rank.
func quantile(sorted []uint32, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return time.Duration(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))])
}

package conf

import (
	"fmt"
	"math"
)

func (v *validator) limits() {
	tiers := sortedKeys(v.doc.Tiers)
	for _, name := range tiers {
		limit := v.doc.Tiers[name]
		v.limit(keyPath("tiers", name), &limit)
	}
	l := &v.doc.Limits
	switch {
	case l.Key != "" && len(l.Key) < 16:
		v.errorf("limits.key", "use the output of: openssl rand -base64 24", "the key has fewer than 16 characters")
	case l.Key == "" && v.doc.Redis != nil && v.doc.Cluster == nil && !v.broken("limits.key"):
		v.errorf("redis", "add limits: {key: …}, the same on all nodes, such as the output of: openssl rand -base64 24; or a cluster section",
			"nodes that share Redis without a cluster have no common key to count under")
	}
	v.limit("limits.anonymous", l.Anonymous)
	v.limit("limits.address", l.Address)
	if v.given("tiers") && !v.given("limits.default_tier") {
		// The default is standard: without such a tier the file must choose.
		if _, ok := v.doc.Tiers[l.DefaultTier]; !ok && !v.broken("tiers") && !v.broken("limits.default_tier") {
			hint := "name a tier"
			if len(tiers) > 0 {
				hint = "add limits: {default_tier: " + tiers[0] + "}, or another of the tiers"
			}
			v.dec.at(v.pos("tiers"), "limits.default_tier", fmt.Sprintf("the default tier is %q, which is not among the tiers", l.DefaultTier), hint)
		}
		return
	}
	v.reference("limits.default_tier", l.DefaultTier, "tier", "tiers", tiers)
}

// maxRefill bounds how long a spent burst takes to come back, so that the
// limiter's arithmetic in nanoseconds stays far from its edges.
const maxRefill = 366 * Day

// limit checks that a limit makes sense as a whole.
func (v *validator) limit(path string, l *Limit) {
	if l == nil || l.Burst == nil || l.Requests == 0 || l.Burst.Rate == 0 || v.broken(path) {
		return
	}
	if l.Burst.Size > l.Requests {
		v.warnf(path+".burst.size", fmt.Sprintf("write at most %d", l.Requests), "the quota of %d requests ends before a burst of %d does", l.Requests, l.Burst.Size)
	}
	if refill := float64(l.Burst.Size) / l.Burst.Rate.PerSecond(); refill > maxRefill.Std().Seconds() {
		v.errorf(v.eitherGiven(path+".burst.size", path+".burst.rate"), "write a smaller size or a higher rate", "a burst of %d takes longer than %v to come back at this rate", l.Burst.Size, maxRefill)
		return
	}
	// What the burst lets through in one window; more of the quota is out of reach.
	reach := l.Burst.Rate.PerSecond()*l.Per.Std().Seconds() + float64(l.Burst.Size)
	if reach < float64(l.Requests) {
		v.warnf(path+".burst.rate", "raise the rate, or lower requests", "at this rate only %.0f of the %d requests can be used in %v", math.Floor(reach), l.Requests, l.Per)
	}
}

// cost checks that the limits on a route's way can ever admit one request.
func (v *validator) cost(path string, rt *Route) {
	if v.broken(path+".cost") || rt.Cost <= 1 {
		return
	}
	fits := func(name string, l *Limit) bool {
		if l == nil || l.Requests == 0 {
			return true
		}
		if l.Requests < rt.Cost {
			v.errorf(path+".cost", "write a smaller cost, or raise the limit", "one request costs %d, but %s admits %d in %v", rt.Cost, name, l.Requests, l.Per)
			return false
		}
		if l.Burst != nil && l.Burst.Size < rt.Cost {
			v.errorf(path+".cost", "write a smaller cost, or raise burst.size", "one request costs %d, but %s admits bursts of %d", rt.Cost, name, l.Burst.Size)
			return false
		}
		return true
	}
	if rt.Limit != nil && !fits("the route's limit", &rt.Limit.Limit) {
		return
	}
	tiers := rt.Tiers
	if len(tiers) == 0 {
		tiers = sortedKeys(v.doc.Tiers)
	}
	for _, name := range tiers {
		if l, ok := v.doc.Tiers[name]; ok && !fits("tier "+name, &l) {
			return
		}
	}
}

package detector

import (
	"fmt"
	"strings"
	"time"

	"sluice/waf/bans"
)

// surgeKinds are whom requests are counted by, besides the tenant.
var surgeKinds = [...]bans.Kind{bans.Address, bans.Subject, bans.Key}

// countRequest counts a request of whatever kind.
func (d *Detector) countRequest(s *Settings, o *Observation) {
	counts := d.counts.Load()
	floor := uint32(s.surge.count)
	for _, kind := range surgeKinds {
		if hash, ok := d.who(kind, o); ok && counts.add(hash) == floor {
			d.track(hash, o, kind)
		}
	}
	if o.Tenant != "" {
		if t := d.tenants.get(d.windows.hash(bans.Tenant, o.Tenant), o.Tenant); t != nil {
			t.requests.Add(1)
			for i := range numSignals {
				if o.Signals&(1<<i) != 0 {
					t.signals[i].Add(1)
				}
			}
		}
	}
}

// track begins to compare a client with its past, once it sends more than the
// floor: until then it cannot surge.
func (d *Detector) track(hash uint64, o *Observation, kind bans.Kind) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tracked[hash]
	if t == nil {
		if len(d.tracked) >= maxTracked {
			return
		}
		t = &tracked{target: o.target(kind)}
		t.target.Value = strings.Clone(t.target.Value)
		t.usual.ticks = warmUp // what it sent before was below the floor, which is known enough
		d.tracked[hash] = t
	}
	t.last = Observation{Address: o.Address, Tenant: strings.Clone(o.Tenant), Route: o.Route, RequestID: strings.Clone(o.RequestID)}
}

// forget is after how many ticks without a request a tenant or a client is
// forgotten: an hour.
const forget = int(time.Hour / Tick)

// tick compares everybody's counts with what is usual.
func (d *Detector) tick(now time.Time) {
	s := d.settings.Load()
	past := d.counts.Swap(d.spare)
	defer func() {
		past.clear()
		d.spare = past
	}()
	d.windows.sweep(now.Add(-2 * s.longest()).UnixNano())
	if s.off {
		return
	}
	d.tickClients(s, past, now)
	d.tickTenants(s, now)
}

func (s *Settings) longest() time.Duration {
	longest := Tick
	for i := range s.rules {
		longest = max(longest, s.rules[i].per)
	}
	return longest
}

func (d *Detector) tickClients(s *Settings, past *sketch, now time.Time) {
	var found []*tracked
	var counts, usuals []float64
	d.mu.Lock()
	for hash, t := range d.tracked {
		x := float64(past.count(hash))
		if x > 0 {
			t.idle = 0
		} else if t.idle++; t.idle > forget {
			delete(d.tracked, hash)
			continue
		}
		// The first rise is measured against the floor, not against nothing.
		usual, alarm := t.usual.observe(x, s.surge.count*s.factor, s.factor)
		if alarm {
			found, counts, usuals = append(found, t), append(counts, x), append(usuals, usual)
		}
	}
	d.mu.Unlock()
	for i, t := range found {
		o := t.last
		o.Time = now
		d.found(s, &s.surge, surge(t.target, counts[i], usuals[i]), &o)
	}
}

func surge(target bans.Target, x, usual float64) *Finding {
	return &Finding{
		Rule: Surge, Target: target, Count: x, Limit: usual,
		Reason: fmt.Sprintf("surge: %.0f requests in %s, usually %.0f", x, Tick, usual),
	}
}

// signalWords name a tenant's failures, in the order of the signals.
var signalWords = [numSignals]string{"failed authentications", "refusals", "requests over a limit", "attacks"}

// anomalyShare is the floor of a tenant's failures, as a share of a surge's.
const anomalyShare = 0.1

func (d *Detector) tickTenants(s *Settings, now time.Time) {
	d.tenants.keep(func(name string, t *tenant) bool {
		o := Observation{Time: now, Tenant: name}
		target := bans.Target{Kind: bans.Tenant, Value: name}
		x := float64(t.requests.Swap(0))
		if usual, alarm := t.usual[0].observe(x, s.surge.count, s.factor); alarm {
			d.found(s, &s.surge, surge(target, x, usual), &o)
		}
		for i := range t.signals {
			x := float64(t.signals[i].Swap(0))
			if usual, alarm := t.usual[i+1].observe(x, s.surge.count*anomalyShare, s.factor); alarm {
				d.found(s, &limits{}, &Finding{
					Rule: Anomaly, Target: target, Count: x, Limit: usual,
					Reason: fmt.Sprintf("anomaly: %.0f %s in %s, usually %.0f", x, signalWords[i], Tick, usual),
				}, &o)
			}
		}
		if x > 0 {
			t.idleTicks = 0
		} else if t.idleTicks++; t.idleTicks > forget {
			return false
		}
		return true
	})
}

package proxy

import (
	"net/http"
	"strconv"
	"time"

	"sluice/conf"
	"sluice/internal/problem"
	"sluice/limiter"
	"sluice/telemetry"
)

// policy is a compiled limit under the name that clients and operators meet.
type policy struct {
	id      string
	rule    *limiter.Rule
	metrics *telemetry.PolicyMetrics
	limit   []string // X-RateLimit-Limit
	item    string   // its element of RateLimit-Policy: "tenant";q=1000;w=3600
	name    string   // its name as a structured string: "tenant"
	burst   string   // the burst's: "tenant-burst"
	window  string   // hour, minute, 90s
}

// tier is a named quota.
type tier struct {
	name   string
	limit  conf.Limit
	policy *policy
	atMS   int64 // when an operator decided it, in Unix milliseconds; 0: the configuration's
}

// routeLimit is a limit of one route.
type routeLimit struct {
	*policy
	by string // tenant, subject, address, route
}

func (c *compiler) policy(id string, l conf.Limit) (*policy, error) {
	rule, err := limiter.CompileRevision(id, l, c.limitsRevision)
	if err != nil {
		return nil, err
	}
	name, burst := strconv.Quote(id), strconv.Quote(id+burstSuffix)
	p := &policy{
		id:      id,
		rule:    rule,
		metrics: c.g.deps.Metrics.Policy(id),
		limit:   []string{strconv.FormatInt(l.Requests, 10)},
		name:    name,
		burst:   burst,
		window:  windowWords(l.Per.Std()),
		item:    name + ";q=" + strconv.FormatInt(l.Requests, 10) + ";w=" + strconv.FormatInt(ceilSeconds(l.Per.Std()), 10),
	}
	if size, interval := rule.Burst(); size > 0 {
		p.item += ", " + burst + ";q=" + strconv.FormatInt(size, 10) + ";w=" + strconv.FormatInt(ceilSeconds(time.Duration(size)*interval), 10)
	}
	return p, nil
}

// burstSuffix makes the name of a limit's burst out of the limit's.
const burstSuffix = "-burst"

// limitAddress spends of the address's limit. Unlike the quotas it is spent
// before the request can be refused for another reason, because it bounds
// guessing.
func (g *Gateway) limitAddress(e *exchange) *refusal {
	p := e.world.perAddress
	if p == nil {
		return nil
	}
	e.charge(p, g.deps.Limiter.KeyAddr(p.rule, e.origin.client), 1)
	ref := g.decide(e)
	if ref == nil {
		e.charged = 0 // the quota's numbers are the ones to show
	}
	return ref
}

// spend takes the request's cost from every limit that holds for it: all of
// them or none.
func (g *Gateway) spend(e *exchange) *refusal {
	w, lim := e.world, g.deps.Limiter
	if e.identity != nil && e.identity.SuperAdmin {
		e.record.Limit, e.record.LimitResult, e.record.Zone = exemptPolicy, telemetry.LimitExempt, telemetry.ZoneGreen
		w.exempt.Decided(telemetry.LimitExempt, telemetry.ZoneGreen)
		return nil
	}
	cost := e.route.cost
	switch {
	case cost == 0: // the route is free: no quota holds, and none is shown
	case e.tier != nil:
		p := e.quota()
		e.charge(p, lim.KeyString(p.rule, e.tenant), cost)
	case w.anonymous != nil:
		e.charge(w.anonymous, lim.KeyAddr(w.anonymous.rule, e.origin.client), cost)
	}
	if l := e.limitOf(e.route); l != nil {
		e.charge(l.policy, e.routeKey(lim, l), cost)
	}
	if e.key != nil {
		if p, limited := w.rulings.keyLimits.Get(e.key.ID); limited && cost > 0 {
			e.charge(p, lim.KeyString(p.rule, e.key.ID), cost)
		}
	}
	if e.charged == 0 {
		return nil
	}
	return g.decide(e)
}

// routeKey is what a route's limit counts apart. A caller without the
// dimension asked for is counted by address, never let through.
func (e *exchange) routeKey(lim *limiter.Limiter, l *routeLimit) limiter.Key {
	switch {
	case l.by == "route":
		return lim.KeyString(l.rule, "")
	case l.by == "subject" && e.identity != nil && e.identity.Subject != "":
		return lim.KeyString2(l.rule, e.identity.Issuer, e.identity.Subject)
	case l.by == "tenant" && e.tenant != "":
		return lim.KeyString(l.rule, e.tenant)
	}
	return lim.KeyAddr(l.rule, e.origin.client)
}

func (e *exchange) charge(p *policy, key limiter.Key, cost int64) {
	e.charges[e.charged] = limiter.Charge{Rule: p.rule, Key: key, Cost: cost, Shadow: e.world.shadow || e.bypassed()}
	e.policies[e.charged] = p
	e.charged++
}

// exemptPolicy is the name under which requests that no limit holds for are
// counted.
const exemptPolicy = "exempt"

// decide asks the limiter and notes its answer.
func (g *Gateway) decide(e *exchange) *refusal {
	d := &e.decision
	g.deps.Limiter.Decide(e.now, e.charges[:e.charged], d)
	p := e.policies[d.Tightest]
	rec := &e.record
	rec.Limit, rec.Zone, rec.Remaining = p.id, d.Zone.String(), d.Remaining
	switch {
	case !d.Admitted:
		rec.LimitResult = telemetry.LimitRefuse
	case d.WouldRefuse != 0 && e.bypassed():
		rec.LimitResult = telemetry.LimitBypass
	case d.WouldRefuse != 0:
		rec.LimitResult = telemetry.LimitShadow
	default:
		rec.LimitResult = telemetry.LimitAdmit
	}
	p.metrics.Decided(rec.LimitResult, rec.Zone)
	if d.Admitted {
		return nil
	}
	return refusedQuota
}

// setRateLimit sets the rate-limit headers: the X- family of the tightest
// limit and the IETF fields of all (draft-ietf-httpapi-ratelimit-headers).
// They replace what an upstream said about limits of its own; where no limit of
// ours holds, the upstream's stay.
func (e *exchange) setRateLimit(h http.Header) {
	if e.charged == 0 {
		return
	}
	d := &e.decision
	p := e.policies[d.Tightest]

	// One string holds every number; the header values are parts of it.
	b := e.scratch[:0]
	b = strconv.AppendInt(b, d.Remaining, 10)
	remainingEnd := len(b)
	b = strconv.AppendInt(b, d.ResetUnixSec, 10)
	resetEnd := len(b)
	for i := range e.charged {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, e.policies[i].name...)
		b = append(b, ";r="...)
		b = strconv.AppendInt(b, d.Quotas[i].Remaining, 10)
		b = append(b, ";t="...)
		b = strconv.AppendInt(b, ceilSeconds(d.Quotas[i].ResetAfter), 10)
		if d.Quotas[i].BurstRefused {
			b = append(b, ", "...)
			b = append(b, e.policies[i].burst...)
			b = append(b, ";r=0;t="...)
			b = strconv.AppendInt(b, ceilSeconds(d.Quotas[i].Wait), 10)
		}
	}
	text := string(b)
	h["X-Ratelimit-Limit"] = p.limit
	if d.Quotas[d.Tightest].BurstRefused {
		h["X-Ratelimit-Limit"] = []string{itoa(d.Limit)}
	}
	e.values.set(h, "X-Ratelimit-Remaining", text[:remainingEnd])
	e.values.set(h, "X-Ratelimit-Reset", text[remainingEnd:resetEnd])
	e.values.set(h, "Ratelimit", text[resetEnd:])
	item := p.item
	if e.charged > 1 {
		item = e.policies[0].item
		for _, q := range e.policies[1:e.charged] {
			item += ", " + q.item
		}
	}
	e.values.set(h, "Ratelimit-Policy", item)
}

// describeQuota fills the 429's members.
func (e *exchange) describeQuota(p *problem.Problem) {
	d := &e.decision
	used := e.policies[d.Tightest]
	p.Type = problem.QuotaExceeded
	id := used.id
	if d.Quotas[d.Tightest].BurstRefused {
		id += burstSuffix
	}
	p.Limit = &problem.Limit{
		Policy: id, Tenant: e.tenant, Tier: e.tierName(),
		Limit: d.Limit, Remaining: d.Remaining, RetryAfter: ceilSeconds(d.RetryAfter),
	}
	p.Detail = e.quotaSentence(used, d)
}

// quotaSentence says in words what the members say in numbers.
func (e *exchange) quotaSentence(used *policy, d *limiter.Decision) string {
	who := "This caller"
	if e.tenant != "" {
		who = "The tenant " + e.tenant
	}
	wait := "; try again in " + itoa(ceilSeconds(d.RetryAfter)) + " s."
	if d.Quotas[d.Tightest].BurstRefused {
		return who + " sends faster than the limit " + used.id + " allows" + wait
	}
	return who + " has used its " + used.limit[0] + " requests per " + used.window + wait
}

// windowWords is a window's length as people say it.
func windowWords(d time.Duration) string {
	switch d {
	case time.Second:
		return "second"
	case time.Minute:
		return "minute"
	case time.Hour:
		return "hour"
	case 24 * time.Hour:
		return "day"
	}
	return conf.Duration(d).String()
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

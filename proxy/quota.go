package proxy

import (
	"fmt"

	"sluice/limiter"
)

// Quota is a bucket in which a tenant's requests are counted.
type Quota struct {
	Policy string // as clients meet it in RateLimit-Policy
	Rule   *limiter.Rule
	Key    limiter.Key
}

// Quota returns the bucket of a tenant's quota, or that of a route's limit when the
// name of a route is given. The errors are an operator's to read.
func (g *Gateway) Quota(tenant, route string) (Quota, error) {
	w, lim := g.live.Load(), g.deps.Limiter
	if route == "" {
		p := w.defaultTier.policy // every tier's count is the same
		return Quota{p.id, p.rule, lim.KeyString(p.rule, tenant)}, nil
	}
	for _, r := range w.routes {
		switch l := r.limit; {
		case r.name != route:
		case l == nil:
			return Quota{}, fmt.Errorf("the route %s has no limit of its own", route)
		case l.by == "route":
			return Quota{l.id, l.rule, lim.KeyString(l.rule, "")}, nil
		case l.by == "tenant":
			return Quota{l.id, l.rule, lim.KeyString(l.rule, tenant)}, nil
		default:
			return Quota{}, fmt.Errorf("the limit of the route %s counts by %s, not by tenant", route, l.by)
		}
	}
	return Quota{}, fmt.Errorf("there is no route %s", route)
}

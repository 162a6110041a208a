package proxy

import (
	"fmt"
	"maps"
	"time"

	"sluice/auth"
	"sluice/conf"
	"sluice/internal/shardmap"
	"sluice/limiter"
	"sluice/store"
	"sluice/telemetry"
)

// decided is what operators have decided while the gateway runs, as they said it.
// It is kept for the next configuration, which says what tiers, routes and
// prefixes there are. Maps are immutable.
type decided struct {
	tiers    map[string]store.Object
	tenants  shardmap.Map[store.Object]
	keys     shardmap.Map[store.Object]
	bypasses []Bypass
	security decidedSecurity
}

// rulings are decisions, compiled for one configuration; a part of the snapshot.
type rulings struct {
	tenants   shardmap.Map[*ruling]
	keys      auth.Keyring
	keyLimits shardmap.Map[*policy] // of the keys that have one
	bypasses  []Bypass              // in force or over; few
}

// ruling is what holds for one tenant instead of what configuration and credential
// say. Absent parts change nothing.
type ruling struct {
	suspended *refusal
	tier      *tier
	quota     *policy            // instead of the tier's
	byTier    map[string]*policy // the tiers' quotas, newer than those in force before
	raise     *policy
	raiseEnds time.Time
	routes    map[string]*routeLimit // by the route's name
}

// Bypass is an emergency exemption from limits: for a tenant, a route, both, or
// everybody when it names neither. What would have been refused is counted.
type Bypass struct {
	Tenant, Route string // of Route: the name
	Until         time.Time
}

// UsePolicies puts objects of the store in force for the requests that come from
// now on; all says that there are no others, else one without a body is gone. An
// object that cannot be used is logged, and the one before stays.
func (g *Gateway) UsePolicies(objects []store.Object, all bool) {
	g.deciding.Lock()
	defer g.deciding.Unlock()
	changed := map[string]map[string]store.Object{store.KindTenant: {}, store.KindTier: {}, store.KindKey: {}}
	for _, o := range objects {
		if of := changed[o.Kind]; of != nil {
			of[o.ID] = o
		}
	}
	d := decided{bypasses: g.decided.bypasses}
	if !all {
		d = g.decided
	}
	protects := g.decideSecurity(&d.security, objects)
	d.tenants = d.tenants.With(changed[store.KindTenant]) // without a body it still counts: see ruling.byTier
	d.keys = d.keys.With(changed[store.KindKey])
	d.tiers = maps.Clone(d.tiers)
	if d.tiers == nil {
		d.tiers = map[string]store.Object{}
	}
	maps.Copy(d.tiers, changed[store.KindTier])
	g.decided = d

	live := g.live.Load()
	if live == nil {
		return // the first configuration will take them
	}
	next := *live
	switch r := g.rule(&next); {
	case all:
		g.compileRulings(&next, live)
	case len(changed[store.KindTier]) > 0: // any tenant may have it
		r.before = live
		r.tiers()
		r.tenants(maps.Collect(g.decided.tenants.All()))
		r.keys(changed[store.KindKey])
	default:
		r.tenants(changed[store.KindTenant])
		r.keys(changed[store.KindKey])
	}
	if protects && !all {
		g.protect(&next)
	}
	g.live.Store(&next)
}

// UseBypasses puts these bypasses in force, and ends all others.
func (g *Gateway) UseBypasses(list []Bypass) {
	g.deciding.Lock()
	defer g.deciding.Unlock()
	g.decided.bypasses = list
	if live := g.live.Load(); live != nil {
		next := *live
		next.rulings.bypasses = list
		g.live.Store(&next)
	}
}

// compileRulings compiles all decisions for w. What cannot be compiled stays as in the
// snapshot before, if there is one.
func (g *Gateway) compileRulings(w *snapshot, before *snapshot) {
	w.rulings = rulings{bypasses: g.decided.bypasses}
	if before != nil { // keys keep the time of their last use
		w.rulings.keys = before.rulings.keys.Without(func(id string) bool { _, there := g.decided.keys.Get(id); return !there })
	}
	r := g.rule(w)
	r.before = before
	r.tiers()
	r.tenants(maps.Collect(g.decided.tenants.All()))
	r.keys(maps.Collect(g.decided.keys.All()))
	g.protect(w)
}

// ruler compiles decisions into the snapshot w, which nobody sees yet.
type ruler struct {
	g      *Gateway
	w      *snapshot
	before *snapshot // nil: faulty objects keep what they have in w
}

func (g *Gateway) rule(w *snapshot) *ruler { return &ruler{g: g, w: w} }

func (r *ruler) fault(o store.Object, err error) {
	r.g.deps.Log.Error("a policy cannot be used; the one before stays", "kind", o.Kind, "object", o.ID, "revision", o.Revision, telemetry.KeyError, err.Error())
}

// limit compiles a limit that was decided at a time, in Unix milliseconds: nodes
// count by the newest that any of them knows.
func (r *ruler) limit(id string, l conf.Limit, atMS int64) (*policy, error) {
	c := compiler{g: r.g, doc: r.w.doc, limitsRevision: max(r.w.limitsRevision, uint64(atMS))}
	if l.Per == 0 {
		l.Per = conf.Duration(time.Hour)
	}
	return c.policy(id, l)
}

// tiers are those of the configuration, and before them what was decided.
func (r *ruler) tiers() {
	r.w.tiers = maps.Clone(r.w.fileTiers)
	for name, o := range r.g.decided.tiers {
		r.tier(name, o)
	}
	r.w.defaultTier = r.w.tiers[r.w.doc.Limits.DefaultTier]
}

func (r *ruler) tier(name string, o store.Object) {
	var l conf.Limit
	if o.Body == nil {
		of, ok := r.w.doc.Tiers[name]
		if !ok {
			return
		}
		l = of // again the configuration's, and newer than what was deleted
	} else {
		t, err := store.ParseTier(o)
		if err != nil {
			r.fault(o, err)
			return
		}
		l = t.Limit.Conf()
	}
	p, err := r.limit(tenantPolicy, l, o.UpdatedMS)
	if err != nil {
		r.fault(o, err)
		if r.before != nil && r.before.tiers[name] != nil {
			r.w.tiers[name] = r.before.tiers[name]
		}
		return
	}
	r.w.tiers[name] = &tier{name: name, limit: l, policy: p, atMS: o.UpdatedMS}
}

func (r *ruler) tenants(objects map[string]store.Object) {
	set := make(map[string]*ruling, len(objects))
	var gone []string
	for id, o := range objects {
		made, err := r.tenant(o)
		if err != nil {
			r.fault(o, err)
			if r.before != nil {
				if was, ok := r.before.rulings.tenants.Get(id); ok {
					set[id] = was
				}
			}
			continue
		}
		if made == nil {
			gone = append(gone, id)
			continue
		}
		set[id] = made
	}
	r.w.rulings.tenants = r.w.rulings.tenants.With(set, gone...)
}

// recent is how long a change of a limit has to be told as the newer one: longer
// than a window in which uses from before still count.
const recent = 32 * 24 * time.Hour

// tenant compiles a tenant's object; nil: it changes nothing.
func (r *ruler) tenant(o store.Object) (*ruling, error) {
	var t store.Tenant
	if o.Body != nil {
		var err error
		if t, err = store.ParseTenant(o); err != nil {
			return nil, err
		}
	}
	out, at, changes := new(ruling), o.UpdatedMS, false
	base := at // of what holds when no raise does
	var err error
	if t.Raise != nil {
		// When it ends, what held before must be the newer again.
		base = max(at, t.Raise.Until.UnixMilli())
		if out.raise, err = r.limit(tenantPolicy, t.Raise.Limit.Conf(), at); err != nil {
			return nil, fmt.Errorf("raise: %w", err)
		}
		out.raiseEnds, changes = t.Raise.Until, true
	}
	if t.Tier != "" {
		of := r.w.tierOf(t.Tier) // one that was taken away is the default, as in a token
		out.tier, changes = of, true
		if t.Limit != nil {
			// What it has is its own.
		} else if out.quota, err = r.limit(tenantPolicy, of.limit, max(base, of.atMS)); err != nil {
			return nil, fmt.Errorf("tier: %w", err)
		}
	}
	if t.Limit != nil {
		if out.quota, err = r.limit(tenantPolicy, t.Limit.Conf(), base); err != nil {
			return nil, fmt.Errorf("limit: %w", err)
		}
		changes = true
	}
	if out.quota == nil && (t.Raise != nil || time.Since(time.UnixMilli(at)) < recent) {
		out.byTier, changes = make(map[string]*policy, len(r.w.tiers)), true
		for name, of := range r.w.tiers {
			if out.byTier[name], err = r.limit(tenantPolicy, of.limit, max(base, of.atMS)); err != nil {
				return nil, fmt.Errorf("tier %s: %w", name, err)
			}
		}
	}
	for name, l := range t.Routes {
		p, err := r.limit("route:"+name, l.Conf(), at)
		if err != nil {
			return nil, fmt.Errorf("routes.%s: %w", name, err)
		}
		if out.routes == nil {
			out.routes = make(map[string]*routeLimit, len(t.Routes))
		}
		out.routes[name], changes = &routeLimit{policy: p, by: "tenant"}, true
	}
	if t.Suspended != "" {
		out.suspended, changes = &refusal{code: codeSuspended, detail: "The tenant is suspended: " + t.Suspended}, true
	}
	if !changes {
		return nil, nil
	}
	return out, nil
}

func (r *ruler) keys(objects map[string]store.Object) {
	set, limits := make(map[string]*auth.Key, len(objects)), make(map[string]*policy)
	var gone, unlimited []string
	for id, o := range objects {
		if o.Body == nil {
			gone, unlimited = append(gone, id), append(unlimited, id)
			continue
		}
		key, p, err := r.key(o)
		switch {
		case err != nil:
			r.fault(o, err) // and it opens nothing
			gone, unlimited = append(gone, id), append(unlimited, id)
			continue
		case p != nil:
			limits[id] = p
		default:
			unlimited = append(unlimited, id)
		}
		set[id] = key
	}
	r.w.rulings.keys = r.w.rulings.keys.With(set, gone...)
	r.w.rulings.keyLimits = r.w.rulings.keyLimits.With(limits, unlimited...)
}

func (r *ruler) key(o store.Object) (*auth.Key, *policy, error) {
	k, err := store.ParseKey(o)
	if err != nil {
		return nil, nil, err
	}
	if len(k.Hash) != len(auth.KeyHash{}) || !auth.ValidTenant(k.Tenant) {
		return nil, nil, fmt.Errorf("the key has no hash or no tenant")
	}
	out := &auth.Key{
		ID: k.ID, Hash: auth.KeyHash(k.Hash), Expires: k.Expires, Routes: k.Routes, Networks: k.Addresses,
		Identity: auth.Identity{
			Tenant: k.Tenant, TenantSource: auth.TenantFromKey, Subject: "key:" + k.ID, Method: auth.MethodKey, Permissions: k.Permissions, Expires: k.Expires,
		},
	}
	if admin := r.w.doc.Auth.SuperAdminPermission; admin != "" {
		out.Identity.SuperAdmin = out.Identity.Has(admin)
	}
	if p := k.Rotated; p != nil && len(p.Hash) == len(auth.KeyHash{}) {
		out.Previous, out.PreviousUntil = auth.KeyHash(p.Hash), p.Until
	}
	if k.Limit == nil {
		return out, nil, nil
	}
	p, err := r.limit(keyPolicy, k.Limit.Conf(), o.UpdatedMS)
	if err != nil {
		return nil, nil, fmt.Errorf("limit: %w", err)
	}
	return out, p, nil
}

// Names of policies, in headers and metrics.
const (
	tenantPolicy = "tenant"
	keyPolicy    = "key"
)

// quota is the limit of the tenant that holds now.
func (e *exchange) quota() *policy {
	if r := e.ruling; r != nil {
		switch {
		case r.raise != nil && e.start.Before(r.raiseEnds):
			return r.raise
		case r.quota != nil:
			return r.quota
		case r.byTier != nil:
			return r.byTier[e.tier.name]
		}
	}
	return e.tier.policy
}

// bypassed reports whether an emergency bypass holds for the request.
func (e *exchange) bypassed() bool {
	for i := range e.world.rulings.bypasses {
		b := &e.world.rulings.bypasses[i]
		if (b.Tenant == "" || b.Tenant == e.tenant) && (b.Route == "" || e.route != nil && b.Route == e.route.name) && e.start.Before(b.Until) {
			return true
		}
	}
	return false
}

// Usage is what one limit of a tenant has left, in the view of this node.
type Usage struct {
	Policy string `json:"policy"` // tenant, or route:NAME
	Tier   string `json:"tier,omitempty"`
	limiter.Usage
	Window time.Duration
}

// Usage returns where the limits of a tenant stand that count it as a whole. tier
// is that of its credentials, for a tenant whose tier nobody has decided.
func (g *Gateway) Usage(tenant, tier string) []Usage {
	w := g.live.Load()
	if w == nil {
		return nil
	}
	e := exchange{world: w, start: time.Now(), identity: &auth.Identity{Tenant: tenant, Tier: tier}}
	e.adoptTenant()
	of := func(p *policy) Usage {
		return Usage{Policy: p.id, Usage: g.deps.Limiter.Usage(p.rule, g.deps.Limiter.KeyString(p.rule, tenant)), Window: p.rule.Window()}
	}
	first := of(e.quota())
	first.Tier = e.tier.name
	list := []Usage{first}
	for _, rt := range w.routes {
		if l := e.limitOf(rt); l != nil && l.by == "tenant" {
			list = append(list, of(l.policy))
		}
	}
	return list
}

// limitOf is the route's limit for the tenant: its own, or the route's.
func (e *exchange) limitOf(rt *route) *routeLimit {
	if r := e.ruling; r != nil {
		if l := r.routes[rt.name]; l != nil {
			return l
		}
	}
	return rt.limit
}

// Policies counts what is in force: tenants, tiers, keys, bypasses.
func (g *Gateway) Policies() (tenants, tiers, keys int) {
	w := g.live.Load()
	if w == nil {
		return 0, 0, 0
	}
	return w.rulings.tenants.Len(), len(w.tiers), w.rulings.keys.Len()
}

// KeysUsed returns when each API key was used last at this node since it started.
func (g *Gateway) KeysUsed() map[string]time.Time {
	if w := g.live.Load(); w != nil {
		return w.rulings.keys.Used()
	}
	return nil
}

// Tiers returns the limits of all tiers in force, by name.
func (g *Gateway) Tiers() map[string]conf.Limit {
	out := map[string]conf.Limit{}
	if w := g.live.Load(); w != nil {
		for name, t := range w.tiers {
			out[name] = t.limit
		}
	}
	return out
}

// Routes returns the names of the routes in force.
func (g *Gateway) Routes() []string {
	w := g.live.Load()
	if w == nil {
		return nil
	}
	names := make([]string, 0, len(w.routes))
	for _, rt := range w.routes {
		names = append(names, rt.name)
	}
	return names
}

package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"sluice/conf"
	"sluice/store"
	"sluice/telemetry"
	"sluice/waf"
	"sluice/waf/crs"
)

// security is which addresses are refused and how requests are inspected: what the
// configuration says, and what operators decided beside it. It is a part of the
// snapshot.
type security struct {
	addresses waf.Addresses // of all routes
	routes    []guarded     // by the route's index
}

// guarded is what holds for one route.
type guarded struct {
	addresses  waf.Addresses
	inspection *inspection            // nil: not inspected
	tenants    map[string]*inspection // where it differs
}

// inspectionFor returns how the requests of a tenant are inspected, nil when
// they are not.
func (s *guarded) inspectionFor(tenant string) *inspection {
	if tenant != "" && s.tenants != nil {
		if p, ok := s.tenants[tenant]; ok {
			return p
		}
	}
	return s.inspection
}

// decidedSecurity is what operators have decided, by name. Maps are immutable.
type decidedSecurity struct {
	lists map[string]store.AddressList
	rules map[string]store.SecurityRule
}

// decideSecurity takes what has changed into d, and reports whether anything has. An
// object that cannot be read leaves the one before: a list that is damaged must not
// let in whom it refused.
func (g *Gateway) decideSecurity(d *decidedSecurity, objects []store.Object) (changed bool) {
	before := g.decided.security
	lists, rules := maps.Clone(d.lists), maps.Clone(d.rules)
	if lists == nil {
		lists, rules = map[string]store.AddressList{}, map[string]store.SecurityRule{}
	}
	for _, o := range objects {
		var err error
		switch o.Kind {
		case store.KindAddressList:
			err = take(lists, before.lists, o, store.ParseAddressList)
		case store.KindSecurityRule:
			err = take(rules, before.rules, o, store.ParseSecurityRule)
		default:
			continue
		}
		changed = true
		if err != nil {
			g.rule(nil).fault(o, err)
		}
	}
	if changed {
		d.lists, d.rules = lists, rules
	}
	return changed
}

// take reads o into m, or keeps what was before.
func take[T any](m, before map[string]T, o store.Object, parse func(store.Object) (T, error)) error {
	if o.Body == nil {
		delete(m, o.ID)
		return nil
	}
	v, err := parse(o)
	if err == nil {
		m[o.ID] = v
	} else if was, ok := before[o.ID]; ok {
		m[o.ID] = was
	}
	return err
}

// protect compiles what the configuration of w and operators say of attackers. What
// an operator decided and this configuration cannot do, as an exclusion of a rule
// that it does not have, is logged.
func (g *Gateway) protect(w *snapshot) {
	c := compiler{g: g, doc: w.doc, out: w}
	w.engines, w.profiles = maps.Clone(w.engines), maps.Clone(w.profiles)
	c.protect(&g.decided.security)
	for _, p := range c.problems {
		g.deps.Log.Error("the firewall cannot do what was decided", telemetry.KeyError, p.Message)
	}
}

// protect compiles the address lists and how each route is inspected. d is nil for
// the configuration alone.
func (c *compiler) protect(d *decidedSecurity) {
	if d == nil {
		d = new(decidedSecurity)
	}
	lists := slices.SortedFunc(maps.Values(d.lists), func(a, b store.AddressList) int { return cmp.Compare(a.Name, b.Name) })
	rules := slices.SortedFunc(maps.Values(d.rules), func(a, b store.SecurityRule) int { return cmp.Compare(a.Name, b.Name) })
	if c.out.engines == nil {
		c.out.engines, c.out.profiles = make(map[string]*crs.Engine), make(map[string]*crs.Engine)
	}
	if c.out.gate == nil {
		c.out.gate = c.gate(&c.doc.WAF.Engine)
	}
	s := security{addresses: addressesOf(c.doc.WAF.IP, lists, nil), routes: make([]guarded, len(c.out.routes))}
	for i, r := range c.out.routes {
		route := &c.doc.Routes[i]
		s.routes[i] = guarded{addresses: addressesOf(route.IP, lists, r)}
		c.inspections(&s.routes[i], r, route, rules)
	}
	c.out.security = s
}

// addressesOf are the networks of the configuration and of the lists for r; nil: of
// those for every route.
func addressesOf(file conf.IPLists, lists []store.AddressList, r *route) waf.Addresses {
	deny, allow := conf.NetPrefixes(file.Deny), conf.NetPrefixes(file.Allow)
	for _, l := range lists {
		switch {
		case (l.Route == "") != (r == nil), r != nil && !r.called(l.Route):
		case l.Action == "allow":
			allow = append(allow, l.Networks...)
		default:
			deny = append(deny, l.Networks...)
		}
	}
	return waf.NewAddresses(deny, allow)
}

// called reports whether name names the route: its name, or its path.
func (r *route) called(name string) bool { return r.name == name || r.path == name }

// inspections compiles how one route is inspected.
func (c *compiler) inspections(s *guarded, r *route, route *conf.Route, rules []store.SecurityRule) {
	w, route, excluded := decreed(&c.doc.WAF, r, route, rules)
	s.inspection = c.inspection(w, route, excluded, "")
	tenants := make(map[string]bool)
	for name := range w.Tenants {
		tenants[name] = true
	}
	for _, x := range w.Exclude {
		if x.Tenant != "" && excludes(x, route) {
			tenants[x.Tenant] = true
		}
	}
	for _, x := range excluded {
		if x.Tenant != "" {
			tenants[x.Tenant] = true
		}
	}
	for name := range tenants {
		if s.tenants == nil {
			s.tenants = make(map[string]*inspection, len(tenants))
		}
		s.tenants[name] = c.inspection(w, route, excluded, name)
	}
}

// decreed is what the configuration says of the firewall on a route with the
// operators' rules in it, and the exclusions among those. Settings of everybody come
// first, then those of the route, then those of tenants, so that the more special
// one wins.
func decreed(w *conf.WAF, r *route, route *conf.Route, rules []store.SecurityRule) (*conf.WAF, *conf.Route, []store.SecurityRule) {
	var own, excluded []store.SecurityRule
	for _, x := range rules {
		switch {
		case x.Route != "" && !r.called(x.Route):
		case x.Excludes():
			excluded = append(excluded, x)
		default:
			own = append(own, x)
		}
	}
	if len(own) == 0 {
		return w, route, excluded
	}
	waf, at := *w, *route
	waf.Tenants = maps.Clone(w.Tenants)
	if waf.Tenants == nil {
		waf.Tenants = map[string]conf.WAFTenant{}
	}
	if at.WAF != nil {
		copied := *at.WAF
		at.WAF = &copied
	}
	special := func(x store.SecurityRule) int {
		n := 0
		if x.Route != "" {
			n++
		}
		if x.Tenant != "" {
			n += 2
		}
		return n
	}
	slices.SortStableFunc(own, func(a, b store.SecurityRule) int { return special(a) - special(b) })
	for _, x := range own {
		switch {
		case x.Tenant != "":
			of := waf.Tenants[x.Tenant]
			of.Mode, of.Threshold = cmp.Or(x.Mode, of.Mode), cmp.Or(x.Threshold, of.Threshold)
			waf.Tenants[x.Tenant] = of
		case x.Route != "":
			if at.WAF == nil {
				at.WAF = new(conf.RouteWAF)
			}
			at.WAF.Mode, at.WAF.Threshold = cmp.Or(x.Mode, at.WAF.Mode), cmp.Or(x.Threshold, at.WAF.Threshold)
		default:
			waf.Mode, waf.Threshold = cmp.Or(x.Mode, waf.Mode), cmp.Or(x.Threshold, waf.Threshold)
		}
	}
	return &waf, &at, excluded
}

// Security counts what operators decided: address lists and rules.
func (g *Gateway) Security() (lists, rules int) {
	g.deciding.Lock()
	defer g.deciding.Unlock()
	return len(g.decided.security.lists), len(g.decided.security.rules)
}

// CheckExclusion says why no engine in force has the rule, or a rule with the tag. A
// configuration that inspects nothing has no engine to ask.
func (g *Gateway) CheckExclusion(rule int, tag string) error {
	w := g.live.Load()
	if w == nil {
		return nil
	}
	asked := false
	for _, e := range w.engines {
		if e == nil {
			continue
		}
		if asked = true; len(e.Rules(rule, tag)) > 0 {
			return nil
		}
	}
	switch {
	case !asked:
		return nil
	case tag != "":
		return fmt.Errorf("no rule of the firewall has the tag %s", tag)
	}
	return errNoSuchRule
}

var errNoSuchRule = errors.New("the firewall has no rule with this id")

package proxy

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"sluice/auth"
	"sluice/conf"
	"sluice/internal/netset"
	"sluice/proxy/router"
	"sluice/proxy/upstream"
	"sluice/telemetry"
)

// compiler turns a document into a snapshot and collects what is wrong.
type compiler struct {
	g        *Gateway
	doc      *conf.Document
	out      *snapshot
	problems conf.Problems

	limitsRevision uint64
}

// Revision is a compiled configuration that is not in force yet.
type Revision struct{ world *snapshot }

// Document returns what the revision was compiled from.
func (r *Revision) Document() *conf.Document { return r.world.doc }

// Compile makes doc ready to be applied. It starts nothing, dials nothing and
// leaves no trace when the revision is never applied. Without a revision the
// problems say everything that is wrong, each with its place in the document.
func (g *Gateway) Compile(doc *conf.Document) (*Revision, conf.Problems) {
	c := compiler{g: g, doc: doc, out: &snapshot{
		doc:          doc,
		tenantHeader: http.CanonicalHeaderKey(doc.Auth.TenantHeader.Name),
		cors:         compileCORS(doc.CORS),
		headers:      compileHeaders(doc.Headers),
		shadow:       doc.Limits.Mode == "shadow",
	}}
	if number := g.deps.LimitsRevision; number != nil {
		c.limitsRevision = number(doc)
	}
	c.out.limitsRevision = c.limitsRevision
	if k := c.doc.Auth.APIKeys; k != nil {
		c.out.keyHeader, c.out.keyPrefix = http.CanonicalHeaderKey(k.Header), k.Prefix
	}
	drop := append(slices.Clone(stripped), c.out.tenantHeader)
	if c.out.keyHeader != "" {
		drop = append(drop, c.out.keyHeader) // keys are between clients and us
	}
	c.out.drop = upstream.NewNameSet(drop...)
	c.compileBans()
	c.compilePlaces()
	c.listeners()
	c.auth()
	c.limits()
	c.services()
	c.routes()
	if len(c.problems) == 0 {
		c.protect(nil) // what operators decided comes when it is applied
	}
	if len(c.problems) > 0 {
		c.problems.Sort()
		return nil, c.problems
	}
	return &Revision{c.out}, nil
}

func (c *compiler) fault(path string, err error) {
	if err != nil {
		c.problems = append(c.problems, conf.Problem{Position: c.doc.Pos(path), Path: path, Message: err.Error()})
	}
}

func (c *compiler) listeners() {
	c.out.listeners = make(map[string]*listenerRules, len(c.doc.Listeners))
	if live := c.g.live.Load(); live != nil {
		// A listener that is no longer named still answers what its connections
		// send while they end, by the rules that it had.
		maps.Copy(c.out.listeners, live.listeners)
	}
	for _, l := range c.doc.Listeners {
		c.out.listeners[l.Address] = &listenerRules{
			redirect:         l.Redirect == "https",
			trusted:          netset.New(conf.NetPrefixes(l.TrustedProxies)),
			keepEncodedSlash: l.EncodedSlash == "keep",
			metrics:          c.g.deps.Metrics.Listener(l.Address),
		}
	}
}

func (c *compiler) auth() {
	var previous *auth.Verifier
	if live := c.g.live.Load(); live != nil {
		previous = live.verifier
	}
	v, err := auth.Compile(c.doc.Auth, c.g.deps.Keys, auth.Options{Previous: previous})
	c.fault("auth", err)
	c.out.verifier = v
}

func (c *compiler) limits() {
	c.out.fileTiers = make(map[string]*tier, len(c.doc.Tiers))
	for name, l := range c.doc.Tiers {
		// One id for every tier: a tenant that changes tier keeps its count.
		p, err := c.policy(tenantPolicy, l)
		c.fault("tiers."+name, err)
		c.out.fileTiers[name] = &tier{name: name, limit: l, policy: p}
	}
	c.out.tiers = c.out.fileTiers
	c.out.defaultTier = c.out.tiers[c.doc.Limits.DefaultTier]
	if c.out.defaultTier == nil {
		c.fault("limits.default_tier", fmt.Errorf("there is no tier %q", c.doc.Limits.DefaultTier))
	}
	c.out.anonymous = c.optional("anonymous", "limits.anonymous", c.doc.Limits.Anonymous)
	c.out.perAddress = c.optional("address", "limits.address", c.doc.Limits.Address)
	c.out.exempt = c.g.deps.Metrics.Policy(exemptPolicy)
}

func (c *compiler) optional(id, path string, l *conf.Limit) *policy {
	if l == nil {
		return nil
	}
	p, err := c.policy(id, *l)
	c.fault(path, err)
	return p
}

// retryKinds are the failures of a try that each word of retry.on means.
var retryKinds = map[string][]upstream.Kind{
	"connect": {upstream.Connect, upstream.ConnectTimeout, upstream.Stale},
	"reset":   {upstream.Reset, upstream.Malformed},
	"timeout": {upstream.HeaderTimeout},
}

func (c *compiler) services() {
	c.out.services = make(map[string]*service, len(c.doc.Services))
	for name, s := range c.doc.Services {
		group, err := c.g.deps.Upstreams.Service(name, s)
		c.fault("services."+name, err)
		svc := &service{
			Service: group,
			host:    s.Host,
			hashed:  s.Balance == "hash",
			request: s.Timeout.Request.Std(),
			timeouts: upstream.Timeouts{
				Connect: s.Timeout.Connect.Std(), Header: s.Timeout.Header.Std(), Idle: s.Timeout.Idle.Std(),
			},
			retry:   retryPolicy{attempts: s.Retry.Attempts},
			metrics: c.g.deps.Metrics.Service(name),
		}
		for _, on := range s.Retry.On {
			for _, k := range retryKinds[on] {
				svc.retry.kinds |= 1 << k
			}
			switch on {
			case "502":
				svc.retry.statuses[0] = true
			case "503":
				svc.retry.statuses[1] = true
			case "504":
				svc.retry.statuses[2] = true
			}
		}
		c.out.services[name] = svc
	}
}

func (c *compiler) routes() {
	specs := make([]router.Spec, len(c.doc.Routes))
	for i := range c.doc.Routes {
		r := &c.doc.Routes[i]
		specs[i] = router.Spec{Host: r.Host, Path: r.Path, Methods: r.Methods, Headers: r.Headers, Tenants: r.Tenants, Tiers: r.Tiers}
		c.out.routes = append(c.out.routes, c.route(i, r))
	}
	compiled, err := router.Compile(specs)
	c.out.router = compiled
	if err == nil {
		return
	}
	for _, e := range unjoin(err) {
		path := "routes"
		var spec *router.SpecError
		if errors.As(e, &spec) {
			path = fmt.Sprintf("routes[%d]", spec.Index)
			if spec.Field != "" {
				path += "." + spec.Field
			}
			e = spec.Err
		}
		c.fault(path, e)
	}
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

func (c *compiler) route(i int, r *conf.Route) *route {
	path := fmt.Sprintf("routes[%d]", i)
	out := &route{
		index:   i,
		name:    routeName(r),
		path:    r.Path,
		require: r.Require,
		cost:    r.Cost,
		maxBody: -1,
		strip:   strings.TrimSuffix(r.Strip, "/"),
		timeout: r.Timeout.Std(),
		service: c.serviceNamed(path+".service", r.Service),
	}
	switch r.Auth {
	case "optional":
		out.auth = authOptional
	case "none":
		out.auth = authNone
	}
	if len(r.Require) > 0 {
		out.insufficient = auth.Insufficient(r.Require)
	}
	if r.MaxBody > 0 {
		out.maxBody = int64(r.MaxBody)
	}
	if r.Limit != nil {
		p, err := c.policy("route:"+out.name, r.Limit.Limit)
		c.fault(path+".limit", err)
		out.limit = &routeLimit{policy: p, by: r.Limit.By}
	}
	for _, name := range slices.Sorted(maps.Keys(r.SetHeaders)) {
		out.setHeaders = append(out.setHeaders, upstream.Field{Name: http.CanonicalHeaderKey(name), Value: r.SetHeaders[name]})
	}
	out.byTenant = c.chosen(path+".service_for.tenants", r.ServiceFor.Tenants)
	out.byTier = c.chosen(path+".service_for.tiers", r.ServiceFor.Tiers)
	out.metrics = make(map[*service]*telemetry.RouteMetrics)
	for _, s := range append(slices.Collect(maps.Values(out.byTenant)), append(slices.Collect(maps.Values(out.byTier)), out.service)...) {
		if s != nil && s.Service != nil {
			out.metrics[s] = c.g.deps.Metrics.Route(out.name, s.Name())
		}
	}
	return out
}

func (c *compiler) chosen(path string, names map[string]string) map[string]*service {
	out := make(map[string]*service, len(names))
	for who, name := range names {
		out[who] = c.serviceNamed(path+"."+who, name)
	}
	return out
}

func (c *compiler) serviceNamed(path, name string) *service {
	s := c.out.services[name]
	if s == nil {
		c.fault(path, fmt.Errorf("there is no service %q", name))
	}
	return s
}

// routeName is how a route is called in logs, metrics and limits unless the
// operator named it: what it matches, which is bounded by the configuration and
// tells it from every other route, never the path of a request.
func routeName(r *conf.Route) string {
	if r.Name != "" {
		return r.Name
	}
	name := r.Host + r.Path
	if len(r.Methods) > 0 {
		name = strings.Join(r.Methods, ",") + " " + name
	}
	for _, h := range slices.Sorted(maps.Keys(r.Headers)) {
		name += " " + h + ":" + r.Headers[h]
	}
	if len(r.Tenants) > 0 {
		name += " tenants=" + strings.Join(r.Tenants, ",")
	}
	if len(r.Tiers) > 0 {
		name += " tiers=" + strings.Join(r.Tiers, ",")
	}
	return name
}

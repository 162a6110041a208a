package telemetry

import (
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/VictoriaMetrics/metrics"

	"sluice/telemetry/series"
)

// MetricsOptions bounds the number of series. Zero fields take the defaults.
type MetricsOptions struct {
	// MaxTenants is how many tenants have series of their own: the first ones
	// seen; the rest count as other. Default: 1,000
	MaxTenants int
	// MaxNames bounds the routes, services, listeners and policies, each, over
	// the life of the process, reloads included. Default: 5,000
	MaxNames int
	// Version is the binary's, for sluice_build_info. Default: the main module's
	Version string
}

// maxTenantName is the longest tenant that is used as a label.
const maxTenantName = 256

// other is the label value of what is over a cap or outside a closed set, and
// none that of what does not apply.
const (
	other = "other"
	none  = "none"
)

// Metrics counts what this process does, and renders it for Prometheus. What is
// counted now and then is a counter of set; what several additions of every
// request count is kept in cells, which set renders beside its own.
//
// Handles ([RouteMetrics] and its siblings) are looked up when a configuration
// is compiled and kept in its snapshot; the same name gives the same handle, so
// counts go on across reloads. A request then costs one [Metrics.Observe].
type Metrics struct {
	set     *metrics.Set
	stripes *striper
	live    *Live

	routes    *bounded[routeKey, RouteMetrics]
	perRoute  *bounded[string, routeCells]
	services  *bounded[string, ServiceMetrics]
	listeners *bounded[string, ListenerMetrics]
	tenants   *bounded[string, TenantMetrics]
	policies  *bounded[string, PolicyMetrics]
	failures  *bounded[authFailure, metrics.Counter]

	waf      wafMetrics
	unrouted *RouteMetrics
	auth     []*metrics.Counter // one for each of authMethods

	mu         sync.Mutex
	collectors []func(Emit)                            // guarded by mu
	timings    map[string]*metrics.PrometheusHistogram // guarded by mu
}

// NewMetrics returns metrics that have counted nothing.
func NewMetrics(o MetricsOptions) *Metrics { return newMetrics(o, defaultStriper()) }

func newMetrics(o MetricsOptions, stripes *striper) *Metrics {
	if o.MaxTenants <= 0 {
		o.MaxTenants = 1000
	}
	if o.MaxNames <= 0 {
		o.MaxNames = 5000
	}
	m := &Metrics{set: metrics.NewSet(), stripes: stripes, live: newLive(stripes.stripes)}
	n := m.stripes.stripes
	m.perRoute = newBounded(o.MaxNames, other, m.capped("sluice_request_seconds"), func(route string) *routeCells {
		return &routeCells{route, newCells(n, routeSlots), m.live.route(route)}
	})
	m.routes = newBounded(o.MaxNames, routeKey{other, other}, m.capped("sluice_requests_total"), func(k routeKey) *RouteMetrics {
		return &RouteMetrics{k, m.perRoute.get(k.route), newCells(n, len(methods)*len(classes))}
	})
	m.services = newBounded(o.MaxNames, other, m.capped("sluice_upstream_seconds"), func(name string) *ServiceMetrics {
		return &ServiceMetrics{name, newCells(n, requestSeconds.slots()), m.counter("sluice_retries_total", name)}
	})
	m.listeners = newBounded(o.MaxNames, other, m.capped("sluice_overhead_seconds"), func(name string) *ListenerMetrics {
		return &ListenerMetrics{name, newCells(n, overheadSeconds.slots())}
	})
	m.tenants = newBounded(o.MaxTenants, other, m.capped("sluice_tenant_requests_total"), func(name string) *TenantMetrics {
		t := &TenantMetrics{name: name, cells: newCells(n, len(classes))}
		m.live.tenant(t)
		return t
	})
	m.policies = newBounded(o.MaxNames, other, m.capped("sluice_limit_decisions_total"), func(name string) *PolicyMetrics {
		return &PolicyMetrics{m.stripes, name, newCells(n, len(limitResults)*len(zones))}
	})
	m.failures = newBounded(maxAuthFailures, authFailure{other, other}, m.capped("sluice_auth_failures_total"), func(k authFailure) *metrics.Counter {
		return m.counter("sluice_auth_failures_total", k.method, k.reason)
	})
	m.newWAF(n)
	m.unrouted = m.Route(none, none)
	for _, method := range authMethods {
		m.auth = append(m.auth, m.counter("sluice_auth_total", method))
	}
	m.set.NewGauge(seriesName("sluice_build_info", buildInfo(o.Version)...), nil).Set(1)

	m.set.RegisterMetricsWriter(m.writeSamples)
	m.set.RegisterMetricsWriter(metrics.WriteProcessMetrics)
	m.set.RegisterMetricsWriter(metrics.WriteFDMetrics)
	return m
}

// counter returns the Set's counter of that family and label values.
func (m *Metrics) counter(family string, values ...string) *metrics.Counter {
	return m.set.GetOrCreateCounter(seriesName(family, values...))
}

// capped counts the look-ups of family that were over its cap. It is there from
// the start, because an alert on the increase needs the zero.
func (m *Metrics) capped(family string) *metrics.Counter {
	return m.counter("sluice_series_capped_total", family)
}

type routeKey struct{ route, service string }

// RouteMetrics counts the requests of one route to one service.
type RouteMetrics struct {
	key      routeKey
	route    *routeCells // shared by the services of the route
	requests cells       // method × class
}

// routeCells is the part of a route's metrics that has no service label.
type routeCells struct {
	name  string
	cells cells // request_seconds, request_bytes, response_bytes
	live  *liveBlock
}

// Where the histograms of a route start in its block.
var (
	slotRequestSeconds = 0
	slotRequestBytes   = slotRequestSeconds + requestSeconds.slots()
	slotResponseBytes  = slotRequestBytes + bodyBytes.slots()
	routeSlots         = slotResponseBytes + bodyBytes.slots()
)

// ServiceMetrics counts the exchanges with one service.
type ServiceMetrics struct {
	name    string
	cells   cells // upstream_seconds
	retries *metrics.Counter
}

// Retried counts a try after the first one.
func (s *ServiceMetrics) Retried() { s.retries.Inc() }

// ListenerMetrics measures what sluice adds to the requests of one listener.
type ListenerMetrics struct {
	name  string
	cells cells // overhead_seconds
}

// TenantMetrics counts the requests of one tenant.
type TenantMetrics struct {
	name  string
	cells cells // by class
	liveOf
}

// PolicyMetrics counts the decisions of one limit policy.
type PolicyMetrics struct {
	stripes *striper
	name    string
	cells   cells // result × zone
}

// Decided counts a decision: result is [LimitAdmit] or one of its siblings,
// zone [ZoneGreen] or one of its. Others count as other.
func (p *PolicyMetrics) Decided(result, zone string) {
	i := indexOf(limitResults, result)*len(zones) + indexOf(zones, zone)
	p.cells.add(p.stripes.stripe(), i, 1)
}

// Route returns the handle of a route and the service that it forwards to; a
// route that chooses between services has one handle for each. Look it up when
// compiling, not for each request.
func (m *Metrics) Route(route, service string) *RouteMetrics {
	return m.routes.get(routeKey{labelText(route), labelText(service)})
}

// Unrouted returns the handle of requests that no route matched.
func (m *Metrics) Unrouted() *RouteMetrics { return m.unrouted }

// Service returns the handle of a service.
func (m *Metrics) Service(name string) *ServiceMetrics { return m.services.get(labelText(name)) }

// Listener returns the handle of a listener, named by its address as configured.
func (m *Metrics) Listener(name string) *ListenerMetrics { return m.listeners.get(labelText(name)) }

// Policy returns the handle of a limit policy, named by its id.
func (m *Metrics) Policy(id string) *PolicyMetrics { return m.policies.get(labelText(id)) }

// labelText returns s as the label value that it becomes, so that one series has one
// handle.
func labelText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Tenant returns the handle of a tenant, or that of all others once there are
// too many or when name is too long or not UTF-8. It takes no lock for a tenant that is known and may be called for
// each request; pass it only tenants of verified credentials.
func (m *Metrics) Tenant(name string) *TenantMetrics {
	if len(name) > maxTenantName || !utf8.ValidString(name) {
		m.tenants.over.Inc()
		return m.tenants.rest
	}
	return m.tenants.get(name)
}

// Authenticated counts a request by how its caller was identified: [AuthJWT] or
// one of its siblings. It is one addition a request, for which a counter that
// the processors share costs less than choosing a stripe does (doc.go).
func (m *Metrics) Authenticated(method string) {
	m.auth[indexOf(authMethods, method)].Inc()
}

// maxAuthFailures bounds the pairs of method and reason.
const maxAuthFailures = 64

type authFailure struct{ method, reason string }

// AuthFailed counts a refused credential. Reason is one of a closed set of
// words, never a part of the credential.
func (m *Metrics) AuthFailed(method, reason string) {
	m.failures.get(authFailure{labelText(method), labelText(reason)}).Inc()
}

// Observation is what the metrics keep of one finished request.
type Observation struct {
	Route    *RouteMetrics    // nil: no route matched
	Service  *ServiceMetrics  // nil: not forwarded
	Listener *ListenerMetrics // nil: none, as in tests
	Tenant   *TenantMetrics   // nil: no tenant

	Method   string
	Status   int           // as sent; 499 when the client left first
	Duration time.Duration // first byte read to last byte written
	Upstream time.Duration // waiting for the service; not counted when Service is nil
	Overhead time.Duration // Duration less waiting for client and upstream
	BytesIn  int64         // request body
	BytesOut int64         // response body
}

// Observe counts one finished request in every family that it belongs to. It
// picks one stripe for all of them, takes no lock and allocates nothing; o may
// live on the stack.
func (m *Metrics) Observe(o *Observation) {
	s := m.stripes.stripe()
	class := classIndex(o.Status)
	r := o.Route
	if r == nil {
		r = m.unrouted
	}
	r.requests.add(s, methodIndex(o.Method)*len(classes)+class, 1)
	bucket := series.Index(o.Duration)
	r.route.live.observe(s, bucket, class, o)
	c := &r.route.cells
	requestSeconds.observe(c, s, slotRequestSeconds, int64(o.Duration))
	bodyBytes.observe(c, s, slotRequestBytes, o.BytesIn)
	bodyBytes.observe(c, s, slotResponseBytes, o.BytesOut)
	if o.Service != nil {
		requestSeconds.observe(&o.Service.cells, s, 0, int64(o.Upstream))
	}
	if o.Listener != nil {
		overheadSeconds.observe(&o.Listener.cells, s, 0, int64(o.Overhead))
	}
	if o.Tenant != nil {
		o.Tenant.cells.add(s, class, 1)
		o.Tenant.live.Load().observe(s, bucket, class, o)
	}
}

// The closed sets of label values. The last of each takes what is not in it.
var (
	methods      = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", other}
	classes      = []string{"1xx", "2xx", "3xx", "4xx", "5xx", other}
	limitResults = []string{LimitAdmit, LimitRefuse, LimitShadow, LimitBypass, LimitExempt, other}
	zones        = []string{ZoneGreen, ZoneAmber, ZoneRed, none}
	authMethods  = []string{AuthJWT, AuthKey, AuthAnonymous, other}
)

func indexOf(set []string, s string) int {
	if i := slices.Index(set, s); i >= 0 {
		return i
	}
	return len(set) - 1
}

// methodIndex is indexOf(methods, m). Methods are case-sensitive (RFC 9110 §9.1).
func methodIndex(m string) int {
	switch m {
	case "GET":
		return 0
	case "HEAD":
		return 1
	case "POST":
		return 2
	case "PUT":
		return 3
	case "PATCH":
		return 4
	case "DELETE":
		return 5
	case "CONNECT":
		return 6
	case "OPTIONS":
		return 7
	case "TRACE":
		return 8
	}
	return len(methods) - 1
}

func classIndex(status int) int {
	if c := status/100 - 1; status >= 100 && c < len(classes)-1 {
		return c
	}
	return len(classes) - 1
}

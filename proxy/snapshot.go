package proxy

import (
	"net/http"
	"strings"
	"time"

	"sluice/auth"
	"sluice/conf"
	"sluice/internal/netset"
	"sluice/proxy/router"
	"sluice/proxy/upstream"
	"sluice/telemetry"
	"sluice/waf/bans"
	"sluice/waf/crs"
	"sluice/waf/detector"
)

// snapshot is one configuration, compiled. It is immutable: a request loads it
// once and sees one configuration for its whole life, while the next one is
// already serving others. What lives longer (connections, key sets, buckets,
// counters) is borrowed from registries.
type snapshot struct {
	doc        *conf.Document
	listeners  map[string]*listenerRules // by address
	bans       *bans.Set                 // of the file
	places     *places                   // nil: no database
	suspicious *detector.Settings
	router     *router.Router
	routes     []*route // in the router's order
	services   map[string]*service
	verifier   *auth.Verifier

	tenantHeader string            // canonical
	keyHeader    string            // canonical; "": no API keys
	keyPrefix    string            // "": no API keys
	drop         *upstream.NameSet // client fields that never go on
	defaultTier  *tier
	fileTiers    map[string]*tier // of the configuration
	tiers        map[string]*tier // those, and before them what operators decided
	anonymous    *policy          // nil: no limit
	perAddress   *policy          // nil: no limit
	exempt       *telemetry.PolicyMetrics
	shadow       bool

	limitsRevision uint64
	rulings        rulings
	security       security

	cors    *cors                  // nil: none
	engines map[string]*crs.Engine // of the firewall, by what they were built from
	gate    *gate                  // what bounds them
	headers responseHeaders

	profiles map[string]*crs.Engine // the engines, by what the configuration says of them
}

// tierOf returns the tier that a token names; one that does not exist is the
// default tier, as for a tenant that names none.
func (s *snapshot) tierOf(name string) *tier {
	if t, ok := s.tiers[name]; ok {
		return t
	}
	return s.defaultTier
}

// listenerRules are what holds for the requests of one listener.
type listenerRules struct {
	redirect         bool
	trusted          netset.Set
	keepEncodedSlash bool
	metrics          *telemetry.ListenerMetrics
}

// authMode says whether a route looks at credentials.
type authMode uint8

const (
	authRequired authMode = iota // the zero value denies
	authOptional
	authNone
)

// route is one compiled route.
type route struct {
	index        int // in snapshot.routes
	name         string
	path         string // as the configuration has it
	auth         authMode
	require      []string
	insufficient *auth.Error // the refusal of a caller without require
	limit        *routeLimit // nil: none
	cost         int64
	maxBody      int64 // -1: any
	strip        string
	timeout      time.Duration // 0: the service's
	setHeaders   []upstream.Field

	service  *service
	byTenant map[string]*service
	byTier   map[string]*service
	metrics  map[*service]*telemetry.RouteMetrics
}

// serviceFor chooses the service: the tenant's own, the tier's, or the route's.
func (r *route) serviceFor(tenant, tier string) *service {
	if tenant != "" {
		if s, ok := r.byTenant[tenant]; ok {
			return s
		}
		if s, ok := r.byTier[tier]; ok {
			return s
		}
	}
	return r.service
}

// service is one compiled service: the upstreams, and how to talk to them.
type service struct {
	*upstream.Service
	host     string // "": the client's
	hashed   bool   // balance: hash
	timeouts upstream.Timeouts
	request  time.Duration
	retry    retryPolicy
	metrics  *telemetry.ServiceMetrics
}

// announced reports whether a Trailer field names the trailer name (RFC 9110 §6.6.2).
func announced(lines []string, name string) bool {
	for _, line := range lines {
		for n := range strings.SplitSeq(line, ",") {
			if http.CanonicalHeaderKey(strings.TrimSpace(n)) == name {
				return true
			}
		}
	}
	return false
}

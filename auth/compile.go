package auth

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sluice/conf"
)

// Defaults of conf.Auth, for those who compile a section that was not loaded.
const (
	defaultTenantClaim      = "org_id"
	defaultPermissionsClaim = "permissions"
	defaultLeeway           = 30 * time.Second
	defaultCacheTokens      = 100_000
	defaultTenantHeader     = "X-Tenant-ID"
	maxLeeway               = 10 * time.Minute
)

var (
	defaultAlgorithms = []string{"RS256", "ES256", "EdDSA"}

	// acceptable are the asymmetric algorithms that can be configured at all.
	acceptable = append([]string{"ES256", "ES384", "EdDSA"}, rsaAlgorithms...)
)

// Options of [Compile].
type Options struct {
	// Previous is the verifier that this one is to replace. With the same issuers
	// and the same key store its remembered tokens are kept; with other issuers
	// only its counters are. Nil is fine.
	Previous *Verifier
}

// settings are the part of conf.Auth that decides what a token proves. Tokens are
// remembered across configurations that agree in all of it.
type settings struct {
	issuers    []conf.Issuer
	superAdmin string
	capacity   int
}

// trustedIssuer is one compiled conf.Issuer.
type trustedIssuer struct {
	name             string // iss
	audience         string
	keys             string // JWKS URL
	algorithms       []string
	rsaAlgorithm     string // of RSA keys that do not say theirs
	tenantClaim      string
	tierClaim        string
	permissionsClaim string
	leeway           time.Duration
	checks           []jwt.ParserOption // of its claims, but for the time
	tally            *tally
}

// Compile makes the verifier of a configuration, or an error that joins every
// fault in it. It starts nothing, fetches nothing and changes nothing: the
// verifier's key sets are fetched once [KeyStore.Use] is told of them.
func Compile(a conf.Auth, keys *KeyStore, o Options) (*Verifier, error) {
	v := &Verifier{
		keys:     keys,
		settings: settings{a.Issuers, a.SuperAdminPermission, a.CacheTokens},
		issuers:  map[string][]*trustedIssuer{},
		header:   http.CanonicalHeaderKey(cmp.Or(a.TenantHeader.Name, defaultTenantHeader)),
	}
	var faults []error
	fault := func(path, format string, args ...any) {
		faults = append(faults, fmt.Errorf("auth."+path+": "+format, args...))
	}
	switch a.TenantHeader.Trust {
	case "", "never":
	case "trusted_proxies":
		v.trustHeader = true
	default:
		fault("tenant_header.trust", "%q is neither never nor trusted_proxies", a.TenantHeader.Trust)
	}
	capacity := a.CacheTokens
	if capacity == 0 {
		capacity = defaultCacheTokens
	}
	if capacity < 0 || capacity > maxEntries {
		fault("cache_tokens", "%d is not between 1 and %d", capacity, maxEntries)
	}
	for i, c := range a.Issuers {
		path := fmt.Sprintf("issuers[%d].", i)
		is := compileIssuer(c, func(key, format string, args ...any) { fault(path+key, format, args...) })
		for _, other := range v.issuers[is.name] {
			if other.audience == is.audience {
				fault(path+"issuer", "%q with audience %q is there twice", is.name, is.audience)
			}
		}
		v.issuers[is.name] = append(v.issuers[is.name], is)
		v.order = append(v.order, is)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	v.borrow(o.Previous, capacity)
	return v, nil
}

// borrow takes over from prev what may be, and makes the rest.
func (v *Verifier) borrow(prev *Verifier, capacity int) {
	if prev != nil && prev.keys == v.keys && reflect.DeepEqual(prev.settings, v.settings) {
		v.cache = prev.cache
	} else {
		v.cache = newTokenCache(capacity)
	}
	for _, is := range v.order {
		is.tally = new(tally)
		if prev == nil {
			continue
		}
		for _, former := range prev.issuers[is.name] {
			if former.audience == is.audience {
				is.tally = former.tally
			}
		}
	}
}

func compileIssuer(c conf.Issuer, fault func(key, format string, args ...any)) *trustedIssuer {
	is := &trustedIssuer{
		name:             c.Issuer,
		audience:         c.Audience,
		keys:             c.JWKSURL,
		algorithms:       slices.Clone(c.Algorithms),
		tenantClaim:      c.TenantClaim,
		tierClaim:        c.TierClaim,
		permissionsClaim: c.PermissionsClaim,
		leeway:           c.Leeway.Std(),
	}
	if is.name == "" {
		fault("issuer", "is missing")
	}
	if is.audience == "" {
		// Without it, a token for any other service of the issuer would do.
		fault("audience", "is missing")
	}
	if is.keys == "" {
		is.keys = strings.TrimSuffix(is.name, "/") + "/.well-known/jwks.json"
	}
	if err := checkKeysURL(is.keys); err != nil {
		fault("jwks_url", "%v", err)
	}
	if is.algorithms == nil {
		is.algorithms = defaultAlgorithms
	}
	for _, algorithm := range is.algorithms {
		if !slices.Contains(acceptable, algorithm) {
			fault("algorithms", "%q is not accepted; one of %s is", algorithm, strings.Join(acceptable, ", "))
		}
	}
	is.rsaAlgorithm = soleRSA(is.algorithms)
	if is.tenantClaim == "" {
		is.tenantClaim = defaultTenantClaim
	}
	if is.permissionsClaim == "" {
		is.permissionsClaim = defaultPermissionsClaim
	}
	if is.leeway == 0 {
		is.leeway = defaultLeeway
	}
	if is.leeway < 0 || is.leeway > maxLeeway {
		fault("leeway", "%v is not between 0 and %v", is.leeway, maxLeeway)
	}
	is.checks = []jwt.ParserOption{
		jwt.WithIssuer(is.name), jwt.WithAudience(is.audience), jwt.WithLeeway(is.leeway),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
	}
	return is
}

// soleRSA is the algorithm of RSA keys that name none: the only RSA algorithm of
// the list, or else RS256. A key is never used with two.
func soleRSA(algorithms []string) string {
	var sole string
	for _, algorithm := range algorithms {
		if slices.Contains(rsaAlgorithms, algorithm) {
			if sole != "" && sole != algorithm {
				return "RS256"
			}
			sole = algorithm
		}
	}
	if sole == "" {
		return "RS256"
	}
	return sole
}

func checkKeysURL(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("is not a URL")
	}
	switch u.Scheme {
	case "https", "http":
		if u.Host == "" {
			return fmt.Errorf("%q has no host", u.Redacted())
		}
	case "file":
		if u.Host != "" && u.Host != "localhost" || u.Path == "" {
			return fmt.Errorf("%q is not file:///path", address)
		}
	default:
		return fmt.Errorf("%q is not a https, http or file URL", u.Redacted())
	}
	return nil
}

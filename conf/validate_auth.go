package conf

import (
	"net/netip"
	"slices"
	"strings"
)

// signatureAlgorithms are the asymmetric ones of RFC 7518 §3.1 and RFC 8037.
var signatureAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"}

func (v *validator) auth() {
	a := &v.doc.Auth
	seen := map[string]int{}
	for i := range a.Issuers {
		is := &a.Issuers[i]
		path := indexPath("auth.issuers", i)
		v.issuer(path, is)
		if first, ok := seen[is.Issuer]; ok && is.Issuer != "" {
			v.errorf(path+".issuer", "remove one of them", "%s is already %s", v.quote(path+".issuer", is.Issuer), indexPath("auth.issuers", first))
			continue
		}
		seen[is.Issuer] = i
	}
	if k := a.APIKeys; k != nil {
		v.headerName("auth.api_keys.header", k.Header)
		if strings.Trim(k.Prefix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" || len(k.Prefix) > 16 {
			v.errorf("auth.api_keys.prefix", "write up to 16 letters and digits, such as slc", "%s is no prefix of keys", v.quote("auth.api_keys.prefix", k.Prefix))
		}
		if strings.EqualFold(k.Header, a.TenantHeader.Name) {
			v.errorf("auth.api_keys.header", "give them different names", "the tenant header has the same name")
		}
	}
	v.headerName("auth.tenant_header.name", a.TenantHeader.Name)
	if strings.EqualFold(a.TenantHeader.Name, "Authorization") {
		v.errorf("auth.tenant_header.name", "write X-Tenant-ID", "the header carries credentials")
	}
	if a.TenantHeader.Trust == "trusted_proxies" && !v.anyTrusted() {
		v.warnf("auth.tenant_header.trust", "name networks in a listener's trusted_proxies", "no listener trusts a proxy, so no tenant header is believed")
	}
}

func (v *validator) anyTrusted() bool {
	return slices.ContainsFunc(v.doc.Listeners, func(l Listener) bool { return len(l.TrustedProxies) > 0 })
}

func (v *validator) issuer(path string, is *Issuer) {
	v.issuerURL(path+".issuer", is.Issuer)
	if v.given(path+".jwks_url") && !v.broken(path+".jwks_url") {
		u, err := webURL(is.JWKSURL, "https", "http", "file")
		v.syntax(path+".jwks_url", is.JWKSURL, err)
		if err == nil && u.User != nil {
			v.errorf(path+".jwks_url", "leave user and password out; keys are public", "the URL holds a user or a password")
		} else if err == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
			v.warnf(path+".jwks_url", "use https", "keys fetched without TLS can be replaced on the way")
		}
	}
	if v.given(path+".algorithms") && len(is.Algorithms) == 0 {
		v.errorf(path+".algorithms", "remove the key for RS256, ES256 and EdDSA", "no algorithm is accepted")
	}
	for i, name := range is.Algorithms {
		v.algorithm(indexPath(path+".algorithms", i), name)
	}
	v.unique(path+".algorithms", is.Algorithms, same)
}

func (v *validator) algorithm(path, name string) {
	if name == "" || slices.Contains(signatureAlgorithms, name) {
		return
	}
	hint := "write one of " + strings.Join(signatureAlgorithms, ", ")
	switch upper := strings.ToUpper(name); {
	case strings.HasPrefix(upper, "HS"):
		v.errorf(path, hint, "%s is refused: its key would let sluice, and whoever reads its configuration, issue tokens", v.quote(path, name))
	case upper == "NONE":
		v.errorf(path, hint, "%s is refused: anybody could write a token without a signature", v.quote(path, name))
	default:
		if _, written := v.dec.written[path]; !written {
			hint = didYouMean(name, "algorithms", signatureAlgorithms)
		}
		v.errorf(path, hint, "unknown algorithm %s", v.quote(path, name))
	}
}

// issuerURL checks an OpenID Connect issuer (OpenID Connect Discovery 1.0 §3).
func (v *validator) issuerURL(path, issuer string) {
	if v.broken(path) || issuer == "" {
		return
	}
	u, err := webURL(issuer, "https", "http")
	switch {
	case err != nil:
		v.syntax(path, issuer, err)
	case u.User != nil:
		v.errorf(path, "leave user and password out", "the URL holds a user or a password")
	case u.RawQuery != "" || u.Fragment != "":
		v.errorf(path, "write the value of the tokens' iss claim", "%s has a query or a fragment", v.quote(path, issuer))
	case u.Scheme == "http" && !loopback(u.Hostname()):
		v.warnf(path, "use https", "an issuer without TLS can be impersonated")
	case strings.HasSuffix(u.Hostname(), ".auth0.com") && u.Path == "":
		v.warnf(path, "add the slash: https://…auth0.com/", "Auth0's iss claim ends with a slash; without it no token will match")
	}
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// headerName checks the name of a header.
func (v *validator) headerName(path, name string) bool {
	if name == "" || v.broken(path) || token(name) {
		return true
	}
	v.keyErrorf(path, "write letters, digits and dashes, such as X-Tenant-ID", "%s is no name of a header", v.quote(path, name))
	return false
}

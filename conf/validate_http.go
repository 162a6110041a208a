package conf

import (
	"net/textproto"
	"net/url"
	"slices"
	"strings"
)

// Headers that frame a message or belong to one connection (RFC 9110 §7.6.1):
// setting one by hand breaks requests or smuggles them.
var (
	responseFraming = []string{"Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}
	requestFraming  = append([]string{"Host"}, responseFraming...)
)

// setHeaders checks headers that are set on a message; an empty value removes one.
func (v *validator) setHeaders(path string, headers map[string]string, framing []string) {
	seen := map[string]string{}
	for _, name := range sortedKeys(headers) {
		at := keyPath(path, name)
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		value := headers[name]
		switch {
		case v.broken(at) || !v.headerName(at, name):
		case canonical == "Host":
			v.keyErrorf(at, "write the service's host", "the Host header is set by the service")
		case slices.Contains(framing, canonical):
			v.keyErrorf(at, "remove it; it is set where it belongs", "the header says where a message ends, or belongs to one connection")
		case slices.Contains(framing, "Host") && strings.EqualFold(name, v.doc.Auth.TenantHeader.Name):
			v.keyErrorf(at, "remove it", "the header tells services the tenant and is set from the credential alone")
		case seen[canonical] != "":
			v.keyErrorf(at, "remove one of them", "the header is already set as %s", seen[canonical])
		case !fieldValue(value):
			v.errorf(at, "write it without control characters and outer spaces", "this is no value of a header")
		}
		seen[canonical] = name
	}
}

// browser checks what is said to browsers: CORS and security headers.
func (v *validator) browser() {
	v.setHeaders("headers.set", v.doc.Headers.Set, responseFraming)
	c := v.doc.CORS
	if c == nil || v.broken("cors") {
		return
	}
	if len(c.Origins) == 0 && v.given("cors.origins") {
		v.errorf("cors.origins", "name the origins of your pages, such as https://app.example.com, or remove cors", "there is no origin")
	}
	for i, origin := range c.Origins {
		at := indexPath("cors.origins", i)
		if origin == "" || v.broken(at) {
			continue
		}
		if origin != "*" {
			v.syntax(at, origin, originPattern(origin))
			continue
		}
		if c.Credentials {
			v.errorf(at, "name the origins, or remove credentials", "* with credentials would let every page on the web act for its visitor")
		} else if len(c.Origins) > 1 {
			v.errorf(at, "keep * alone, or remove it", "* already covers the other origins")
		}
	}
	v.unique("cors.origins", c.Origins, strings.ToLower)
	v.methods("cors.methods", c.Methods)
	for key, names := range map[string][]string{"cors.headers": c.Headers, "cors.expose": c.Expose} {
		for i, name := range names {
			at := indexPath(key, i)
			if name == "*" && c.Credentials {
				v.errorf(at, "name the headers", "with credentials browsers take * as a header of that name")
			}
			v.headerName(at, name)
		}
		v.unique(key, names, strings.ToLower)
	}
}

// originPattern checks an origin (RFC 6454 §6.2), or https://*.example.com.
func originPattern(origin string) *valueError {
	const hint = "write scheme and host, such as https://app.example.com"
	if origin == "null" {
		return &valueError{"is the origin of sandboxed and local pages of anybody", "name the origins of your pages"}
	}
	scheme, host, ok := strings.Cut(origin, "://")
	if !ok || scheme == "" {
		return &valueError{"has no scheme", hint}
	}
	if strings.ContainsAny(host, "/?#@") {
		return &valueError{"has more than scheme, host and port", "write it without a slash or path at the end"}
	}
	bare := strings.TrimPrefix(host, "*.")
	if strings.Contains(bare, "*") {
		return &valueError{"has a * that is not its first label", "write https://*.example.com"}
	}
	if !variableName(strings.NewReplacer("-", "_", "+", "_", ".", "_").Replace(scheme)) {
		return &valueError{"has no valid scheme", hint}
	}
	u, err := url.Parse("http://" + bare)
	if err != nil || !validHost(u.Hostname()) || strings.HasSuffix(host, ":") {
		return &valueError{"has no valid host", hint}
	}
	if scheme == "https" && u.Port() == "443" || scheme == "http" && u.Port() == "80" {
		return &valueError{"names the default port, which browsers leave out", "write it without the port"}
	}
	return nil
}

package conf

import (
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

func (v *validator) routes() {
	services, tiers := sortedKeys(v.doc.Services), sortedKeys(v.doc.Tiers)
	for i := range v.doc.Routes {
		rt := &v.doc.Routes[i]
		path := indexPath("routes", i)
		v.reference(path+".service", rt.Service, "service", "services", services)
		for _, tenant := range sortedKeys(rt.ServiceFor.Tenants) {
			v.reference(keyPath(path+".service_for.tenants", tenant), rt.ServiceFor.Tenants[tenant], "service", "services", services)
		}
		for _, tier := range sortedKeys(rt.ServiceFor.Tiers) {
			at := keyPath(path+".service_for.tiers", tier)
			if _, ok := v.doc.Tiers[tier]; !ok && !v.broken("tiers") {
				v.keyErrorf(at, didYouMean(tier, "tiers", tiers), "there is no tier %q", tier)
			}
			v.reference(at, rt.ServiceFor.Tiers[tier], "service", "services", services)
		}
		for j, tier := range rt.Tiers {
			v.reference(indexPath(path+".tiers", j), tier, "tier", "tiers", tiers)
		}
		v.unique(path+".tiers", rt.Tiers, same)
		v.unique(path+".tenants", rt.Tenants, same)
		v.unique(path+".require", rt.Require, same)
		v.match(path, rt)
		v.access(path, rt)
		v.strip(path, rt)
		v.cost(path, rt)
		v.setHeaders(path+".set_headers", rt.SetHeaders, requestFraming)
	}
	v.routeNames()
	v.sameRequests()
	v.nobodyToBelieve()
}

// unreachable warns about a file that is right but serves nothing. A file with
// errors has other worries.
func (v *validator) unreachable() {
	if len(v.doc.Routes) == 0 && v.dec.problems.Err() == nil {
		v.warnf("routes", "add one, such as {path: /*, service: NAME}", "there are no routes, so every request is answered with 404")
	}
}

// match checks the conditions of a route.
func (v *validator) match(path string, rt *Route) {
	if rt.Path != "" && !v.broken(path+".path") {
		v.syntax(path+".path", rt.Path, pathPattern(rt.Path))
	}
	if rt.Host != "" && !v.broken(path+".host") {
		v.syntax(path+".host", rt.Host, hostPattern(rt.Host))
	}
	v.methods(path+".methods", rt.Methods)
	seen := map[string]string{}
	for _, name := range sortedKeys(rt.Headers) {
		at := keyPath(path+".headers", name)
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		switch value := rt.Headers[name]; {
		case !v.headerName(at, name):
		case canonical == "Host":
			v.keyErrorf(at, "write the route's host", "the Host header is matched by host")
		case seen[canonical] != "":
			v.keyErrorf(at, "remove one of them", "the header is already named as %s", seen[canonical])
		case value == "" && !v.broken(at):
			v.errorf(at, "write the value, or * for any", "there is no value")
		case !fieldValue(value):
			v.errorf(at, "write it without control characters and outer spaces", "%s is no value of a header", v.quote(at, value))
		}
		seen[canonical] = name
	}
}

var standardMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodOptions, http.MethodTrace, http.MethodConnect,
}

// methods checks a list of methods, which are told apart by case (RFC 9110 §9.1).
func (v *validator) methods(path string, methods []string) {
	for i, m := range methods {
		at := indexPath(path, i)
		switch upper := strings.ToUpper(m); {
		case m == "" || v.broken(at):
		case !token(m):
			v.errorf(at, "write a method, such as GET", "%s is not a method", v.quote(at, m))
		case m == "*":
			v.errorf(at, "remove methods: without it every method matches", "* is not a method")
		case upper != m && slices.Contains(standardMethods, upper):
			v.errorf(at, "write "+upper, "%s is not the method %s: case counts", v.quote(at, m), upper)
		case !slices.Contains(standardMethods, upper):
			if s := suggest(m, standardMethods); s != "" {
				v.warnf(at, "did you mean "+s+"?", "%s is no standard method", v.quote(at, m))
			}
		}
	}
	v.unique(path, methods, same)
}

// access checks that what a route asks of its callers can be known.
func (v *validator) access(path string, rt *Route) {
	if rt.Auth != "none" {
		return
	}
	const hint = "write auth: required or auth: optional, or remove this"
	for _, c := range []struct {
		key  string
		used bool
	}{
		{"tenants", len(rt.Tenants) > 0},
		{"tiers", len(rt.Tiers) > 0},
		{"require", len(rt.Require) > 0},
		{"service_for.tenants", len(rt.ServiceFor.Tenants) > 0},
		{"service_for.tiers", len(rt.ServiceFor.Tiers) > 0},
		{"limit.by", rt.Limit != nil && rt.Limit.By == "subject"},
	} {
		if c.used {
			v.errorf(path+"."+c.key, hint, "with auth: none the caller is not known")
		}
	}
}

func (v *validator) strip(path string, rt *Route) {
	at := path + ".strip"
	if rt.Strip == "" || rt.Path == "" || v.broken(at) || v.broken(path+".path") {
		return
	}
	prefix := strings.TrimSuffix(rt.Path, "*")
	switch {
	case rt.Strip == "/" || strings.HasSuffix(rt.Strip, "/"):
		v.errorf(at, "write it without the closing slash, or remove it", "%s ends with a slash", v.quote(at, rt.Strip))
	case strings.ContainsAny(rt.Strip, "{}*"):
		v.errorf(at, "write the plain beginning of the path", "%s is a pattern", v.quote(at, rt.Strip))
	case rt.Strip != rt.Path && !strings.HasPrefix(prefix, rt.Strip+"/"):
		v.errorf(at, "write whole segments from the beginning of path", "%s is no prefix of %s", v.quote(at, rt.Strip), v.quote(path+".path", rt.Path))
	}
}

// routeNames reports names that the file gives to two routes: logs, metrics and
// exclusions could not tell them apart.
func (v *validator) routeNames() {
	first := map[string]int{}
	for i, rt := range v.doc.Routes {
		at := indexPath("routes", i) + ".name"
		if !v.given(at) || rt.Name == "" || rt.Name == routeName(&rt) {
			continue // its own name by default, which tenants and headers may share
		}
		if j, ok := first[rt.Name]; ok {
			v.errorf(at, "give each route its own name", "%s is already the name of %s", v.quote(at, rt.Name), indexPath("routes", j))
			continue
		}
		first[rt.Name] = i
	}
}

// sameRequests reports routes that match the same requests, and routes that only
// tenant or tier tells apart but that disagree on auth: whether a credential is
// wanted must be known before the tenant is.
func (v *validator) sameRequests() {
	type request struct{ host, path, headers, method string }
	type audience struct {
		request
		tenant, tier string
	}
	taken := map[audience]int{}
	wants := map[request]int{}
	for i := range v.doc.Routes {
		rt := &v.doc.Routes[i]
		at := indexPath("routes", i)
		if rt.Path == "" || v.broken(at+".path") || v.broken(at+".host") || v.broken(at) {
			continue
		}
		rival, dissent := -1, -1
		for _, method := range orAny(rt.Methods) {
			r := request{routeHost(rt.Host), pathShape(rt.Path), headerShape(rt.Headers), method}
			if j, ok := wants[r]; !ok {
				wants[r] = i
			} else if v.doc.Routes[j].Auth != rt.Auth && dissent < 0 {
				dissent = j
			}
			for _, tenant := range orAny(rt.Tenants) {
				for _, tier := range orAny(rt.Tiers) {
					a := audience{r, tenant, tier}
					if j, ok := taken[a]; !ok {
						taken[a] = i
					} else if j != i && (rival < 0 || j < rival) {
						rival = j
					}
				}
			}
		}
		switch {
		case rival >= 0:
			v.errorf(at+".path", "give them different hosts, paths, methods, headers, tenants or tiers", "matches the same requests as %s", v.routeAt(rival))
		case dissent >= 0 && !v.broken(at+".auth") && !v.broken(indexPath("routes", dissent)+".auth"):
			where := at + ".auth"
			if !v.given(where) {
				where = at + ".path"
			}
			v.errorf(where, "write the same auth in both", "auth is %s here but %s in %s, which only tenant or tier tells apart", rt.Auth, v.doc.Routes[dissent].Auth, v.routeAt(dissent))
		}
	}
}

// routeAt names route i with its line.
func (v *validator) routeAt(i int) string {
	path := indexPath("routes", i)
	return fmt.Sprintf("%s in line %d", path, v.pos(path+".path").Line)
}

func orAny(words []string) []string {
	if len(words) == 0 {
		return []string{""}
	}
	return words
}

func routeHost(host string) string {
	if host == "*" {
		return ""
	}
	return strings.ToLower(host)
}

// pathShape is path with its parameters unnamed: what it matches.
func pathShape(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if strings.HasPrefix(s, "{") {
			segments[i] = "{}"
		}
	}
	return strings.Join(segments, "/")
}

func headerShape(headers map[string]string) string {
	var lines []string
	for name, value := range headers {
		lines = append(lines, textproto.CanonicalMIMEHeaderKey(name)+"\x00"+value)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\x01")
}

// nobodyToBelieve warns once when routes want a credential and none can be valid.
func (v *validator) nobodyToBelieve() {
	a := &v.doc.Auth
	if len(a.Issuers) > 0 || a.APIKeys != nil || v.broken("auth") || v.broken("auth.issuers") {
		return
	}
	first, count := "", 0
	for i, rt := range v.doc.Routes {
		if rt.Auth != "required" {
			continue
		}
		if count++; first == "" {
			if first = indexPath("routes", i) + ".auth"; !v.given(first) {
				first = indexPath("routes", i)
			}
		}
	}
	if count > 0 {
		v.warnf(first, "add auth.issuers, or write auth: none", "no credential can be valid, so %s answers 401 to everybody", counted(count, "route"))
	}
}

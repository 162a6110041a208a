package conf

import (
	"net/url"
	"strings"
)

func (v *validator) services() {
	used := v.usedServices()
	for _, name := range sortedKeys(v.doc.Services) {
		s := v.doc.Services[name]
		path := keyPath("services", name)
		v.upstreams(path, &s)
		v.timeouts(path, &s)
		v.checks(path, &s)
		if s.Host != "" {
			bare, _, _ := strings.Cut(s.Host, ":")
			if _, _, err := hostPort(s.Host); err != nil && !validHost(s.Host) || !validHost(bare) && !strings.HasPrefix(s.Host, "[") {
				v.errorf(path+".host", "write a host name, with a port if need be, such as api.internal", "%s is not a host", v.quote(path+".host", s.Host))
			}
		}
		v.unique(path+".retry.on", s.Retry.On, same)
		if s.MaxIdle > s.MaxConns && s.MaxConns > 0 && v.given(path+".max_idle") {
			v.warnf(path+".max_idle", "write at most max_connections", "there are never more than %d connections, so never %d idle ones", s.MaxConns, s.MaxIdle)
		}
		v.openAPI(path+".openapi", s.OpenAPI)
		if used != nil && !used[name] && !v.broken(path) && !v.broken("routes") {
			v.warnf(path, "name it in a route, or remove it", "no route uses this service")
		}
	}
}

// usedServices returns the services that routes name, or nil when a name that
// does not exist may have been meant for any of them.
func (v *validator) usedServices() map[string]bool {
	used := map[string]bool{}
	for i, rt := range v.doc.Routes {
		if _, ok := v.doc.Services[rt.Service]; !ok || v.broken(indexPath("routes", i)) {
			return nil
		}
		used[rt.Service] = true
		for _, name := range rt.ServiceFor.Tenants {
			used[name] = true
		}
		for _, name := range rt.ServiceFor.Tiers {
			used[name] = true
		}
	}
	return used
}

func (v *validator) upstreams(path string, s *Service) {
	list := path + ".upstreams"
	if len(s.Upstreams) == 0 && v.given(list) {
		v.errorf(list, `add one, such as "http://127.0.0.1:8000"`, "there is no upstream")
	}
	seen := map[string]int{}
	anyTLS := false
	for i, up := range s.Upstreams {
		at := indexPath(list, i) + ".url"
		if v.broken(indexPath(list, i)) || v.broken(at) || up.URL == "" {
			anyTLS = true // unknown: say nothing about it below
			continue
		}
		u, err := webURL(up.URL, "http", "https")
		if err != nil {
			v.syntax(at, up.URL, err)
			continue
		}
		v.upstreamURL(at, up.URL, u)
		anyTLS = anyTLS || u.Scheme == "https"
		if u.Scheme == "https" && s.Protocol == "h2c" {
			v.errorf(at, "write http://, or remove protocol: h2c", "h2c is HTTP/2 without TLS, but the upstream is https")
		}
		key := u.Scheme + "://" + strings.ToLower(u.Host) + strings.TrimSuffix(u.Path, "/")
		if first, ok := seen[key]; ok {
			v.errorf(at, "give it a weight instead", "the upstream is already %s", indexPath(list, first))
			continue
		}
		seen[key] = i
	}
	if s.TLS == nil || v.broken(path+".tls") {
		return
	}
	if !anyTLS && len(s.Upstreams) > 0 {
		v.warnf(path+".tls", "write https:// upstreams, or remove tls", "no upstream is https, so nothing is verified")
	}
	if s.TLS.InsecureSkipVerify {
		v.warnf(path+".tls.insecure_skip_verify", "name the authority in tls.ca instead", "whoever stands between can read and change everything")
	}
}

func (v *validator) upstreamURL(path, text string, u *url.URL) {
	switch {
	case u.User != nil:
		v.errorf(path, "set the header in the route: set_headers: {Authorization: ${…}}", "the URL holds a user or a password")
	case u.RawQuery != "" || u.ForceQuery:
		v.errorf(path, "write scheme, host, port and path alone", "%s has a query", v.quote(path, text))
	case u.Fragment != "" || strings.HasSuffix(text, "#"):
		v.errorf(path, "write scheme, host, port and path alone", "%s has a fragment", v.quote(path, text))
	case strings.Contains(u.Path, "*") || strings.Contains(u.Path, "{"):
		v.errorf(path, "write the plain prefix; the rest of the request's path is added", "%s has a pattern in its path", v.quote(path, text))
	case strings.Contains(u.Path+"/", "/../") || strings.Contains(u.Path+"/", "/./"):
		v.errorf(path, "write the path that it leads to", "%s has a dot segment", v.quote(path, text))
	}
}

func (v *validator) timeouts(path string, s *Service) {
	t := s.Timeout
	if t.Connect > t.Request && t.Request > 0 {
		v.warnf(v.eitherGiven(path+".timeout.connect", path+".timeout.request"), "write a shorter connect or a longer request", "connecting may take %v, but the whole exchange only %v", t.Connect, t.Request)
	}
	if t.Header > t.Request && t.Request > 0 {
		v.warnf(v.eitherGiven(path+".timeout.header", path+".timeout.request"), "write a shorter header or a longer request", "the response header may take %v, but the whole exchange only %v", t.Header, t.Request)
	}
}

// eitherGiven returns the first of two paths that the file has.
func (v *validator) eitherGiven(one, two string) string {
	if v.given(one) {
		return one
	}
	return two
}

func (v *validator) checks(path string, s *Service) {
	if h := s.Health; h != nil {
		at := path + ".health"
		if h.Path != "" && !strings.HasPrefix(h.Path, "/") {
			v.errorf(at+".path", "write /health", "%s does not begin with a slash", v.quote(at+".path", h.Path))
		} else if strings.ContainsAny(h.Path, " #") {
			v.errorf(at+".path", "write it as it stands in a URL", "%s is not a path", v.quote(at+".path", h.Path))
		}
		if h.Timeout > h.Interval && h.Interval > 0 {
			v.warnf(v.eitherGiven(at+".timeout", at+".interval"), "write a shorter timeout or a longer interval", "a check may take %v, but the next begins after %v", h.Timeout, h.Interval)
		}
	}
	if e := s.Eject; e != nil && len(s.Upstreams) > 0 && !v.broken(path+".eject") {
		if at := path + ".eject"; float64(e.Max)*float64(len(s.Upstreams)) < 1 {
			v.warnf(v.eitherGiven(at+".max", at), "add upstreams, write a larger max, or remove eject", "%v of %s is none, so nothing is ever ejected", e.Max, counted(len(s.Upstreams), "upstream"))
		}
	}
}

func (v *validator) openAPI(path string, o *OpenAPI) {
	if o == nil || v.broken(path) {
		return
	}
	switch {
	case o.URL != "" && o.File != "":
		v.errorf(path+".file", "keep one of them", "url and file are both given")
	case o.URL == "" && o.File == "" && !v.broken(path+".url") && !v.broken(path+".file"):
		v.errorf(path, "add url or file", "the document is neither at a url nor in a file")
	case o.URL != "":
		u, err := webURL(o.URL, "http", "https")
		v.syntax(path+".url", o.URL, err)
		if err == nil && u.User != nil {
			v.errorf(path+".url", "leave user and password out", "the URL holds a user or a password")
		}
	}
}

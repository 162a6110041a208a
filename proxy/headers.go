package proxy

import (
	"net/http"
	"slices"

	"sluice/conf"
)

// responseHeaders is a compiled set of changes to every response. The value
// slices are shared by all requests; nobody may change them.
type responseHeaders struct {
	set    []headerField
	tls    []headerField // set on TLS only
	remove []string
}

type headerField struct {
	name  string // canonical
	value []string
}

// presets are the named sets of security headers, after the OWASP Secure
// Headers Project's advice for APIs.
var presets = map[string]responseHeaders{
	"api": {
		set: []headerField{
			{"X-Content-Type-Options", []string{"nosniff"}},
			{"X-Frame-Options", []string{"DENY"}},
			{"Content-Security-Policy", []string{"frame-ancestors 'none'"}},
			{"Referrer-Policy", []string{"no-referrer"}},
		},
		tls:    []headerField{{"Strict-Transport-Security", []string{"max-age=31536000; includeSubDomains"}}},
		remove: []string{"Server"},
	},
}

func compileHeaders(c conf.Headers) responseHeaders {
	preset := presets[c.Preset]
	p := responseHeaders{set: slices.Clone(preset.set), tls: slices.Clone(preset.tls), remove: slices.Clone(preset.remove)}
	for name, value := range c.Set {
		name = http.CanonicalHeaderKey(name)
		same := func(f headerField) bool { return f.name == name }
		p.set = slices.DeleteFunc(p.set, same)
		p.tls = slices.DeleteFunc(p.tls, same)
		if value == "" {
			p.remove = append(p.remove, name)
		} else {
			p.set = append(p.set, headerField{name, []string{value}})
		}
	}
	return p
}

// apply changes h, the header of an answer over TLS or not. A header that the
// upstream set itself is kept: it knows its own pages better than a preset.
func (p *responseHeaders) apply(h http.Header, overTLS bool) {
	for _, name := range p.remove {
		delete(h, name)
	}
	for _, f := range p.set {
		if _, own := h[f.name]; !own {
			h[f.name] = f.value
		}
	}
	if overTLS {
		for _, f := range p.tls {
			if _, own := h[f.name]; !own {
				h[f.name] = f.value
			}
		}
	}
}

// headerValues is storage for the one-element value slices of headers that
// change with each request, so that setting them allocates nothing but the
// text. It is safe to reuse once the response header has been sent.
type headerValues struct {
	slots [12][1]string
	used  int
}

// set sets name, which must be canonical, to value.
func (v *headerValues) set(h http.Header, name, value string) {
	if v.used == len(v.slots) {
		h[name] = []string{value}
		return
	}
	slot := &v.slots[v.used]
	v.used++
	slot[0] = value
	h[name] = slot[:1:1]
}

func (v *headerValues) reset() {
	clear(v.slots[:v.used])
	v.used = 0
}

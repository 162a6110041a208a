package proxy

import (
	"net/http"
	"strconv"
	"strings"

	"sluice/conf"
)

// cors is a compiled CORS policy (Fetch standard, §3.2 "CORS protocol").
type cors struct {
	any         bool
	exact       map[string]bool
	suffixes    []string // of "https://*.example.com": scheme "https://" + NUL + ".example.com"
	methods     string
	headers     string // "" echoes what the browser asks for
	expose      string
	credentials bool
	maxAge      string
}

func compileCORS(c *conf.CORS) *cors {
	if c == nil {
		return nil
	}
	p := &cors{
		exact:       make(map[string]bool),
		methods:     strings.Join(c.Methods, ", "),
		headers:     strings.Join(c.Headers, ", "),
		expose:      strings.Join(c.Expose, ", "),
		credentials: c.Credentials,
		maxAge:      strconv.FormatInt(int64(c.MaxAge.Std().Seconds()), 10),
	}
	for _, o := range c.Origins {
		scheme, host, _ := strings.Cut(o, "://")
		switch {
		case o == "*":
			p.any = true
		case strings.HasPrefix(host, "*."):
			p.suffixes = append(p.suffixes, scheme+"://\x00"+host[1:])
		default:
			p.exact[strings.ToLower(o)] = true
		}
	}
	return p
}

// allows reports whether scripts of origin may read answers.
func (p *cors) allows(origin string) bool {
	if p.any {
		return true
	}
	origin = strings.ToLower(origin)
	if p.exact[origin] {
		return true
	}
	for _, s := range p.suffixes {
		scheme, suffix, _ := strings.Cut(s, "\x00")
		if strings.HasPrefix(origin, scheme) && strings.HasSuffix(origin, suffix) && len(origin) > len(scheme)+len(suffix) {
			return true
		}
	}
	return false
}

// preflight reports whether r is a CORS preflight: the browser's question, not
// the application's request.
func preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && len(r.Header["Origin"]) == 1 && len(r.Header["Access-Control-Request-Method"]) == 1
}

// answerPreflight sets the headers of a preflight's answer. An origin that is
// not allowed gets none, which makes the browser refuse.
func (p *cors) answerPreflight(h, asked http.Header) {
	p.common(h, asked)
	if h.Get("Access-Control-Allow-Origin") == "" {
		return
	}
	h.Set("Access-Control-Allow-Methods", p.methods)
	if p.headers != "" {
		h.Set("Access-Control-Allow-Headers", p.headers)
	} else if want := asked["Access-Control-Request-Headers"]; len(want) > 0 {
		h.Set("Access-Control-Allow-Headers", strings.Join(want, ", "))
	}
	h.Set("Access-Control-Max-Age", p.maxAge)
	h.Add("Vary", "Access-Control-Request-Method")
	h.Add("Vary", "Access-Control-Request-Headers")
}

// answer sets the headers of an ordinary answer. What the upstream said of
// CORS is replaced: one place decides.
func (p *cors) answer(h, asked http.Header) {
	h.Del("Access-Control-Allow-Origin")
	h.Del("Access-Control-Allow-Credentials")
	h.Del("Access-Control-Expose-Headers")
	p.common(h, asked)
	if p.expose != "" && h.Get("Access-Control-Allow-Origin") != "" {
		h.Set("Access-Control-Expose-Headers", p.expose)
	}
}

func (p *cors) common(h, asked http.Header) {
	if !p.any {
		h.Add("Vary", "Origin") // caches must keep the answers of different origins apart
	}
	origins := asked["Origin"]
	if len(origins) != 1 || !p.allows(origins[0]) {
		return
	}
	if p.any {
		h.Set("Access-Control-Allow-Origin", "*")
		return
	}
	h.Set("Access-Control-Allow-Origin", origins[0])
	if p.credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
}

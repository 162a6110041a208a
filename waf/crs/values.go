package crs

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"sluice/waf/proof"
)

// pair is a named value.
type pair struct{ name, value string }

// parsed is a request as the rules see it. Reading is the engine's, written
// again where that is simple and the same library where it is not; tests
// compare every variable.
type parsed struct {
	method, proto                             string
	line, uri, raw, filename, basename, query string
	get, post                                 []pair
	header, cookies                           []pair
	kind                                      Kind
	body                                      string // of forms and text
	failed                                    bool   // the engine has to read the target or the body itself
}

// readHead reads the request line and the header.
func (p *parsed) readHead(r *Request) {
	p.method, p.proto, p.raw = r.Method, r.Proto, r.Target
	p.line = r.Method + " " + r.Target + " " + r.Proto
	uri, _, _ := strings.Cut(r.Target, "#")
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		p.failed = true
		return
	}
	p.uri, p.query = u.String(), u.RawQuery
	p.filename, p.basename = u.Path, u.Path
	if i := strings.LastIndexAny(u.Path, `/\`); i >= 0 && i+1 < len(u.Path) {
		p.basename = u.Path[i+1:]
	}
	p.get = appendQuery(p.get[:0], u.RawQuery)
	p.header = append(p.header[:0], pair{"Host", r.Host})
	for name, values := range r.Header {
		for _, v := range values {
			p.header = append(p.header, pair{name, v})
			if name == "Cookie" {
				p.cookies = appendCookies(p.cookies, v)
			}
		}
	}
}

// appendQuery reads name=value pairs with & between them. What is not decodable
// stays as it is.
func appendQuery(out []pair, query string) []pair {
	for query != "" {
		var one string
		one, query, _ = strings.Cut(query, "&")
		if one == "" {
			continue
		}
		name, value, _ := strings.Cut(one, "=")
		out = append(out, pair{unescape(name), unescape(value)})
	}
	return out
}

func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '+':
			b = append(b, ' ')
		case '%':
			if i+2 < len(s) {
				if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil && s[i+1] != '+' && s[i+1] != '-' {
					b = append(b, byte(v))
					i += 2
					continue
				}
			}
			b = append(b, c)
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// appendCookies reads a Cookie field. Control characters and spaces around
// names and values do not count.
func appendCookies(out []pair, line string) []pair {
	trim := func(s string) string {
		return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
	}
	for part := range strings.SplitSeq(trim(line), ";") {
		if part = trim(part); part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		if name, value = trim(name), trim(value); name != "" || value != "" {
			out = append(out, pair{name, value})
		}
	}
	return out
}

// readJSON lists the values of a document under their paths: json.a.0.b. The
// number of an array's elements stands under the array's path. false: not
// valid, or larger when flattened than what the engine takes.
func readJSON(out []pair, body string, limits *Limits, path []byte) ([]pair, bool) {
	if !gjson.Valid(body) {
		return out, false
	}
	budget := max(8*len(body), 4096)
	return flatten(out, gjson.Parse(body), append(path[:0], "json"...), limits.Depth, &budget)
}

func flatten(out []pair, v gjson.Result, path []byte, depth int, budget *int) ([]pair, bool) {
	if depth <= 0 {
		return out, false
	}
	elements, ok := 0, true
	add := func(value string) {
		*budget -= len(path) + len(value)
		ok = ok && *budget >= 0
		out = append(out, pair{string(path), value})
	}
	v.ForEach(func(key, value gjson.Result) bool {
		parent := len(path)
		path = append(path, '.')
		if key.Type == gjson.String {
			path = append(path, key.Str...)
		} else {
			path = strconv.AppendInt(path, int64(key.Num), 10)
			elements++
		}
		switch value.Type {
		case gjson.JSON:
			out, ok = flatten(out, value, path, depth-1, budget)
		case gjson.String:
			add(value.Str)
		case gjson.Null:
			add("")
		default:
			add(value.Raw)
		}
		path = path[:parent]
		return ok
	})
	if elements > 0 && ok {
		add(strconv.Itoa(elements))
	}
	return out, ok
}

// judgeHead gives the head's values to the proof.
func (p *parsed) judgeHead(s *proof.Scan, r *Request) {
	s.Value(proof.Method, "", r.Method)
	s.Value(proof.Protocol, "", r.Proto)
	s.Value(proof.Line, "", p.line)
	s.Value(proof.URI, "", p.uri)
	s.Value(proof.URIRaw, "", p.raw)
	s.Value(proof.Filename, "", p.filename)
	s.Value(proof.Basename, "", p.basename)
	s.Value(proof.Query, "", p.query)
	for _, h := range p.header {
		key := lowerName(h.name)
		s.Value(proof.Header, key, h.value)
		s.Value(proof.HeaderName, key, h.name)
	}
	for _, c := range p.cookies {
		key := strings.ToLower(c.name)
		s.Value(proof.Cookie, key, c.value)
		s.Value(proof.CookieName, key, c.name)
	}
}

// lowerNames spares the copy of names that every client sends.
var lowerNames = func() map[string]string {
	m := make(map[string]string)
	for _, n := range []string{
		"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Connection", "Content-Length", "Content-Type",
		"Cookie", "Host", "If-None-Match", "If-Modified-Since", "Origin", "Pragma", "Referer", "User-Agent", "X-Request-Id", "X-Api-Key",
		"Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Traceparent", "X-Forwarded-For", "Expect",
	} {
		m[http.CanonicalHeaderKey(n)] = strings.ToLower(n)
	}
	return m
}()

func lowerName(name string) string {
	if l, ok := lowerNames[name]; ok {
		return l
	}
	return strings.ToLower(name)
}

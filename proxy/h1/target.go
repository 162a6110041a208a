package h1

import (
	"net/http"
	"net/url"
	"strings"
)

// resolve reads the target and the Host field: RFC 9112 §3.2 and §3.3.
func (m *Request) resolve() error {
	switch {
	case m.Method == http.MethodConnect:
		return errConnect
	case m.hosts > 1:
		return errManyHosts
	case m.hosts == 0 && m.Minor > 0:
		return errNoHost
	case m.hosts == 1 && !ValidHost(m.host):
		return errHost
	}
	m.Host = m.host
	switch {
	case m.Target[0] == '/':
		m.Form = OriginForm
		return m.originURL()
	case m.Target == "*":
		m.Form = AsteriskForm
		m.URL.Path = "*"
		if m.Method != http.MethodOptions {
			return errAsterisk
		}
		return nil
	}
	m.Form = AbsoluteForm
	return m.absoluteURL()
}

// originURL fills URL as [url.ParseRequestURI] would, without its allocation
// unless there is something to decode.
func (m *Request) originURL() error {
	path, query, found := strings.Cut(m.Target, "?")
	plain := true
	for i := range len(path) {
		if c := path[i]; c == '%' {
			return m.parseURL()
		} else if !plainPath[c] {
			plain = false
		}
	}
	m.URL.Path = path
	m.URL.RawQuery = query
	m.URL.ForceQuery = found && query == ""
	if !plain {
		m.URL.RawPath = path // as sent, for url.URL.EscapedPath would write it otherwise
	}
	return nil
}

// plainPath are the bytes that [url.URL.EscapedPath] leaves as they are.
var plainPath = func() (t [256]bool) {
	for c := range 256 {
		u := url.URL{Path: "/" + string([]byte{byte(c)})}
		t[c] = c != '?' && u.EscapedPath() == u.Path
	}
	return t
}()

// absoluteURL reads "http://authority…". The authority is the host, and Host must
// be the same (RFC 9112 §3.2.2): a proxy before this one may have looked at either.
func (m *Request) absoluteURL() error {
	scheme, rest, found := strings.Cut(m.Target, "://")
	if !found || !equalFold(scheme, "http") && !equalFold(scheme, "https") {
		return errTarget
	}
	authority := rest
	if end := strings.IndexAny(rest, "/?"); end >= 0 {
		authority = rest[:end]
	}
	if !ValidHost(authority) {
		return errTarget // user information too, which RFC 9110 §4.2.4 has refused
	}
	if m.hosts == 1 && !equalFold(authority, m.host) {
		return errHostDisagree
	}
	if err := m.parseURL(); err != nil {
		return err
	}
	m.Host = authority
	return nil
}

// parseURL lets [net/url] read the target: it decodes, and refuses what it cannot.
func (m *Request) parseURL() error {
	u, err := url.ParseRequestURI(m.Target)
	if err != nil {
		return errTarget
	}
	m.URL = *u
	return nil
}

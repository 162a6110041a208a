package conf

import (
	"net/url"
	"regexp"
	"slices"
	"time"
)

var statusFilter = regexp.MustCompile(`^([1-5][0-9][0-9]|[1-5]xx|[<>]=?[1-5][0-9][0-9])$`)

// MaxCapture is how far ahead the end of a capture may be: what logs bodies
// must not be forgotten.
const MaxCapture = 7 * 24 * time.Hour

// logs checks what is captured, redacted and sent where.
func (v *validator) logs() {
	l := &v.doc.Logs
	p := &l.Payload
	if p.Sample > 0 && p.Until.IsZero() && !v.broken("logs.payload.until") {
		v.errorf("logs.payload.sample", "add until: a time at most 7d ahead", "bodies would be logged for ever")
	}
	v.until("logs.payload.until", p.Until)
	for _, name := range sortedKeys(p.Capture) {
		c, at := p.Capture[name], keyPath("logs.payload.capture", name)
		v.until(at+".until", c.Until)
		if c.Status != "" && !statusFilter.MatchString(c.Status) && !v.broken(at+".status") {
			v.errorf(at+".status", "write a status such as 503, a class such as 5xx, or a bound such as >=400", "%s is no status", v.quote(at+".status", c.Status))
		}
		if c.Route != "" && !v.broken("routes") && !slices.ContainsFunc(v.doc.Routes, func(rt Route) bool { return rt.Path == c.Route || rt.Name == c.Route }) {
			var known []string
			for _, rt := range v.doc.Routes {
				known = append(known, rt.Path)
			}
			v.reference(at+".route", c.Route, "route", "routes", slices.Compact(known))
		}
	}
	for _, name := range sortedKeys(l.Redact.Patterns) {
		at := keyPath("logs.redact.patterns", name)
		re, err := regexp.Compile(l.Redact.Patterns[name])
		switch {
		case v.broken(at):
		case err != nil:
			v.errorf(at, "write a regular expression in RE2 syntax", "%s does not compile", v.quote(at, l.Redact.Patterns[name]))
		case re.MatchString(""):
			v.errorf(at, "write one that matches at least one character", "%s matches the empty text, and so everything", v.quote(at, l.Redact.Patterns[name]))
		}
	}
	for _, name := range sortedKeys(l.Outputs) {
		v.output(keyPath("logs.outputs", name), l.Outputs[name])
	}
}

// until warns of an end that has passed and refuses one that is too far ahead.
func (v *validator) until(path string, t Time) {
	switch left := time.Until(t.Time); {
	case t.IsZero() || v.broken(path):
	case left > MaxCapture:
		v.errorf(path, "write a time at most 7d ahead", "bodies would be logged for too long")
	case left < 0:
		v.warnf(path, "remove it", "has passed, so nothing is captured")
	}
}

// outputSchemes are the URL schemes of each type of output.
var outputSchemes = map[string][]string{
	"syslog":        {"udp", "tcp", "tls", "unix"},
	"json":          {"http", "https"},
	"loki":          {"http", "https"},
	"elasticsearch": {"http", "https"},
	"otlp":          {"http", "https"},
}

func (v *validator) output(path string, o LogOutput) {
	at := path + ".url"
	schemes, known := outputSchemes[o.Type]
	switch {
	case !known || v.broken(at):
	case o.URL == "":
		v.errorf(path, "add url", "an output of this type needs a url")
	case o.Type == "syslog":
		u, err := url.Parse(o.URL)
		if err != nil || !slices.Contains(schemes, u.Scheme) || u.Scheme != "unix" && u.Port() == "" || u.Scheme == "unix" && u.Path == "" {
			v.errorf(at, "write udp://host:514, tcp://host:601, tls://host:6514 or unix:///dev/log", "%s is no address of a syslog receiver", v.quote(at, o.URL))
		}
	default:
		u, err := webURL(o.URL, schemes...)
		v.syntax(at, o.URL, err)
		if err == nil && u.User != nil {
			v.errorf(at, "give them as username and password", "the URL holds a user or a password")
		}
	}
}

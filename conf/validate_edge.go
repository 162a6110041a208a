package conf

import (
	"math"
	"regexp"
	"slices"
	"time"
)

func (v *validator) waf() {
	w := &v.doc.WAF
	for i, e := range w.Exclude {
		path := indexPath("waf.exclude", i)
		if (e.Rule == 0) == (e.Tag == "") && !v.broken(path+".rule") && !v.broken(path+".tag") {
			v.errorf(path, "write rule: 942100, or tag: attack-sqli", "an exclusion names either a rule or a tag")
		}
		if e.Route == "" || v.broken(path+".route") || v.broken("routes") {
			continue
		}
		if !slices.ContainsFunc(v.doc.Routes, func(rt Route) bool { return rt.Path == e.Route || rt.Name == e.Route }) {
			var known []string
			for _, rt := range v.doc.Routes {
				known = append(known, rt.Path)
			}
			v.reference(path+".route", e.Route, "route", "routes", slices.Compact(known))
		}
	}
	v.wafRules()
	for i, p := range w.IP.Deny {
		if p.IsValid() && slices.Contains(w.IP.Allow, p) {
			at := indexPath("waf.ip.deny", i)
			v.warnf(at, "keep it in one list", "%s is also allowed, which wins", v.quote(at, p.String()))
		}
	}
	for i, b := range w.Bans {
		at := indexPath("waf.bans", i) + ".until"
		if !b.Until.IsZero() && !v.broken(at) && !b.Until.After(time.Now()) {
			v.warnf(at, "remove it", "the ban is over")
		}
	}
	if w.Geo != nil {
		v.countries("waf.geo.deny", w.Geo.Deny)
		v.countries("waf.geo.allow", w.Geo.Allow)
		for i, n := range w.Geo.DenyASN {
			if at := indexPath("waf.geo.deny_asn", i); !v.broken(at) && (n < 1 || int64(n) > math.MaxUint32) {
				v.errorf(at, "write it as 64496", "%d is no number of an autonomous system", n)
			}
		}
	}
}

func (v *validator) countries(path string, codes []string) {
	for i, code := range codes {
		if at := indexPath(path, i); code != "" && !countryCode.MatchString(code) {
			v.errorf(at, "write two capital letters, such as KP", "%s is no ISO 3166 country code", v.quote(at, code))
		}
	}
	v.unique(path, codes, same)
}

var (
	countryCode = regexp.MustCompile(`^[A-Z]{2}$`)
	alertRule   = regexp.MustCompile(`^[<>]=? *[0-9]+(\.[0-9]+)?(%|ms|s|m|h|d|/s|/m|/h)? +for +[0-9]+(ms|s|m|h|d)$`)
)

// observability checks where logs, spans and alerts go.
func (v *validator) observability() {
	v.logs()
	if t := v.doc.Traces; t != nil && t.OTLP != "" && !v.broken("traces.otlp") {
		u, err := webURL(t.OTLP, "http", "https")
		v.syntax("traces.otlp", t.OTLP, err)
		if err == nil && u.User != nil {
			v.errorf("traces.otlp", "leave user and password out", "the URL holds a user or a password")
		}
	}
	a := v.doc.Alerts
	if a == nil {
		return
	}
	for i, w := range a.Webhooks {
		if w.URL == "" {
			continue
		}
		// Secret: nothing of it is quoted.
		if _, err := webURL(w.URL.Reveal(), "https", "http"); err != nil {
			v.errorf(indexPath("alerts.webhooks", i)+".url", err.Hint, "the address %s", err.Message)
		}
	}
	for _, name := range sortedKeys(a.Rules) {
		at := keyPath("alerts.rules", name)
		if rule := a.Rules[name]; rule != "" && !alertRule.MatchString(rule) {
			v.errorf(at, `write it as "> 5% for 2m"`, "%s is no condition", v.quote(at, rule))
		}
	}
}

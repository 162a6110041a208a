package main

import (
	"slices"
	"strings"

	"sluice/loadtest/compare/report"
)

// contestant is one row of the table: a program, a configuration, and what it
// must be seen to do with it.
type contestant struct {
	name, label string
	program     string // key of programs; empty: the upstream asked directly
	config      string // file in configs/; empty: none
	arguments   func(s site) []string

	identifies bool // refuses a missing or expired token, or one for another audience
	verifies   bool // refuses a forged one
	limits     bool // counts the tenant's requests and sends X-RateLimit-*
	logs       bool // one line of JSON for each request
	distinct   bool // no token is known from before
	noTunnels  bool // its configuration passes no WebSockets on

	large bool // is measured with large bodies too
	extra bool // takes part only when it is named
}

// contestants in the order of the table.
var contestants = []contestant{
	{name: "direct", label: "no proxy", large: true},
	{name: "nginx", label: "nginx", program: "nginx", config: "nginx.conf", arguments: nginxArguments, noTunnels: true, large: true},
	{name: "nginx-full", label: "nginx: limit, log (no JWT)", program: "nginx", config: "nginx.conf", arguments: nginxArguments,
		noTunnels: true, logs: true},
	{name: "haproxy", label: "HAProxy", program: "haproxy", config: "haproxy.cfg", arguments: haproxyArguments, large: true},
	{name: "haproxy-full", label: "HAProxy full", program: "haproxy", config: "haproxy.cfg", arguments: haproxyArguments,
		identifies: true, verifies: true, limits: true, logs: true},
	{name: "haproxy-norsa", label: "HAProxy full, signature not verified", program: "haproxy", config: "haproxy.cfg", arguments: haproxyArguments,
		identifies: true, limits: true, logs: true},
	{name: "caddy", label: "Caddy", program: "caddy", config: "Caddyfile", arguments: caddyArguments, large: true},
	{name: "reverseproxy", label: "Go's httputil.ReverseProxy", program: "self", large: true,
		arguments: func(s site) []string { return []string{reverseProxyCommand, s.Address, s.Upstream} }},
	{name: "sluice-plain", label: "**sluice**", program: "sluice", config: "sluice.yaml", arguments: sluiceArguments, large: true},
	{name: "sluice-full", label: "**sluice full**", program: "sluice", config: "sluice.yaml", arguments: sluiceArguments,
		identifies: true, verifies: true, limits: true, logs: true, large: true},
	{name: "sluice-newtokens", label: "**sluice full, every token new**", program: "sluice", config: "sluice.yaml", arguments: sluiceArguments,
		identifies: true, verifies: true, limits: true, logs: true, distinct: true},
}

// The rows that the tables compare with.
var bases = report.Bases{Plain: "haproxy", Full: "haproxy-full"}

// goals are what sluice means to keep.
var goals = []report.Goal{
	{What: "sluice / HAProxy", Rows: "small", Name: "sluice-plain", Base: "haproxy", AtMost: 1.0},
	{What: "sluice / Caddy", Rows: "small", Name: "sluice-plain", Base: "caddy", AtMost: 0.25},
	{What: "sluice full / HAProxy full", Rows: "small", Name: "sluice-full", Base: "haproxy-full", AtMost: 0.4,
		Remark: "HAProxy verifies each request's signature, sluice each token's"},
	{What: "sluice full / HAProxy full, signature not verified", Rows: "small", Name: "sluice-full", Base: "haproxy-norsa", AtMost: 1.0,
		Remark: "sluice verifies, HAProxy does not"},
	{What: "sluice full / HAProxy", Rows: "small", Name: "sluice-full", Base: "haproxy", AtMost: 1.25,
		Remark: "what all the gateway's work adds to a bare proxy"},
	{What: "sluice full, every token new / HAProxy full", Rows: "small", Name: "sluice-newtokens", Base: "haproxy-full", AtMost: 1.3,
		Remark: "both verify each request's signature"},
	{What: "sluice / HAProxy, 100 KB bodies", Rows: "large", Name: "sluice-plain", Base: "haproxy", AtMost: 1.0},
}

func nginxArguments(s site) []string   { return []string{"-e", "stderr", "-p", s.Dir, "-c", s.config} }
func haproxyArguments(s site) []string { return []string{"-db", "-f", s.config} }
func caddyArguments(s site) []string {
	return []string{"run", "--config", s.config, "--adapter", "caddyfile"}
}
func sluiceArguments(s site) []string { return []string{"serve", "--config", s.config} }

// choose returns the contestants named in only (names separated by commas), in
// the order of the table; without names, all but the extra ones. unknown lists
// names that nobody has.
func choose(all []contestant, only string) (chosen []contestant, unknown []string) {
	if only == "" {
		for _, c := range all {
			if !c.extra {
				chosen = append(chosen, c)
			}
		}
		return chosen, nil
	}
	names := strings.Split(only, ",")
	for _, c := range all {
		if i := slices.Index(names, c.name); i >= 0 {
			chosen = append(chosen, c)
			names = slices.Delete(names, i, i+1)
		}
	}
	return chosen, names
}

// beforeProgram is the key in programs of the binary that a change is judged by.
const beforeProgram = "sluice-before"

// withBefore gives each sluice row a twin that runs the other binary, and the
// ratios of the two, which ought to be at most 1.
func withBefore(chosen []contestant) (all []contestant, ratios []report.Goal) {
	for _, c := range chosen {
		all = append(all, c)
		if c.program != "sluice" {
			continue
		}
		twin := c
		twin.name, twin.label, twin.program = c.name+"-before", c.label+" before", beforeProgram
		all = append(all, twin)
		ratios = append(ratios, report.Goal{What: c.label + " / before", Rows: "small", Name: c.name, Base: twin.name, AtMost: 1})
		if c.large {
			ratios = append(ratios, report.Goal{What: c.label + " / before, 100 KB bodies", Rows: "large", Name: c.name, Base: twin.name, AtMost: 1})
		}
	}
	return all, ratios
}

// inRound returns the order of a round: the list turned by one more place each
// round, and backwards in every other, so that nobody always follows the same.
func inRound[T any](list []T, round int) []T {
	order := slices.Clone(list)
	if len(order) == 0 {
		return order
	}
	turn := round % len(order)
	order = append(order[turn:], order[:turn]...)
	if round%2 == 1 {
		slices.Reverse(order)
	}
	return order
}

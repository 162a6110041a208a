package admin

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/auth"
	"sluice/store"
)

// How many lists and rules there may be: every change compiles all of them, for every
// route.
const (
	maxAddressLists  = 200
	maxSecurityRules = 500
)

// securityRoutes are what keeps attackers out beside the configuration and bans:
// lists of networks, and what the firewall looks at.
func (s *Server) securityRoutes() {
	namedRoutes(s, named[store.AddressList]{
		kind: store.KindAddressList, path: "address-lists", most: maxAddressLists, parse: store.ParseAddressList,
		body: func(l store.AddressList) store.AddressList {
			l.Name, l.Revision, l.UpdatedAt, l.UpdatedBy = "", 0, time.Time{}, ""
			return l
		},
		check: func(l *store.AddressList) []Fault {
			faults := s.routeFault(nil, l.Route)
			for i, p := range l.Networks {
				if p != p.Masked() {
					faults = append(faults, Fault{Pointer: fmt.Sprintf("#/networks/%d", i), Detail: fmt.Sprintf("Write %s: the address has bits behind its length.", p.Masked())})
				}
			}
			return faults
		},
	})
	namedRoutes(s, named[store.SecurityRule]{
		kind: store.KindSecurityRule, path: "security-rules", most: maxSecurityRules, parse: store.ParseSecurityRule,
		body: func(r store.SecurityRule) store.SecurityRule {
			r.Name, r.Revision, r.UpdatedAt, r.UpdatedBy = "", 0, time.Time{}, ""
			return r
		},
		check: s.checkRule,
	})
}

// routeFault says that there is no such route.
func (s *Server) routeFault(faults []Fault, name string) []Fault {
	if routes := s.deps.Policies.Routes(); name != "" && !slices.Contains(routes, name) {
		faults = append(faults, Fault{Pointer: "#/route", Detail: fmt.Sprintf("There is no route %q; there are %s.", name, strings.Join(routes, ", "))})
	}
	return faults
}

func (s *Server) checkRule(r *store.SecurityRule) []Fault {
	faults := s.routeFault(nil, r.Route)
	fault := func(pointer, detail string) { faults = append(faults, Fault{Pointer: pointer, Detail: detail}) }
	if r.Tenant != "" && !auth.ValidTenant(r.Tenant) {
		fault("#/tenant", "No credential can name such a tenant.")
	}
	sets := r.Mode != "" || r.Threshold != 0
	switch {
	case r.Rule != 0 && r.Tag != "":
		fault("#/tag", "Give either rule or tag.")
	case r.Excludes() && sets:
		fault("#/mode", "A rule either excludes (rule or tag, with argument) or sets (mode, threshold): make two of it.")
	case r.Excludes():
		if err := s.deps.Policies.CheckExclusion(r.Rule, r.Tag); err != nil {
			pointer := "#/rule"
			if r.Tag != "" {
				pointer = "#/tag"
			}
			fault(pointer, sentence(err))
		}
	case !sets:
		fault("#/rule", "Say what to exclude, by rule or tag, or what to set, by mode or threshold.")
	case r.Argument != "":
		fault("#/argument", "Belongs to an exclusion, by rule or tag.")
	}
	return faults
}

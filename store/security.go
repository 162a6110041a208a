package store

import (
	"encoding/json"
	"net/netip"
	"time"
)

// Kinds of what keeps attackers out.
const (
	KindAddressList  = "address-list"
	KindSecurityRule = "security-rule"
)

// AddressList refuses or always admits networks, beside those of the configuration.
type AddressList struct {
	Name      string         `json:"name"`
	Revision  int64          `json:"revision,omitempty"`
	Action    string         `json:"action"` // deny or allow
	Networks  []netip.Prefix `json:"networks"`
	Route     string         `json:"route,omitempty"` // name or path; absent: every route
	Reason    string         `json:"reason"`
	UpdatedAt time.Time      `json:"updated_at,omitzero"`
	UpdatedBy string         `json:"updated_by,omitempty"`
}

// SecurityRule changes how the firewall looks at some requests: it takes rules away,
// which Rule or Tag name, or it sets Mode or Threshold.
type SecurityRule struct {
	Name      string    `json:"name"`
	Revision  int64     `json:"revision,omitempty"`
	Route     string    `json:"route,omitempty"`  // name or path; absent: every route
	Tenant    string    `json:"tenant,omitempty"` // absent: every tenant
	Rule      int       `json:"rule,omitempty"`
	Tag       string    `json:"tag,omitempty"`
	Argument  string    `json:"argument,omitempty"` // absent: all
	Mode      string    `json:"mode,omitempty"`     // off, detect or block
	Threshold int       `json:"threshold,omitempty"`
	Reason    string    `json:"reason"`
	UpdatedAt time.Time `json:"updated_at,omitzero"`
	UpdatedBy string    `json:"updated_by,omitempty"`
}

// Excludes reports whether the rule takes rules of the firewall away, or else sets
// how it works.
func (r *SecurityRule) Excludes() bool { return r.Rule != 0 || r.Tag != "" }

// ParseAddressList reads a list from its object.
func ParseAddressList(o Object) (AddressList, error) {
	var l AddressList
	if err := json.Unmarshal(o.Body, &l); err != nil {
		return l, err
	}
	l.Name, l.Revision, l.UpdatedAt, l.UpdatedBy = o.ID, o.Revision, o.at(), o.UpdatedBy
	return l, nil
}

// ParseSecurityRule reads a rule from its object.
func ParseSecurityRule(o Object) (SecurityRule, error) {
	var r SecurityRule
	if err := json.Unmarshal(o.Body, &r); err != nil {
		return r, err
	}
	r.Name, r.Revision, r.UpdatedAt, r.UpdatedBy = o.ID, o.Revision, o.at(), o.UpdatedBy
	return r, nil
}

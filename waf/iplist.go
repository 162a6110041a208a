package waf

import (
	"net/netip"

	"sluice/internal/netset"
)

// Addresses are the compiled address lists of one configuration. The zero
// value denies nobody.
type Addresses struct {
	deny, allow netset.Set
}

// NewAddresses compiles lists of denied and of allowed networks.
func NewAddresses(deny, allow []netip.Prefix) Addresses {
	return Addresses{deny: netset.New(deny), allow: netset.New(allow)}
}

// Allowed reports whether a lies in an allowed network.
func (l Addresses) Allowed(a netip.Addr) bool { return l.allow.Contains(a) }

// Denied reports whether requests from a are refused: it lies in a denied
// network and in no allowed one. It does not allocate.
func (l Addresses) Denied(a netip.Addr) bool {
	return l.deny.Contains(a) && !l.allow.Contains(a)
}

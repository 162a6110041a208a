package waf

import (
	"net/netip"

	"sluice/conf"
	"sluice/internal/netset"
)

// Addresses are the compiled address lists of one configuration. The zero
// value denies nobody.
type Addresses struct {
	deny, allow netset.Set
}

// CompileAddresses compiles the lists of c.
func CompileAddresses(c conf.IPLists) Addresses {
	return Addresses{deny: netset.New(conf.NetPrefixes(c.Deny)), allow: netset.New(conf.NetPrefixes(c.Allow))}
}

// Allowed reports whether a lies in an allowed network.
func (l Addresses) Allowed(a netip.Addr) bool { return l.allow.Contains(a) }

// Denied reports whether requests from a are refused: it lies in a denied
// network and in no allowed one. It does not allocate.
func (l Addresses) Denied(a netip.Addr) bool {
	return l.deny.Contains(a) && !l.allow.Contains(a)
}

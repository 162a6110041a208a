// Package netset holds immutable sets of networks with longest-prefix lookup in
// nanoseconds and without allocation.
package netset

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// Set is an immutable set of networks, safe for concurrent use. The zero Set is
// empty.
type Set struct{ table *bart.Lite }

// New returns the set of the given networks. IPv4 networks written as mapped
// IPv6 ones match IPv4 addresses.
func New(networks []netip.Prefix) Set {
	if len(networks) == 0 {
		return Set{}
	}
	t := new(bart.Lite)
	for _, p := range networks {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		t.Insert(p.Masked())
	}
	return Set{t}
}

// Contains reports whether a lies in one of the networks. A mapped IPv4 address
// is looked up as IPv4; an invalid one lies in none.
func (s Set) Contains(a netip.Addr) bool {
	return s.table != nil && a.IsValid() && s.table.Contains(a.Unmap())
}

// Empty reports whether no network is in the set.
func (s Set) Empty() bool { return s.table == nil }

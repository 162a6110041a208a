package waf

import (
	"net/netip"
	"testing"
)

// Invariant 1: allow wins, whichever of the two networks is narrower.
func TestAllowWinsOverDeny(t *testing.T) {
	prefix := netip.MustParsePrefix
	l := NewAddresses(
		[]netip.Prefix{prefix("203.0.113.0/24"), prefix("198.51.100.7/32")},
		[]netip.Prefix{prefix("203.0.113.9/32"), prefix("198.51.100.0/24")},
	)
	for addr, want := range map[string]bool{
		"203.0.113.1": true, "::ffff:203.0.113.1": true, "203.0.113.9": false,
		"198.51.100.7": false, "192.0.2.1": false,
	} {
		if got := l.Denied(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Denied(%s) = %v, want %v", addr, got, want)
		}
	}
	if (Addresses{}).Denied(netip.MustParseAddr("203.0.113.1")) {
		t.Error("the zero lists deny somebody")
	}
}

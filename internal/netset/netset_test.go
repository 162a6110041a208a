package netset

import (
	"net/netip"
	"testing"
)

func TestContains(t *testing.T) {
	s := New([]netip.Prefix{
		netip.MustParsePrefix("10.1.2.3/8"),
		netip.MustParsePrefix("::ffff:192.0.2.0/120"),
		netip.MustParsePrefix("2001:db8::/32"),
	})
	for addr, want := range map[string]bool{
		"10.255.0.1": true, "11.0.0.1": false, "192.0.2.77": true, "192.0.3.1": false,
		"::ffff:10.0.0.1": true, "2001:db8::1": true, "2001:db9::1": false,
	} {
		if got := s.Contains(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Contains(%s) = %v, want %v", addr, got, want)
		}
	}
	if s.Contains(netip.Addr{}) || (Set{}).Contains(netip.MustParseAddr("10.0.0.1")) {
		t.Error("an invalid address or an empty set contains something")
	}
	if s.Empty() || !New(nil).Empty() {
		t.Error("Empty is wrong")
	}
}

func BenchmarkContains(b *testing.B) {
	s := New([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")})
	a := netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		s.Contains(a)
	}
}

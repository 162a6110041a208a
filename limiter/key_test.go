package limiter

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"testing"
)

// Vectors of the SipHash reference implementation (vectors.h, vectors_sip128):
// key 00…0f, message 00, 01, … of the given length. Ours hashes whole words.
func TestSipHashAgreesWithTheReference(t *testing.T) {
	var key [16]byte
	for i := range key {
		key[i] = byte(i)
	}
	secret := [2]uint64{binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])}
	s := newSip(secret)
	sum := s.sum()
	var got [16]byte
	binary.LittleEndian.PutUint64(got[:8], sum[0])
	binary.LittleEndian.PutUint64(got[8:], sum[1])
	if want := "a3817f04ba25a8e66df67214c7550293"; hex.EncodeToString(got[:]) != want {
		t.Errorf("empty message: %x, want %s", got, want)
	}
	s = newSip(secret)
	s.word(0x0706050403020100)
	sum = s.sum()
	binary.LittleEndian.PutUint64(got[:8], sum[0])
	binary.LittleEndian.PutUint64(got[8:], sum[1])
	if want := "3b62a9ba6258f5610f83e264f31497b4"; hex.EncodeToString(got[:]) != want {
		t.Errorf("eight bytes: %x, want %s", got, want)
	}
}

func TestKeysDifferByRuleAndByEveryValue(t *testing.T) {
	l := New(Options{})
	a, b := compile(t, "a", perHour(1)), compile(t, "b", perHour(1))
	v4 := netip.MustParseAddr("192.0.2.1")
	seen := map[Key]string{}
	for name, k := range map[string]Key{
		"a":             l.Key(a),
		"a x":           l.KeyString(a, "x"),
		"a x0":          l.KeyString(a, "x\x00"),
		"a empty":       l.KeyString(a, ""),
		"b x":           l.KeyString(b, "x"),
		"a ab c":        l.KeyString2(a, "ab", "c"),
		"a a bc":        l.KeyString2(a, "a", "bc"),
		"a abc":         l.KeyString(a, "abc"),
		"a 12345678":    l.KeyString(a, "12345678"),
		"a 1234567 8":   l.KeyString2(a, "1234567", "8"),
		"a address":     l.KeyAddr(a, v4),
		"b address":     l.KeyAddr(b, v4),
		"a address x":   l.KeyAddrString(a, v4, "x"),
		"a address txt": l.KeyString(a, v4.String()),
	} {
		if other, ok := seen[k]; ok {
			t.Errorf("%q and %q have the same key", name, other)
		}
		seen[k] = name
	}
	if l.Key(a, "x") != l.KeyString(a, "x") || l.Key(a, "x", "y") != l.KeyString2(a, "x", "y") {
		t.Error("the variants disagree")
	}
	if again := compile(t, "a", perHour(99)); l.KeyString(again, "x") != l.KeyString(a, "x") {
		t.Error("a rule with the same id must have the same keys")
	}
	if New(Options{}).KeyString(a, "x") == l.KeyString(a, "x") {
		t.Error("two limiters without a secret agree on a key")
	}
}

func TestAddressesCountByIPv4AndByIPv6Network(t *testing.T) {
	l := New(Options{})
	r := compile(t, "r", perHour(1))
	same := func(a, b string) bool {
		return l.KeyAddr(r, netip.MustParseAddr(a)) == l.KeyAddr(r, netip.MustParseAddr(b))
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%eth0", "fe80::1%eth1", true},
		{"::1", "0.0.0.1", false},
	} {
		if got := same(c.a, c.b); got != c.want {
			t.Errorf("%s and %s count together: %v, want %v", c.a, c.b, got, c.want)
		}
	}
	if !l.KeyAddr(r, netip.MustParseAddr("192.0.2.1")).ofAddress() || l.KeyString(r, "x").ofAddress() {
		t.Error("the kinds of keys are not told apart")
	}
}

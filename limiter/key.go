package limiter

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Key names one bucket: a 128-bit keyed hash of a rule's id and the values that
// it counts apart. Without the secret nobody can choose values that collide, so
// an attacker cannot aim at somebody's bucket or at one slot of a table.
//
// The lowest bit of the second word tells keys of addresses, which anybody can
// make up, from the others: they live in a table of their own.
type Key [2]uint64

// ofAddress reports whether k came from KeyAddr.
func (k Key) ofAddress() bool { return k[1]&1 != 0 }

// Key returns the bucket of dims under r. The order and the division into dims
// count: ("ab","c") and ("a","bc") differ.
func (l *Limiter) Key(r *Rule, dims ...string) Key {
	s := newSip(l.secret)
	s.rule(r)
	for _, d := range dims {
		s.text(d)
	}
	return s.sum().asText()
}

// KeyString is Key for one value, without allocating.
func (l *Limiter) KeyString(r *Rule, a string) Key {
	s := newSip(l.secret)
	s.rule(r)
	s.text(a)
	return s.sum().asText()
}

// KeyString2 is Key for two values, without allocating.
func (l *Limiter) KeyString2(r *Rule, a, b string) Key {
	s := newSip(l.secret)
	s.rule(r)
	s.text(a)
	s.text(b)
	return s.sum().asText()
}

// KeyAddr returns the bucket of a client address under r: an IPv4 address as it
// is (also when mapped into IPv6), an IPv6 address by its /64, which is what one
// customer is usually given whole (RFC 6177). A zone is ignored.
func (l *Limiter) KeyAddr(r *Rule, a netip.Addr) Key {
	s := newSip(l.secret)
	s.rule(r)
	s.addr(a)
	return s.sum().asAddress()
}

// KeyAddrString is KeyAddr with one more value, such as a route.
func (l *Limiter) KeyAddrString(r *Rule, a netip.Addr, b string) Key {
	s := newSip(l.secret)
	s.rule(r)
	s.addr(a)
	s.text(b)
	return s.sum().asAddress()
}

func (k Key) asText() Key    { k[1] &^= 1; return k }
func (k Key) asAddress() Key { k[1] |= 1; return k }

// sip is SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, "SipHash:
// a fast short-input PRF", 2012, and its reference code) over a message of whole
// 64-bit words. Every value is written as its length and then its bytes, padded
// with zeros to a word, so that different values are different messages.
type sip struct {
	v0, v1, v2, v3 uint64
	words          uint64
}

func newSip(secret [2]uint64) sip {
	return sip{
		v0: secret[0] ^ 0x736f6d6570736575,
		v1: secret[1] ^ 0x646f72616e646f6d ^ 0xee,
		v2: secret[0] ^ 0x6c7967656e657261,
		v3: secret[1] ^ 0x7465646279746573,
	}
}

// sipRound is one round; small enough to be inlined.
func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v2 += v3
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 = bits.RotateLeft64(v0, 32) + v3
	v2 += v1
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	return v0, v1, bits.RotateLeft64(v2, 32), v3
}

// word absorbs eight bytes.
func (s *sip) word(m uint64) {
	s.words++
	v0, v1, v2, v3 := sipRound(s.v0, s.v1, s.v2, s.v3^m)
	v0, s.v1, s.v2, s.v3 = sipRound(v0, v1, v2, v3)
	s.v0 = v0 ^ m
}

// sum ends the message.
func (s *sip) sum() Key {
	s.word(s.words << 59) // the length in bytes, modulo 256, in the top byte
	v0, v1, v2, v3 := s.v0, s.v1, s.v2^0xee, s.v3
	for range 4 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	lo := v0 ^ v1 ^ v2 ^ v3
	v1 ^= 0xdd
	for range 4 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	return Key{lo, v0 ^ v1 ^ v2 ^ v3}
}

func (s *sip) rule(r *Rule) { s.word(r.digest) }

func (s *sip) text(t string) {
	s.word(uint64(len(t)))
	for ; len(t) >= 8; t = t[8:] {
		s.word(uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24 |
			uint64(t[4])<<32 | uint64(t[5])<<40 | uint64(t[6])<<48 | uint64(t[7])<<56)
	}
	if len(t) > 0 {
		var m uint64
		for i := range len(t) {
			m |= uint64(t[i]) << (8 * i)
		}
		s.word(m)
	}
}

func (s *sip) addr(a netip.Addr) {
	a = a.Unmap()
	if a.Is4() {
		b := a.As4()
		s.word(4)
		s.word(uint64(binary.BigEndian.Uint32(b[:])))
		return
	}
	b := a.As16()
	s.word(8)
	s.word(binary.BigEndian.Uint64(b[:8]))
}

// digest hashes a rule's id with a key that is the same everywhere: ids come
// from the operator, and nodes must agree on them.
func digest(id string) uint64 {
	s := newSip([2]uint64{})
	s.text(id)
	return s.sum()[0]
}

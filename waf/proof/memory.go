package proof

import (
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"github.com/dchest/siphash"
)

// memory holds which values are clear: a table of fixed size under SipHash-128
// with a key that nobody outside the process knows, so that a client can find
// no value that passes for another. It has no locks: an entry is two words,
// each written whole, and an entry of which the two do not fit together is
// found by nobody.
type memory struct {
	k0, k1 uint64
	slots  []slot
}

// slot holds h0 ^ h1 and h1 of a value, so that words of two values never read
// as either.
type slot struct{ mixed, second atomic.Uint64 }

const (
	memorySlots = 1 << 15 // 512 KiB a program
	memoryWays  = 4       // places that one value may have
	// rememberBytes is the longest value that is remembered: beyond, the hash
	// costs as much as it spares.
	rememberBytes = 4 << 10
)

func newMemory() *memory {
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails, by its contract
	return &memory{
		k0: binary.LittleEndian.Uint64(key[:8]), k1: binary.LittleEndian.Uint64(key[8:]),
		slots: make([]slot, memorySlots),
	}
}

// fingerprint is a value's 128-bit hash in one class.
type fingerprint struct{ a, b uint64 }

func (m *memory) fingerprint(class uint64, value string) fingerprint {
	a, b := siphash.Hash128(m.k0^class*0x9e3779b97f4a7c15, m.k1, unsafe.Slice(unsafe.StringData(value), len(value)))
	return fingerprint{a, b}
}

func (m *memory) has(f fingerprint) bool {
	for way := range uint64(memoryWays) {
		s := &m.slots[(f.a+way)%memorySlots]
		second := s.second.Load()
		if second == f.b && s.mixed.Load() == f.a^f.b {
			return true
		}
	}
	return false
}

// add remembers f. The place is chosen by the hash, so that hot values are
// driven out by chance alone.
func (m *memory) add(f fingerprint) {
	for way := range uint64(memoryWays) {
		s := &m.slots[(f.a+way)%memorySlots]
		if s.second.Load() == 0 && s.mixed.Load() == 0 {
			s.mixed.Store(f.a ^ f.b)
			s.second.Store(f.b)
			return
		}
	}
	s := &m.slots[(f.a+f.b>>62)%memorySlots]
	s.mixed.Store(f.a ^ f.b)
	s.second.Store(f.b)
}

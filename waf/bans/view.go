package bans

import (
	"net/netip"
	"time"
)

// View is every set that may have a say in one request: those of the book, and
// that of the configuration. A request takes one, by [NewView], when it begins
// and keeps it.
type View struct {
	file  *Set
	lists *lists
}

// lists are the book's sets, published together.
type lists [numLists]*Set

var noLists lists

// NewView puts the book's lists and the configuration's set together; either may
// be nil.
func NewView(b *Book, file *Set) View {
	if b == nil {
		return View{file, &noLists}
	}
	return View{file, b.live.Load()}
}

// Caller is what can be known of a request before its credential is looked at.
// Country and ASN are empty when they are not known.
type Caller struct {
	Address      netip.Addr
	Country, ASN string
	Path, Agent  string
}

// AllowsAddress reports whether an allowance names the address.
func (v *View) AllowsAddress(a netip.Addr, now time.Time) bool {
	return v.lists[Allowed].address(a, now.UnixNano()) != nil
}

// NeedsPlace reports whether a ban names a country or an autonomous system, so
// that it is worth looking them up.
func (v *View) NeedsPlace() bool {
	for _, s := range v.banning() {
		if s.has(Country) || s.has(ASN) {
			return true
		}
	}
	return false
}

// AllowsIdentities reports whether some identity is allowed, so that a banned
// address may still turn out to be welcome.
func (v *View) AllowsIdentities() bool {
	s := v.lists[Allowed]
	return s.has(Tenant) || s.has(Subject) || s.has(Key)
}

// banning returns the sets of bans in the order in which they are asked.
func (v *View) banning() [3]*Set {
	return [3]*Set{v.lists[Banned], v.file, v.lists[Detected]}
}

// Early returns the ban that a caller meets before the credential is looked at,
// nil for none. It does not ask for allowances.
func (v *View) Early(c *Caller, now time.Time) *Entry {
	ns := now.UnixNano()
	var room [1024]byte
	var agent, path []byte // when a pattern asks for them
	for _, s := range v.banning() {
		if s == nil || s.size == 0 {
			continue
		}
		if e := s.address(c.Address, ns); e != nil {
			return e
		}
		if e := s.name(Country, c.Country, ns); e != nil {
			return e
		}
		if e := s.name(ASN, c.ASN, ns); e != nil {
			return e
		}
		if s.has(Path) {
			if path == nil {
				path = append(room[len(room)/2:len(room)/2], c.Path...)
			}
			if e := s.match(Path, path, ns); e != nil {
				return e
			}
		}
		if s.has(Agent) {
			if agent == nil {
				agent = appendLower(room[:0:len(room)/2], c.Agent)
			}
			if e := s.match(Agent, agent, ns); e != nil {
				return e
			}
		}
	}
	return nil
}

// Identity is what a verified credential says of a caller, and where the
// request goes.
type Identity struct{ Tenant, Subject, Key, Route string }

// AllowsIdentity reports whether an allowance names the identity.
func (v *View) AllowsIdentity(id *Identity, now time.Time) bool {
	s, ns := v.lists[Allowed], now.UnixNano()
	return s.name(Tenant, id.Tenant, ns) != nil || s.name(Subject, id.Subject, ns) != nil || s.name(Key, id.Key, ns) != nil
}

// Late returns the ban that an identity or its route meets, nil for none. It
// does not ask for allowances.
func (v *View) Late(id *Identity, now time.Time) *Entry {
	ns := now.UnixNano()
	for _, s := range v.banning() {
		if s == nil || s.size == 0 {
			continue
		}
		if e := s.name(Tenant, id.Tenant, ns); e != nil {
			return e
		}
		if e := s.name(Subject, id.Subject, ns); e != nil {
			return e
		}
		if e := s.name(Key, id.Key, ns); e != nil {
			return e
		}
		if e := s.name(Route, id.Route, ns); e != nil {
			return e
		}
	}
	return nil
}

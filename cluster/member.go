package cluster

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/cespare/xxhash/v2"
)

// NodeID names a replica: one life of a node. Its high half is a hash of the
// node's name, which outlives restarts, its low half the boot nonce, which does
// not: a restart is a new replica. An upgrade that hands over is not a restart.
// The zero NodeID is nobody.
type NodeID uint64

func makeNodeID(name string, nonce uint32) NodeID {
	return NodeID(nameHash(name))<<32 | NodeID(nonce)
}

// NewID names a replica that is no member itself, such as the writer of facts on a
// node without a cluster.
func NewID(name string) NodeID { return makeNodeID(name, newNonce()) }

// Stable is the half that outlives restarts.
func (id NodeID) Stable() uint32 { return uint32(id >> 32) }

// Nonce is the half that is new with every start.
func (id NodeID) Nonce() uint32 { return uint32(id) }

// String is both halves in hexadecimal, such as 5f3a81c0-1d22e907.
func (id NodeID) String() string { return fmt.Sprintf("%08x-%08x", id.Stable(), id.Nonce()) }

func nameHash(name string) uint32 {
	h := xxhash.Sum64String(name)
	return max(uint32(h^h>>32), 1)
}

// State is what this node believes of a member.
type State uint8

// The states of a member.
const (
	Alive   State = iota // answers
	Suspect              // counts as a member, but was not heard from for SuspectAfter
	Dead                 // failed: the others agreed that it does not answer
	Left                 // said goodbye
)

// String is the state as a word, such as alive.
func (s State) String() string {
	switch s {
	case Alive:
		return "alive"
	case Suspect:
		return "suspect"
	case Dead:
		return "dead"
	case Left:
		return "left"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Member is what is known of a node.
type Member struct {
	ID         NodeID
	Name       string
	Address    netip.AddrPort
	State      State
	Self       bool
	Since      time.Time // when this node saw the replica enter the cluster, or leave it
	Heard      time.Time // when it was last heard from; its own clock has no part in it
	API        uint16    // version of the messages that it understands
	Generation uint32    // see Options.Generation
	Version    string    // see Options.Version
	Meta       []byte    // see Options.Meta; must not be changed
}

// EventKind says what happened to a member.
type EventKind uint8

// What can happen.
const (
	Joined     EventKind = iota // a replica is new, or back from the dead
	Gone                        // it left or failed; Member.State says which
	Updated                     // its meta data or generation changed
	Suspected                   // it was not heard from
	Cleared                     // it was heard from again
	Conflicted                  // another address claims the name; Event.Rival is that address
)

// String is the kind as a word, such as joined.
func (k EventKind) String() string {
	switch k {
	case Joined:
		return "joined"
	case Gone:
		return "gone"
	case Updated:
		return "updated"
	case Suspected:
		return "suspected"
	case Cleared:
		return "cleared"
	case Conflicted:
		return "conflicted"
	}
	return fmt.Sprintf("event(%d)", uint8(k))
}

// Event is one change in who is a member.
type Event struct {
	Kind   EventKind
	Member Member
	Rival  netip.AddrPort // of Conflicted
}

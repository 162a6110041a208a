package lease

import "sluice/limiter/core"

// MessageKind says what a Message between nodes is.
type MessageKind uint8

// The kinds.
const (
	MsgPing    MessageKind = iota + 1 // "I am alive, and of this epoch"
	MsgPong                           // its answer, with the time of the ping
	MsgDecree                         // who is the authority
	MsgTake                           // questions to the home of keys
	MsgGrant                          // its replies
	MsgCopy                           // what a home has done, to the standby
	MsgCopied                         // the standby has it
	MsgRecall                         // others are in want of these keys
	MsgSnap                           // what is known of replicas that cannot say it themselves, to a home or standby
	MsgSnapped                        // it has them
)

// Message is what nodes say to each other. Every one may be lost, repeated, late
// or overtaken.
type Message struct {
	Kind  MessageKind
	Epoch uint64 // the sender's

	// Of pings and pongs.
	SentNS  int64        // when the ping was sent, on the clock of its sender
	Replica core.Replica // as which the sender spends
	RedisUp bool         // Redis answers the sender
	Sure    bool         // the sender would know of a newer epoch: it may vote
	Handed  bool         // in this epoch, the sender has told all that it knows

	Decree *Decree // of MsgDecree
	Items  []Item  // of the others
}

// Item is a message's part about one key.
type Item struct {
	Key   Key
	Limit Limit         // of takes, copies and snaps
	Take  core.Take     // of takes and copies
	Reply core.Reply    // of grants and copies; To and Seq alone of copied
	Snap  core.Snapshot // of snaps
}

// Envelope is a message under way to a member.
type Envelope struct {
	To Member
	// Reliable asks for a stream rather than a datagram.
	Reliable bool
	Message
}

// Member names a node in one of its lives, as the gossip knows it. It does not
// change when the node fences itself and spends as another replica.
type Member = core.Replica

// stable is the half of a member's name that outlives restarts.
func stable(m Member) uint32 { return uint32(m >> 32) }

// Authority says who keeps the books in an epoch.
type Authority uint8

// The authorities.
const (
	ByRedis Authority = iota
	ByHome
)

// Decree is what holds in one epoch. Of two the one with the greater epoch holds.
type Decree struct {
	Epoch  uint64
	By     Authority
	Voters []uint32 // stable halves; a majority of them must follow
	Before []uint32 // those of the decree before: a majority of them must follow, too
	Homes  []Member // among which keys are spread, when they keep the books
	// Whole are the homes of the last decree under which all had told all: what
	// either of a key's owners among them knows is everything. None after Redis.
	Whole []Member
}

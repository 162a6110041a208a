package lease

import "sluice/limiter/core"

// CallKind says what a Call asks of Redis.
type CallKind uint8

// The kinds.
const (
	CallTake  CallKind = iota // a question about one key
	CallBeat                  // "I am alive", answered with the register
	CallClaim                 // a new epoch
	CallProbe                 // whether it is there, while others keep the books
)

// Call is one command to Redis. All calls of a pipeline are answered, or none.
type Call struct {
	Kind CallKind

	// Of CallTake.
	Key     Key
	Limit   Limit
	Take    core.Take
	Lenient bool

	// Of CallBeat: the replica, how many beats it has sent, the epoch that it has
	// presented its rows to, and the voters of an epoch.
	Self      core.Replica
	Beat      uint64
	Presented uint64
	Voters    []uint32 // stable halves of replicas
	VotersOf  uint64
	Votes     bool // the replica counts towards a majority
	Alone     bool // no majority is needed

	// Of CallClaim.
	New    uint64
	Expect []core.Replica

	hold   *hold // nil: an estate's
	wanted int64
}

// Result answers a Call.
type Result struct {
	// Of CallTake. Old is set when the question was older than what Redis knows:
	// there is no reply.
	Reply core.Reply
	Old   bool
	Limit Limit // what was counted by, Version and Rights only

	// Of CallBeat and CallClaim: Redis's epoch, 0 when it has none.
	Epoch   uint64
	OpensMS int64  // until it grants
	Before  uint64 // the number of the beat before
	Quorate bool
	Alive   []Sign
}

// Sign is when a replica last said that it lives.
type Sign struct {
	Replica core.Replica
	AgeMS   int64
}

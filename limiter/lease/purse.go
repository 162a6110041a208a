package lease

import (
	"time"

	"sluice/limiter/core"
)

// Purse is where the rights of one key are at this node and where requests take
// them from, while the Node keeps the books about it. Every method is called from
// the goroutine that drives the Node, and must not wait.
type Purse interface {
	// Limit is the key's limit now.
	Limit() Limit
	// Spent calls use for what was spent since it was last called, oldest first: n
	// rights, none of them spent after the stamp at, in the limit's ticks.
	Spent(now Instant, use func(at core.Stamp, n int64))
	// Lack is the rights that requests wait for; 0 when more than what is in hand
	// would soon be welcome, core.ReportOnly when not.
	Lack() int64
	// Tokens is the unspent rights in hand.
	Tokens() int64
	// Withdraw takes out up to n unspent rights and returns how many.
	Withdraw(n int64) int64
	// Deposit puts in n rights whose uses have left the window without ever having
	// been reported.
	Deposit(n int64)
	// Answer puts rights in and says what the authority said.
	Answer(now Instant, a Answer)
	// Quiet is how long ago rights were last spent or wanted.
	Quiet(now Instant) time.Duration
	// Release says that the Node is about to forget the key; false forbids it.
	Release() bool
}

// Answer is what came of asking.
type Answer struct {
	Outcome Outcome
	Granted int64         // rights to put in
	Pool    int64         // what the authority has left
	Wait    time.Duration // until it is worth asking again, when less was granted than was lacking
	Reset   time.Duration // until some used right comes back; 0: none is used
	// Stray says that other nodes hold rights, which may come back at any time; Recall
	// is until it is worth asking them again.
	Stray  bool
	Recall time.Duration
	// Limit is what the authority counts by, when that is newer than the purse's.
	Limit Limit
}

// Outcome says what kind of answer it is.
type Outcome uint8

// The outcomes.
const (
	Served      Outcome = iota
	Exhausted           // the authority has less than was wanted
	Recalling           // the same, but others were asked for what they hold, and the question will be asked again
	Closed              // the authority is changing, and grants nothing yet
	Unavailable         // nobody answers
	Enough              // nothing was asked: what is in hand is enough after all
)

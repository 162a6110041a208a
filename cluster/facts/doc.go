// Package facts keeps small facts with a lifetime, such as bans, that every node
// of a cluster must come to agree on, in whatever order it hears of them.
//
//	Set, Delete ──► Store ──► Watch          what the rest of this process sees
//	                │   ▲
//	       OnChange ▼   │ Merge              what other nodes are told, and tell
//	             gossip, digests
//
// A fact is a value under a kind and a key. Of two versions of it the one with
// the larger [Stamp] wins: a hybrid logical clock, with the node as tie-break.
//
// # Invariants
//
//  1. Merging is commutative, associative and idempotent: nodes that have merged
//     the same entries hold the same facts. (An entry that is over when it comes
//     is not stored beside nothing; two stores that have told each other all they
//     hold agree all the same.)
//  2. What [Store.Set] or [Store.Delete] wrote is what [Store.Get] returns,
//     until something newer is merged or it expires.
//  3. A fact is never returned after its expiry.
//  4. A version that lost does not come back: what replaced it is remembered, as
//     a tombstone if need be, until every version it replaced has expired, yet
//     at most a day after its own end ([Retention]).
//  5. A stamp more than [MaxAhead] ahead of the wall clock is refused, so that
//     one wrong clock cannot drag the others'.
//  6. Memory is bounded: by kinds, by facts per kind, by bytes per fact.
//  7. A snapshot file is either whole or refused; writing one replaces the former
//     in one step.
//  8. Of the processes of a node, one keeps the facts; [Store.Set] in another fails
//     with [ErrFrozen] rather than write what would be lost.
//
// # Concurrency
//
// A Store is safe for concurrent use and has no goroutine but [Store.Run]'s. Watchers
// are called one at a time, in order, by whichever goroutine made the change;
// they must not block, and may call the Store. There are two locks, never held
// together with a watcher's call: mu (the tables) before queue (the notices).
//
// [Store.Get] takes a read lock. On the road of a request keep what
// [Store.Watch] tells in a snapshot of your own instead.
//
// # Failure
//
// A full kind refuses new keys from this node with [ErrFull]; from others it
// takes up to twice as many, because they may have filled up at the same time.
// A node that was cut off for longer than a day may bring back a fact that was
// deleted meanwhile. A snapshot that was damaged is set aside as .bad.
//
// # What it does not do
//
// It does not order writes of different keys, count, or lock: two nodes that
// set one key at once both succeed, and one of them wins.
//
// Sources: Kulkarni and others, Logical Physical Clocks (2014), for the clock;
// Shapiro and others, Conflict-free Replicated Data Types (2011), LWW element set.
package facts

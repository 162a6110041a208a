// Package lease is what a node of a cluster does about its rights: whom it asks
// for them, what it does while nobody answers, when it stops spending, and what
// it does for others when it is itself the authority of a key.
//
//	requests ──▶ Purse ──Ask──▶ Node ──Calls──▶ Redis ──Done──▶ Node ──Answer──▶ Purse
//	                             │  ▲
//	                             ▼  │ Receive
//	                            Outbox ──▶ other nodes
//
// A [Node] is a deterministic state machine. It has no clock, no goroutine and no
// network: the time comes with every input, and what is to be sent lies in its
// outbox. In production one goroutine drives it; in loadtest/sim an event queue
// drives a hundred of them.
//
// # Invariants
//
//  1. Rights are granted by one authority at a time: an epoch has one, and only
//     the newest epoch that a majority follows is served.
//  2. A replica that has not reached its authority, or a majority, for [FenceAfter]
//     does not spend. What it held is reclaimed no earlier than [ReclaimAfter]
//     after that contact, and by then it is another replica.
//  3. An authority that is new, or has forgotten, grants nothing before everybody
//     who may hold rights has presented them or has fenced itself.
//  4. One question about a key is under way at a time.
//
// # Concurrency
//
// One goroutine at a time. A [Purse] is called from it and locks what it needs.
package lease

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
//  5. Books that change hands are repeated until they are acknowledged, and a home
//     grants nothing before everybody in touch has told all that it knows: its own
//     rows, and those of replicas that are not there to tell them.
//
// # Why the limit holds
//
// Package core proves the bound for one authority that forgets nothing and reclaims
// from nobody who spends. What is left to show is that a change of authority keeps
// both. Take a key, and the moment at which a new home grants for the first time (3, 5).
// A replica that is in touch has presented its row, which it alone changes, and its
// uses; so nothing of it is missing. One that is not in touch has spent nothing since
// its fence (2): a decree begins after a majority has left the older one, and Redis
// keeps in touch only those that are quorate. What it used and held before is in the books
// of the last decree under which all had told all ([Decree].Whole): the home's, or,
// since nothing is answered before the standby has it, the standby's. If either is
// there it has handed the row over (5). If neither is, nobody knows what is free, and in
// the strict mode all that seems free counts as used now ([core.Ledger.Overspent]). By
// induction over the decrees nothing is ever missing.
//
// # What is not covered
//
// While Redis keeps the books, standbys learn of a grant after the one who asked. So
// when a node dies and Redis loses its memory as well, what that node was granted
// within its last unacknowledged mirror, a fraction of a second, is forgotten: at
// most one grant per key. When home and standby die together in the available mode,
// what dead replicas had used is forgotten. When all nodes and Redis end together,
// everything is.
//
// # Concurrency
//
// One goroutine at a time. A [Purse] is called from it and locks what it needs.
package lease

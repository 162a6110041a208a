// Package core is the arithmetic of a limit that cannot be overspent, by one node
// or by many. It is pure: integers only, no clock, no lock, no network, no
// goroutine. Whoever calls it says what time it is and keeps it to one goroutine
// at a time.
//
//	           Grant                Spend                 Settle
//	pool P ────────────▶ held H ─ ─ ─ ─ ─ ─ ─▶ (unreported) ────▶ used U
//	  ▲  ▲     Return      │                                        │
//	  │  └─────────────────┘                 Expire                 │
//	  └─────────────────────────────────────────────────────────────┘
//
// An [Account] is a key's sums at its authority: the uses inside the window as a
// [Log], and the rights that nodes hold. A [Ledger] is an account with a [Row] for
// each replica; a [Holder] is the other end of a row. They exchange [Take] and
// [Reply]. [Burst] is the generic cell rate algorithm, for limits on speed.
//
// # Invariants
//
//  1. U + ΣH + P = L after every step. P is below 0 only after L was lowered, or
//     when rights are presented that the authority had forgotten; nothing is
//     granted then.
//  2. A use is recorded under a stamp that is not earlier than the use, and leaves
//     only when its stamp is a whole window old.
//  3. What a replica can spend, with what it has spent and not reported, is at most
//     what the authority holds for it. Rows only grow, so a message that is lost,
//     repeated, late or overtaken changes nothing or moves rights from spendable to
//     used.
//  4. A log has at most as many runs as its owner allows. Merging moves uses to a
//     later stamp only.
//
// # Why the limit holds
//
// Take any moment t, and the uses in (t−W, t]. Each is reported, and then by 2 in
// U at t; or it is not, and then by 3 in some H at t. No use is in both, so there
// are at most U + ΣH = L − P of them, and P ≥ 0. This needs one authority at a
// time, and a replica that has stopped spending before it is reclaimed: the
// caller's to ensure.
//
// # What it costs
//
// Rights come back late, never early: by a tick, and by what merging has moved.
// The pair merged is the one for which (uses of the earlier run) × (gap) is
// least, so a burst keeps its shape beside a drizzle. With [MaxRuns] runs a key
// driven at 1.5 times its limit gets at least 99.4 % of what an exact log gives.
// Merging the smallest gap, rather than the smallest product, lets all history
// drift forward; plain buckets of a minute cost a client that comes in a burst
// every hour a quarter of its quota.
//
// # Tests
//
// The log is fuzzed against one that never merges. Accounts take random steps
// against the definition. Ledger and holders go through every history of three
// replicas and four rights up to a depth, and through long random ones, with
// messages lost, repeated and reordered, crashes and reclaims.
package core

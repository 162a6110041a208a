// Package limiter decides how much each caller may do: quotas in sliding or fixed
// windows, bursts, several limits on one request, for tenants and for client
// addresses. A quota is a hard bound: at no moment does a trailing window hold
// more admissions than the limit.
//
//	Decide(now, charges) ──┬─ glance ── marked exhausted? ───────────▶ red: refused,
//	                       │                                          nothing written
//	                       ├─ spend ─── rights in hand: one swap ────▶ green
//	                       │
//	                       └─ take ──── ask the account, under the ──▶ amber: granted
//	                                    key's own mutex               or refused, marked
//
//	Key ──▶ table (tenants, subjects, routes)    entry: hot word │ account (run log)
//	   └──▶ addresses (client addresses)         set of seven small entries
//
// A key's rights are in three places: used inside the window, held by this node,
// or in the pool of the key's authority (package core; U + H + P = L). While the
// node holds rights, a request takes one by a compare-and-swap of one word, which
// also counts it as pending. The first request of each tick, 10 ms for a window
// of an hour, moves what is pending into the run log and lets what is too old
// leave. When the node holds too few, it asks the authority for more: half of the
// pool, so that spending a fresh quota of 1,000 asks about a dozen times. When
// there is nothing to be had, the key is marked with the moment at which that can
// change, and until then is refused by one look.
//
// # Invariants
//
//  1. No trailing window has more admissions than the limit, nor a fixed window.
//     Proof and preconditions: package core.
//  2. A refused request is free: it takes nothing under any of its limits.
//  3. RetryAfter is true: after it, the request fits all its limits, unless
//     others have used the same keys meanwhile.
//  4. 0 ≤ Remaining ≤ Limit, and Remaining is never more than an exact log has left.
//  5. A refusal for a cost says nothing about smaller costs.
//  6. What is used survives a change of rule, of limit and of window. Each request
//     is judged by the rule that it carries; a raised limit voids marks, a lowered
//     one takes back rights in hand.
//  7. Only buckets in which nothing is used leave the table of keys. Addresses have
//     a table of their own, which never grows beyond its size and never takes room
//     from tenants.
//
// # Time
//
// The time of a decision is the Instant it is given, or that of an earlier
// decision about the key if that is later: requests overtake each other between
// reading the clock and deciding. Ages are monotonic. Only fixed windows look at
// the wall clock: set forward, the next window begins; set back by less than a
// window, the present one lasts until the clock has caught up; by more, what is
// used counts in the window that the clock shows.
//
// # Shadow
//
// A charge in shadow that does not fit is reported and takes nothing. So the
// window always holds exactly what enforcing would have admitted: the count of
// would-be refusals is what enforcing would refuse (counting all traffic instead
// would report every request above the limit as refused, for ever), and switching
// to enforcing finds the window full, not empty and not overdrawn.
//
// # Full tables
//
// When the table of keys is full and a short search finds nothing idle, keys
// that have no bucket share one for each rule, with that rule's own limit: each
// stays within its limit, together they may get less. A bucket made after that
// starts with what the shared one has used, since its key may have spent there.
//
// An address whose set is full displaces the one seen least. A displaced address
// that comes back starts anew, so under a flood of distinct addresses the bound
// holds for those that keep coming, and for the others only while they stay. An
// address's log has eight runs instead of 128: as hard, less fine.
//
// # Concurrency
//
// Everything may be called from everywhere. Looking up takes no lock; spending is
// one swap. Locks: a shard's mutex (adding and dropping keys), then an entry's
// (once a tick, and near the limit); a set of addresses has its own. Rights
// reserved by a request that another limit then refuses are back within its
// Decide; a request that meets just that moment may be refused by them, and is
// not marked.
//
// # The authority of a cluster
//
// With [Options].Cluster the authority is elsewhere, and an entry has a far part:
// the word, reservations and tables stay as they are, so a green decision costs the
// same. What is different begins where the rights in hand end. take makes the
// request a waiter, first come, first served, for at most 5 ms; the fleet, one
// goroutine, asks for all keys that lack rights in one pipeline, and what gathers
// while that is under way goes out with the next. A key with a quarter of its last
// grant left is asked for before anybody waits. A refusal marks the key red until
// used quota comes back, or for half a second when other nodes hold rights. Package
// lease is the state machine of all this, package redis the way to the authority.
//
// Bursts and client addresses are counted by each node for itself.
//
// Failure. While the authority does not answer, nodes spend what they hold, for at
// most 10 s after their last contact ([lease.FenceAfter]); then they refuse. An
// authority that has lost its memory grants nothing until the nodes have told it
// what they know.
//
// # What it does not do
//
// It does not know HTTP, tenants or tiers: the caller says which charges a request
// has and turns a Decision into headers. It keeps nothing across a restart; across
// an upgrade, everything: see [Handover].
//
// # Sources
//
// GCRA: ITU-T I.371 annex A. SipHash: Aumasson and Bernstein 2012. Escrow of
// rights: O'Neil, "The escrow transactional method", 1986; bounded counters:
// Balegas et al., "Extending eventually consistent cloud databases for enforcing
// numeric invariants", 2015. Tags beside slots: Abseil's Swiss tables.
package limiter

// Package detector finds who behaves like an attacker, and has them banned for a
// time, when it is told to.
//
//	request ends ──► Observe ──┬─ failed, forbidden, missing, throttled, attack ─► windows of
//	                           │        address, subject, key              over ─► Finding ─► ban
//	                           └─ every request ─► counts ──tick──► against the own baseline ─► Finding
//
// What is looked for, by rule:
//
//	brute_force          failed authentications, here or at the service (401), by one address
//	credential_stuffing  different credentials that failed, by one address
//	scanning             different paths refused or missing (401, 403, 404, 405), by one address or subject
//	attacks              requests in which the firewall found something, by one address, subject or key
//	throttled            requests refused by a limit (429), by one address, subject or key
//	surge                requests of one address, subject, key or tenant against what it usually sends
//	anomaly              failures of one tenant against what it usually has
//
// # Invariants
//
//  1. Who is allowed is never banned, and a tenant never is: its other users
//     would be, too. Findings about tenants are reported.
//  2. In the mode observe nothing is banned; the same findings are reported.
//  3. Each ban of the same target lasts twice as long as the one before, up to
//     max_for, and is counted as a further strike until a day after its end. All
//     nodes know the strikes.
//  4. Memory is bounded, whoever sends from wherever: windows by table size, where
//     the coldest gives way, counts by a sketch of fixed size.
//  5. A request without fault costs no lock and no allocation.
//  6. Addresses of IPv6 count by /64, which is what one subscriber has.
//
// # Concurrency
//
// A Detector is safe for concurrent use. Requests with a fault lock one shard of
// the windows; two requests of one client meet there. Ticks are made by Run.
//
// # What it does not do
//
// It adds nothing up over nodes: a client that spreads its attempts over three
// nodes may make three times as many, unless the load balancer keeps to one. The
// ban then holds on all. It reads no bodies: which user names a client tries at
// a service's own log-in it cannot see, only that they fail.
//
// # Sources
//
// Sliding windows of two buckets, as rate limiters use them. Count-min sketch:
// Cormode and Muthukrishnan (2005). The weight of a new bit that makes distinct
// counts unbiased: Ting, Streamed Approximate Counting of Distinct Elements (2014).
package detector

// Package sim runs a whole cluster of limiters in one goroutine and one stretch of
// simulated time: the state machine of production (limiter/lease) on every node,
// over a network that delays, loses, repeats and reorders, with partitions, deaths,
// pauses, and a Redis that fails, hangs or forgets. One seed gives one run, always
// the same.
//
//	events, by time ──▶ World ──┬─ request ──▶ purse ──Ask──▶ lease.Node
//	                            ├─ tick ───────────────────▶ lease.Node ──▶ messages, calls
//	                            ├─ message ────────────────▶ lease.Node
//	                            └─ fault
//
// After every admission the one claim is checked that all of it is for: no trailing
// window has more admissions of a key than its limit.
//
// What it does not show: the hot word and the locks (package limiter's own tests),
// the wire format (limiter/lease), the scripts (limiter/redis, against a real
// server).
package sim

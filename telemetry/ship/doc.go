// Package ship sends the lines of logs to places over the network: syslog
// receivers, Loki, Elasticsearch, VictoriaLogs, OTLP collectors, or standard output.
//
//	Stream ── Offer ──> memory ──────────────────────> sender ── protocol ──> receiver
//	                      │  half full, receiver slow    ^
//	                      └──> spiller ──> disk ─────────┘  oldest first
//
// # Invariants
//
//  1. Offer never waits: for no receiver, no disk, and for a lock only as long as a
//     copy takes. What fits neither in memory nor on disk is dropped and counted.
//  2. Every line that was offered is delivered at least once, or counted as
//     dropped, or is on disk for the next start.
//  3. Lines of one output arrive in the order in which they were offered, but for
//     those that another process left on disk.
//  4. A receiver that is down is asked again with a growing pause, and is caught up
//     with by itself when it answers. One output knows nothing of another.
//
// # Failure
//
// A receiver that refuses lines for what they are (HTTP 400, 413 and the like)
// would refuse them for ever: they are dropped, counted and warned about. All
// other failures are tried again. A delivery that was cut off may be repeated, so
// that a receiver may see lines twice and never misses one.
//
// Several processes may have the same directory, as during an upgrade: each spills
// into one of its own, locked, and takes over those that nobody holds.
//
// # Sources
//
// RFC 5424 (syslog), RFC 6587 (octet counting over TCP), RFC 5425 (over TLS), RFC
// 5426 (over UDP); Loki's POST /loki/api/v1/push; Elasticsearch's POST /_bulk;
// OpenTelemetry protocol 1.x, OTLP/HTTP, and its log data model.
package ship

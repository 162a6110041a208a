// Package series keeps the last 24 hours of this node's traffic in memory: per
// route, per tenant and in all, by the second while it is fresh and by ten
// minutes when it is old.
//
//	a second's Point ── Add ──► Store ──► Window   everything of the last d, merged
//	                              │  └──► History  the same, step by step
//	                              └─────► Encode   for a successor
//
// A [Point] counts requests by outcome and keeps their durations in a [Sketch].
// Points of different routes, seconds and nodes merge by addition, and a
// percentile of what was merged is as exact as one of the parts.
//
// # Invariants
//
//  1. A quantile is within 1/16 (6.25 %) of a duration that has that rank, for
//     durations from 65.536 µs ([Shortest]) to 68.7 s ([Longest]); shorter ones
//     read as Shortest, longer ones as Longest.
//  2. Merging is associative and commutative: no order of seconds, routes or
//     nodes gives another result.
//  3. Memory is bounded: by [Options.MaxRoutes] and MaxTenants, the slots of each
//     level, and the longest form of a point. What is over a cap counts as other.
//  4. What a decoder is given may be anything: it returns an error, never panics,
//     and allocates no more than in proportion to its input.
//
// # Levels
//
//	step      1 s     10 s     1 min    10 min
//	reaches   1 min   10 min   1 h      24 h
//
// A point is added to every level; the slot of a level that is being filled is an
// array, the former ones are kept in their short form, some 40 to 150 bytes each
// (700 at most). A series takes 6 KB when it is new and 20 to 60 KB when
// it has had traffic all day.
//
// # Concurrency
//
// A [Store] is safe for concurrent use, under one lock that no request takes:
// requests count in cells (package telemetry), from which one goroutine makes a
// point per second.
//
// # What it does not do
//
// It has no clock, and it writes nothing to disk: what is older than a day or
// must outlive the process is for Prometheus to keep.
//
// # Sources
//
// Gil Tene, HdrHistogram, for buckets of equal relative width found by the bits
// of a number; Masson, Rim and Lee, DDSketch (2019), for the bound on a merged
// quantile.
package series

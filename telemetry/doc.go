// Package telemetry says what happened: the access log, the operational log,
// the metrics, the trace context and the readiness of this process.
//
//	              ┌─ AccessLog, Stream ── shards ── Run ──┬─ writer goroutine ── file, stdout
//	              │                                       └─ sinks
//	one request ──┤
//	              └─ Metrics ─┬── cells, a copy per stripe ──┐
//	                          └── the Set's own counters ────┤
//	other rooms' Stats ── Collect ───────────────────────────┼── Set.WritePrometheus: /metrics
//	Go runtime, process ── the library's writers ────────────┘
//	warnings ── Throttle ── slog
//
// # Invariants
//
//  1. Nothing here makes a request wait: no send that may block, no file, no
//     lock that another core holds for longer than it takes to encode a line.
//     What does not fit is dropped and counted.
//  2. A line of the access log is one JSON object of at most [MaxLine] bytes,
//     valid UTF-8 whatever the client sent, and it is written whole, also when
//     several processes append to one file during an upgrade.
//  3. Every line that Write took before Run was told to stop is on disk when
//     Run returns, or is counted by Dropped.
//  4. Label values come from the configuration or from closed sets. The one
//     that callers bring, the tenant, is capped; what is over the cap counts
//     as "other".
//  5. A histogram's _count is the sum of its buckets at every scrape.
//  6. Every metric of ours has its row in [Families], which is where its help,
//     type, labels and docs/metrics.md come from.
//
// # Concurrency
//
// Everything is safe for concurrent use. Counters and log buffers exist once
// per stripe; a request picks the stripe of the processor that it runs on (see
// striper), so that cores do not pass cache lines to each other. A stripe may
// be shared for a moment after a garbage collection or a migration, which
// costs time and never a count.
//
// # What the library counts, and what cells do
//
// The registry is a Set of VictoriaMetrics/metrics, one for each [Metrics]. Its
// counters and gauges hold what is counted now and then, and what is one
// addition a request. Its histogram is guarded by one mutex that all
// processors share, which the hot path must not have, and [Metrics.Observe]
// adds to five of them: these, and the counters beside them, are cells of our
// own, rendered by a writer registered with the Set.
//
//	ns                                       1 processor   2 processors
//	Observe, five histograms in cells             27            24
//	the same in the library's                     27            53
//	one addition to the library's counter          2.4           7.7
//	one to a cell, stripe and label look-up        7.4          14
//
// Medians of BenchmarkObserve, BenchmarkObserveLibrary, BenchmarkCounterLibrary
// and BenchmarkDecided, 100 runs of 20,000 (2 vCPUs, AMD EPYC, Go 1.26,
// November 2026; a machine with other work, so that single runs differ by half).
// The third and fourth line are why a counter is the library's unless one request
// adds to several things at once, or, as with limit decisions, most combinations
// of its labels never occur and must not be series.
//
// # Failure
//
// A disk that is slow or full costs log lines, never requests: they are counted
// by Dropped and warned about at most once in ten seconds. So does a standard
// output whose reader has gone. A rotation or compression that fails is retried
// by the next sweep. A disk that hangs keeps no line from the sinks, nor one sink
// from the others.
//
// # What it does not do
//
// It exports no spans and evaluates no alerts, and it knows nothing of
// the configuration's types: cmd translates them into the Options here.
//
// # Sources
//
// RFC 8259 (JSON), RFC 3339 (time), W3C Trace Context level 2, the Prometheus
// text exposition format 0.0.4, github.com/VictoriaMetrics/metrics, POSIX write
// and PIPE_BUF, the ULID text form.
package telemetry

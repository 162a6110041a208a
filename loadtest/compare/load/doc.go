// Package load sends HTTP requests in the comparison's two ways.
//
//	Saturate  wrk, closed loop: as many requests as the proxy will take;
//	          says throughput, and CPU time per request
//	Rate      constant rate, open loop: each request has its time, whether or
//	          not earlier ones are answered; says latency
//
// Latency at a constant rate is measured from the time at which a request was
// meant to start. A proxy that stalls is charged for every request that had to
// wait, which a closed loop would quietly not send ("coordinated omission").
//
// Invariants
//  1. Both send the same bytes: a GET with a bearer token, tokens in turn, over
//     keep-alive connections.
//  2. Every answer that is not 2xx, and every connection that fails, is counted.
package load

import (
	"slices"
	"time"
)

// Target is what is asked, by both kinds of load.
type Target struct {
	Address string   // host:port
	Path    string   // as sent
	Tokens  []string // bearer tokens, used in turn; at least one
	Conns   int      // keep-alive connections
}

// Result is what one slice of load saw.
type Result struct {
	Requests int64         // answered
	Errors   int64         // not answered, or not with 2xx
	Elapsed  time.Duration // of the slice
	P50, P99 time.Duration // latency
}

// PerSecond is the throughput.
func (r Result) PerSecond() float64 { return float64(r.Requests) / r.Elapsed.Seconds() }

// percentile returns the smallest of the sorted values that at least share p of
// them do not exceed; 0 when there are none.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(p*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// summarize fills in the percentiles; it sorts latencies.
func (r *Result) summarize(latencies []time.Duration) {
	slices.Sort(latencies)
	r.P50, r.P99 = percentile(latencies, 0.50), percentile(latencies, 0.99)
}

// Package report turns what the comparison measured into figures and Markdown.
//
// A row has one [Sample] per round. Rounds are interleaved: every proxy has its
// slice of each round, so that a machine that slows down for a while slows all
// of them. Hence two kinds of figure:
//
//   - a measured value is the median of the rounds, with the lowest and highest;
//   - a ratio of two proxies is the median of their ratios within each round,
//     never the ratio of two medians.
//
// A row with a single failed request, or a slice without an answer, is invalid
// and says so in place of figures.
package report

import (
	"fmt"
	"slices"
	"time"
)

// Report is one run of the comparison; --json writes it as it is.
type Report struct {
	Command  string    `json:"command"`
	Started  time.Time `json:"started"`
	Machine  Machine   `json:"machine"`
	Settings Settings  `json:"settings"`
	Small    []Row     `json:"small"`   // 1 KB bodies
	Large    []Row     `json:"large"`   // 100 KB bodies
	Missing  []string  `json:"missing"` // proxies left out, with the reason
}

// Settings are what the run was asked to do.
type Settings struct {
	Rounds      int           `json:"rounds"`
	Slice       time.Duration `json:"slice_ns"` // saturated, 1 KB
	Connections int           `json:"connections"`
	Rate        float64       `json:"rate"` // requests per second of the latency slices
	TokenBytes  int           `json:"token_bytes"`
	ProxyCPUs   []int         `json:"proxy_cpus"` // empty: not pinned
	LoadCPUs    []int         `json:"load_cpus"`
}

// Row is one proxy under one kind of load.
type Row struct {
	Name    string   `json:"name"`  // as --only takes it
	Label   string   `json:"label"` // as the table shows it
	Proxy   bool     `json:"proxy"` // false for the upstream asked directly
	Samples []Sample `json:"samples"`
	Notes   []string `json:"notes,omitempty"`
}

// Sample is one round of one row. Times are in microseconds.
type Sample struct {
	Round     int     `json:"round"`
	CPU       float64 `json:"cpu_us"`           // per request, user and system, of the whole process tree
	PerSecond float64 `json:"per_second"`       // saturated
	Busy      float64 `json:"busy"`             // share of the slice that the tree was on a CPU; may exceed 1 unpinned
	Foreign   float64 `json:"foreign"`          // share of the slice that something else was on the proxy's CPU
	RSS       int64   `json:"rss_bytes"`        // after the saturated slice
	RateCPU   float64 `json:"rate_cpu_us"`      // per request at the constant rate
	P50       float64 `json:"p50_us"`           // at the constant rate
	P99       float64 `json:"p99_us"`           // at the constant rate
	Requests  int64   `json:"requests"`         // answered, both slices
	Errors    int64   `json:"errors,omitempty"` // not answered with 2xx, both slices
}

// Errors is how many requests of all rounds failed.
func (r Row) Errors() (n int64) {
	for _, s := range r.Samples {
		n += s.Errors
	}
	return n
}

// Valid says whether there are figures to show.
func (r Row) Valid() bool { return r.invalid() == "" }

// invalid says why there are no figures to show; empty when there are.
func (r Row) invalid() string {
	if len(r.Samples) == 0 {
		return "not measured"
	}
	if n := r.Errors(); n > 0 {
		return fmt.Sprintf("invalid: %d requests failed", n)
	}
	if slices.ContainsFunc(r.Samples, func(s Sample) bool { return s.PerSecond == 0 }) {
		return "invalid: a slice without a single answer"
	}
	return ""
}

// Of collects one value of every round.
func (r Row) Of(value func(Sample) float64) []float64 {
	values := make([]float64, len(r.Samples))
	for i, s := range r.Samples {
		values[i] = value(s)
	}
	return values
}

// CPU selects CPU time per request.
func CPU(s Sample) float64 { return s.CPU }

// Find returns the valid row of that name.
func Find(rows []Row, name string) (Row, bool) {
	i := slices.IndexFunc(rows, func(r Row) bool { return r.Name == name })
	if i < 0 || !rows[i].Valid() {
		return Row{}, false
	}
	return rows[i], true
}

// Spread is a median with the range around it.
type Spread struct{ Median, Min, Max float64 }

// SpreadOf summarises the values; of none, it is zero.
func SpreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	s := slices.Clone(values)
	slices.Sort(s)
	mid := len(s) / 2
	median := s[mid]
	if len(s)%2 == 0 {
		median = (s[mid-1] + s[mid]) / 2
	}
	return Spread{Median: median, Min: s[0], Max: s[len(s)-1]}
}

// Ratio is the spread of a's CPU time to b's over the rounds that both have;
// false when there is no such round.
func Ratio(a, b Row) (Spread, bool) {
	base := make(map[int]float64, len(b.Samples))
	for _, s := range b.Samples {
		base[s.Round] = s.CPU
	}
	var ratios []float64
	for _, s := range a.Samples {
		if base[s.Round] > 0 {
			ratios = append(ratios, s.CPU/base[s.Round])
		}
	}
	return SpreadOf(ratios), len(ratios) > 0
}

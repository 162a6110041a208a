package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"sluice/loadtest/limits/oracle"
)

// table is a Markdown table in the making.
type table struct {
	out  io.Writer
	head bool
}

func (t *table) row(cells ...string) {
	fmt.Fprintf(t.out, "| %s |\n", strings.Join(cells, " | "))
	if !t.head {
		t.head = true
		fmt.Fprintf(t.out, "| %s |\n", strings.Join(make([]string, len(cells)), "--- | ")+"---")
	}
}

// row of a table: its flows, judged together.
type row struct {
	label string
	flows []string
}

var calmRows = []row{
	{"5 to 70 % of the quota", []string{"0.05", "0.2", "0.5", "0.7"}},
	{"100 %", []string{"1"}},
	{"150 %, evenly over the nodes", []string{"1.5 even"}},
	{"150 %, Zipf over the nodes", []string{"1.5 zipf"}},
	{"150 %, moving from node to node", []string{"1.5 shift"}},
	{"500 and 2,000 %", []string{"5", "20"}},
	{"a burst each window", []string{"bursts"}},
	{"attack on the edge of windows", []string{"edge"}},
}

var faultRows = []row{
	{"Redis killed for 15 s", []string{"redis 1.5", "redis 5"}},
	{"one node cut off from the others for 18 s", []string{"cut 1.5", "cut 5"}},
	{"one node killed, back after 8 s", []string{"kill 1.5", "kill 5"}},
}

// join adds up summaries of different keys; times are not kept.
func join(list []oracle.Summary) (s oracle.Summary) {
	for _, o := range list {
		s.Keys += o.Keys
		s.Requests += o.Requests
		s.Refusals += o.Refusals
		s.Admitted += o.Admitted
		s.Exact += o.Exact
		s.Needless += o.Needless
		s.Excess = max(s.Excess, o.Excess)
		s.ExcessShare = max(s.ExcessShare, o.ExcessShare)
		s.CalmRequests += o.CalmRequests
		s.CalmRefusals += o.CalmRefusals
		s.Local += o.Local
	}
	return s
}

// behaviour writes, for each row and contestant, the worst excess and the throughput.
func behaviour(out io.Writer, rows []row, names []string, results []result) {
	t := table{out: out}
	head := []string{""}
	for _, r := range results {
		head = append(head, r.who)
	}
	t.row(head...)
	for _, row := range rows {
		cells := []string{row.label}
		for _, r := range results {
			var parts []oracle.Summary
			for i, name := range names {
				for _, f := range row.flows {
					if f == name {
						parts = append(parts, r.flows[i])
					}
				}
			}
			s := join(parts)
			cells = append(cells, excess(s)+" / "+delta(s))
		}
		t.row(cells...)
	}
	cells := []string{"refused at up to 85 % of the quota"}
	any := false
	for _, r := range results {
		cells = append(cells, fmt.Sprintf("%d of %s", r.all.CalmRefusals, thousands(r.all.CalmRequests)))
		any = any || r.all.CalmRequests > 0
	}
	if any {
		t.row(cells...)
	}
	cells = []string{"refused while there was room"}
	for _, r := range results {
		cells = append(cells, percent(float64(r.all.Needless)/float64(max(1, r.all.Refusals)), 2)+" of refusals")
	}
	t.row(cells...)
}

// excess is the worst key's, as a share of its limit.
func excess(s oracle.Summary) string {
	if s.Excess == 0 {
		return "0"
	}
	return "**" + percent(s.ExcessShare, 1) + "**"
}

// delta is how the throughput differs from an exact log's.
func delta(s oracle.Summary) string {
	d := s.Throughput() - 1
	if d > -0.0005 && d < 0.0005 {
		return "0"
	}
	return fmt.Sprintf("%+.1f %%", 100*d)
}

func percent(share float64, digits int) string { return fmt.Sprintf("%.*f %%", digits, 100*share) }

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// phase is a run of which the costs are shown.
type phase struct {
	label   string
	results []result
}

// costs writes what deciding costs.
func costs(out io.Writer, phases []phase) {
	t := table{out: out}
	head := []string{""}
	for _, r := range phases[0].results {
		head = append(head, r.who)
	}
	t.row(head...)
	each := func(label string, cell func(result) string) {
		for _, p := range phases {
			cells := []string{label + ", " + p.label}
			for _, r := range p.results {
				cells = append(cells, cell(r))
			}
			t.row(cells...)
		}
	}
	per := func(sum float64, r result, format string) string {
		return fmt.Sprintf(format, max(0, sum)/float64(r.all.Requests))
	}
	each("Redis calls per request", func(r result) string { return per(r.spent.calls, r, "%.3f") })
	each("bytes between nodes per request", func(r result) string { return per(r.spent.gossip, r, "%.1f") })
	each("decided without asking", func(r result) string { return percent(float64(r.all.Local)/float64(r.all.Requests), 2) })
	each("wait in the limiter, p50 and p99.9", func(r result) string {
		return micros(r.all.WaitP50) + ", " + micros(r.all.WaitP999)
	})
	each("of those that asked, p99.9", func(r result) string {
		if r.all.Local == r.all.Requests {
			return "–"
		}
		return micros(r.all.AmberP999)
	})
}

func micros(d time.Duration) string {
	switch {
	case d < 10*time.Microsecond:
		return fmt.Sprintf("%.1f µs", float64(d)/1e3)
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	default:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	}
}

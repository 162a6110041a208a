package sim

import (
	"testing"
	"time"
)

// BenchmarkFigures reports what the cluster costs and gives, in simulated time:
// questions a request, messages a request, and the share of what an exact log
// would have admitted.
func BenchmarkFigures(b *testing.B) {
	for _, f := range []struct {
		name  string
		o     Options
		ratio float64 // of the limit that is asked for
	}{
		{"20%/redis", Options{Redis: true, Limit: 10_000}, 0.2},
		{"full/redis", Options{Redis: true, Limit: 10_000}, 1},
		{"saturated/redis", Options{Redis: true, Limit: 10_000}, 1.5},
		{"saturated-1000/redis", Options{Redis: true, Limit: 1_000}, 1.5},
		{"full/home", Options{Limit: 10_000}, 1},
		{"saturated/home", Options{Limit: 10_000}, 1.5},
		{"saturated-1000/home", Options{Limit: 1_000}, 1.5},
		{"saturated/redis/10-nodes", Options{Redis: true, Limit: 10_000, Nodes: 10}, 1.5},
	} {
		b.Run(f.name, func(b *testing.B) {
			o := f.o
			o.Nodes, o.Keys, o.Window = max(3, o.Nodes), 1, time.Hour
			o.Rate = f.ratio * float64(o.Limit) / 3600
			o.For = 2 * time.Hour
			if f.ratio <= 1 {
				o.For = time.Hour
			}
			for b.Loop() {
				o.Seed++
				r := Run(o)
				if r.Err != nil {
					b.Fatal(r.Err)
				}
				n := float64(r.Requests)
				b.ReportMetric(float64(r.Questions)/n, "questions/request")
				b.ReportMetric(float64(r.Admitted)/float64(r.Exact)*100, "%exact")
				b.ReportMetric(float64(r.Worst), "excess")
			}
		})
	}
}

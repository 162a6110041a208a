package telemetry

import (
	"testing"

	"github.com/VictoriaMetrics/metrics"
)

// BenchmarkObserveLibrary is BenchmarkObserve with the library's histograms and
// counters in the place of ours: what doc.go says of the two comes from here.
func BenchmarkObserveLibrary(b *testing.B) {
	set := metrics.NewSet()
	seconds := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	bytes := []float64{256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20}
	requests := set.NewCounter("requests")
	tenant := set.NewCounter("tenant")
	request := set.NewPrometheusHistogramExt("request_seconds", seconds)
	upstream := set.NewPrometheusHistogramExt("upstream_seconds", seconds)
	overhead := set.NewPrometheusHistogramExt("overhead_seconds", seconds)
	in := set.NewPrometheusHistogramExt("request_bytes", bytes)
	out := set.NewPrometheusHistogramExt("response_bytes", bytes)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			requests.Inc()
			request.Update(.018)
			in.Update(0)
			out.Update(1024)
			upstream.Update(.017)
			overhead.Update(.0002)
			tenant.Inc()
		}
	})
}

func BenchmarkCounterLibrary(b *testing.B) {
	c := metrics.NewSet().NewCounter("c")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Inc()
		}
	})
}

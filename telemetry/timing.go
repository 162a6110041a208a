package telemetry

import (
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// timingBounds suit waits for something on the same network, in seconds.
var timingBounds = []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2.5}

// Timing returns what takes the durations of one histogram family without labels,
// for other rooms; calls are for now and then, since they take a lock for all cores.
// It panics when [Families] has no such histogram.
func (m *Metrics) Timing(name string) func(time.Duration) {
	f, ok := family(name)
	if !ok || f.Type != typeHistogram || len(f.Labels) > 0 {
		panic("BUG: telemetry: " + name + " is no histogram without labels")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.timings[name]
	if h == nil {
		if m.timings == nil {
			m.timings = make(map[string]*metrics.PrometheusHistogram)
		}
		h = m.set.NewPrometheusHistogramExt(name, timingBounds)
		m.timings[name] = h
	}
	return func(d time.Duration) { h.Update(d.Seconds()) }
}

package telemetry

import "io"

// Emit reports one sample of a gauge or counter of [Families]. Label values are
// in the order of the family's Labels.
type Emit func(name string, value float64, labels ...string)

// Collect registers f to be called at every scrape, with which other rooms'
// Stats become metrics. f must not block and must not keep emit.
func (m *Metrics) Collect(f func(emit Emit)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.collectors = append(m.collectors, f)
}

// WriteTo writes everything in the Prometheus text format, version 0.0.4, for
// which the content type is [MetricsContentType].
func (m *Metrics) WriteTo(w io.Writer) (int64, error) { return 0, nil }

// MetricsContentType is the content type of what WriteTo writes.
const MetricsContentType = "text/plain; version=0.0.4; charset=utf-8"

package telemetry

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// MetricsContentType is the content type of what [Metrics.WriteTo] writes.
const MetricsContentType = "text/plain; version=0.0.4; charset=utf-8"

// Emit reports one sample of a gauge or counter of [Families]. Label values are
// in the order of the family's Labels. Samples of a counter with equal labels
// are added up; of a gauge, the last one counts. A family that Metrics counts
// itself takes no samples from elsewhere: emitting one is a bug, and panics.
type Emit func(name string, value float64, labels ...string)

// Collect registers f to be called at every scrape: that is how other rooms'
// Stats become metrics. f must not block and must not keep emit.
func (m *Metrics) Collect(f func(emit Emit)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.collectors = append(m.collectors, f)
}

// WriteTo writes everything in the Prometheus text format, version 0.0.4, each
// family in one piece, in a stable order; those of [Families] with their help
// and type.
func (m *Metrics) WriteTo(w io.Writer) (int64, error) {
	var samples, b bytes.Buffer
	m.set.WritePrometheus(&samples)
	describe(&b, samples.Bytes())
	return b.WriteTo(w)
}

// describe copies the samples and puts each family's help and type before its
// first one. The library does so only by a switch for the whole process
// (ExposeMetadata), with empty help, and with types that promtool objects to.
func describe(b *bytes.Buffer, samples []byte) {
	var last []byte // name on the line before
	var open string // family that was described last
	for line := range bytes.Lines(samples) {
		name := line[:max(0, bytes.IndexAny(line, "{ "))]
		if !bytes.Equal(name, last) {
			last = name
			if f, ok := familyOfSample(string(name)); ok && f.Name != open {
				open = f.Name
				fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", f.Name, helpEscaper.Replace(f.Help), f.Name, f.Type)
			}
		}
		b.Write(line)
	}
}

// writeSamples writes what is kept in cells and what the collectors emit.
func (m *Metrics) writeSamples(w io.Writer) {
	s := make(scrape)
	m.gather(s)
	m.mu.Lock()
	collectors := slices.Clone(m.collectors)
	m.mu.Unlock()
	for _, f := range collectors {
		f(s.emit)
	}
	s.writeTo(w)
}

// scrape collects the samples of one scrape by family.
type scrape map[string][]sample

type sample struct {
	labels []string // values, in the order of the family's
	value  float64
	hist   *histogram // instead of value
}

type histogram struct {
	*buckets
	counts []uint64 // by bucket, not cumulative; one more than bounds
	sum    float64
}

func (s scrape) emit(name string, value float64, labels ...string) {
	if slices.Contains(ownFamilies, name) {
		panic("BUG: metric " + name + " is counted by Metrics itself")
	}
	s.add(name, sample{labels: labels, value: value})
}

func (s scrape) add(name string, x sample) {
	f, ok := family(name)
	if !ok || len(f.Labels) != len(x.labels) || (f.Type == typeHistogram) != (x.hist != nil) {
		panic(fmt.Sprintf("BUG: metric %s%q is not in the table of families, or not like this", name, x.labels))
	}
	s[name] = append(s[name], x)
}

// nonzero emits a counter unless it is zero, for families that would otherwise
// have a series for every combination of their labels.
func (s scrape) nonzero(name string, n uint64, labels ...string) {
	if n > 0 {
		s.emit(name, float64(n), labels...)
	}
}

// histogram adds the histogram of shape b that starts at base in c, unless it
// is empty.
func (s scrape) histogram(name string, b *buckets, c *cells, base int, labels ...string) {
	h := &histogram{buckets: b, counts: make([]uint64, len(b.bounds)+1)}
	total := uint64(0)
	for i := range h.counts {
		h.counts[i] = c.sum(base + i)
		total += h.counts[i]
	}
	if total == 0 {
		return
	}
	h.sum = float64(c.sum(base+len(h.counts))) / b.unit
	s.add(name, sample{labels: labels, hist: h})
}

// gather adds what m counts itself.
func (m *Metrics) gather(s scrape) {
	m.routes.all(func(r *RouteMetrics) {
		for i, method := range methods {
			for j, class := range classes {
				s.nonzero("sluice_requests_total", r.requests.sum(i*len(classes)+j), r.key.route, r.key.service, method, class)
			}
		}
	})
	m.perRoute.all(func(r *routeCells) {
		s.histogram("sluice_request_seconds", requestSeconds, &r.cells, slotRequestSeconds, r.name)
		s.histogram("sluice_request_bytes", bodyBytes, &r.cells, slotRequestBytes, r.name)
		s.histogram("sluice_response_bytes", bodyBytes, &r.cells, slotResponseBytes, r.name)
	})
	m.services.all(func(v *ServiceMetrics) {
		s.histogram("sluice_upstream_seconds", requestSeconds, &v.cells, 0, v.name)
	})
	m.listeners.all(func(l *ListenerMetrics) {
		s.histogram("sluice_overhead_seconds", overheadSeconds, &l.cells, 0, l.name)
	})
	s.histogram("sluice_waf_seconds", wafSeconds, &m.waf.seconds, 0)
	m.tenants.all(func(t *TenantMetrics) {
		for i, class := range classes {
			s.nonzero("sluice_tenant_requests_total", t.cells.sum(i), t.name, class)
		}
	})
	m.policies.all(func(p *PolicyMetrics) {
		for i, result := range limitResults {
			for j, zone := range zones {
				s.nonzero("sluice_limit_decisions_total", p.cells.sum(i*len(zones)+j), p.name, result, zone)
			}
		}
	})
}

func (s scrape) writeTo(w io.Writer) {
	var b bytes.Buffer
	for _, f := range families {
		samples := s[f.Name]
		slices.SortStableFunc(samples, func(x, y sample) int { return slices.Compare(x.labels, y.labels) })
		for i, x := range samples {
			if i+1 < len(samples) && slices.Equal(x.labels, samples[i+1].labels) {
				if f.Type == typeCounter {
					samples[i+1].value += x.value
				}
				continue
			}
			x.writeTo(&b, f)
		}
	}
	_, _ = b.WriteTo(w) // a buffer of WriteTo's
}

func (x *sample) writeTo(b *bytes.Buffer, f Family) {
	labels := appendLabels(nil, f.Labels, x.labels)
	line := func(suffix, le, value string) {
		b.WriteString(f.Name)
		b.WriteString(suffix)
		if len(labels) > 0 || le != "" {
			b.WriteByte('{')
			b.Write(labels)
			if le != "" {
				if len(labels) > 0 {
					b.WriteByte(',')
				}
				b.WriteString(`le="` + le + `"`)
			}
			b.WriteByte('}')
		}
		b.WriteByte(' ')
		b.WriteString(value)
		b.WriteByte('\n')
	}
	if x.hist == nil {
		line("", "", number(x.value))
		return
	}
	total := uint64(0)
	for i, n := range x.hist.counts {
		total += n
		le := "+Inf"
		if i < len(x.hist.le) {
			le = x.hist.le[i]
		}
		line("_bucket", le, strconv.FormatUint(total, 10))
	}
	line("_sum", "", number(x.hist.sum))
	line("_count", "", strconv.FormatUint(total, 10))
}

// seriesName returns the name under which the Set keeps a series of the family.
func seriesName(name string, values ...string) string {
	f, ok := family(name)
	if !ok || len(f.Labels) != len(values) || !slices.Contains(ownFamilies, name) {
		panic(fmt.Sprintf("BUG: metric %s%q is not one of the Set's, or not like this", name, values))
	}
	return f.Name + "{" + string(appendLabels(nil, f.Labels, values)) + "}"
}

// appendLabels appends name="value" pairs, escaped as the text format wants.
func appendLabels(b []byte, names, values []string) []byte {
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, name...), `="`...)
		b = append(b, labelEscaper.Replace(strings.ToValidUTF8(values[i], "\uFFFD"))...)
		b = append(b, '"')
	}
	return b
}

// number prints counts and Unix times as integers, as people read them.
func number(v float64) string {
	if v == float64(int64(v)) && -1e15 < v && v < 1e15 {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

var (
	labelEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	helpEscaper  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
)

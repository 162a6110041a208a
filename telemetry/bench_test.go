package telemetry

import (
	"testing"
	"time"

	"sluice/telemetry/redact"
)

func BenchmarkLine(b *testing.B)         { benchmarkLine(b, nil) }
func BenchmarkLineRedacted(b *testing.B) { benchmarkLine(b, redact.Default()) }

func benchmarkLine(b *testing.B, red *redact.Redactor) {
	b.ReportAllocs()
	e := newEncoder("gw-1", 2, red)
	r := fullRecord()
	buf := make([]byte, 0, MaxLine)
	for b.Loop() {
		buf = e.append(buf[:0], r)
	}
	b.SetBytes(int64(len(buf)))
}

// BenchmarkAccessLogWrite is what a request pays, with a disk that keeps up.
func BenchmarkAccessLogWrite(b *testing.B) {
	out := &discard{}
	a := newAccessLog(AccessLogOptions{Redact: redact.Default()}, out)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := fullRecord()
		for pb.Next() {
			a.Write(r)
			select {
			case batch := <-a.full: // in Run's place
				a.write(batch)
			default:
			}
		}
	})
	b.ReportMetric(float64(a.Dropped())/float64(b.N), "dropped/op")
}

type discard struct{ memory }

func (*discard) write(lines []byte) (int, error) { return len(lines), nil }

func BenchmarkObserve(b *testing.B) {
	m := NewMetrics(MetricsOptions{})
	route, service, listener, tenant := m.Route("r", "s"), m.Service("s"), m.Listener("l"), m.Tenant("acme")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		o := Observation{
			Route: route, Service: service, Listener: listener, Tenant: tenant, Method: "GET", Status: 200,
			Duration: 18 * time.Millisecond, Upstream: 17 * time.Millisecond, Overhead: 200 * time.Microsecond, BytesOut: 1024,
		}
		for pb.Next() {
			m.Observe(&o)
		}
	})
}

func BenchmarkTenant(b *testing.B) {
	m := NewMetrics(MetricsOptions{})
	for _, name := range []string{"acme", "globex", "initech"} {
		m.Tenant(name)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Tenant("globex")
		}
	})
}

func BenchmarkDecided(b *testing.B) {
	p := NewMetrics(MetricsOptions{}).Policy("tenant-hour")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p.Decided(LimitAdmit, ZoneGreen)
		}
	})
}

func BenchmarkRequestID(b *testing.B) {
	b.ReportAllocs()
	now := time.Now()
	for b.Loop() {
		sinkString = NewRequestID(now)
	}
}

func BenchmarkTraceparent(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, 64)
	for b.Loop() {
		c, _ := ParseTraceparent(validTraceparent)
		buf, _ = c.AppendChild(buf[:0])
	}
}

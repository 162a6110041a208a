package telemetry

import (
	"bytes"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// runtimeGauges are the metrics of the Go runtime that are exported, out of
// several hundred: what an operator can act on. Reading them does not stop the
// world, as runtime.ReadMemStats would.
var runtimeGauges = []struct{ name, source string }{
	{"go_gc_cycles_total", "/gc/cycles/total:gc-cycles"},
	{"go_gc_heap_goal_bytes", "/gc/heap/goal:bytes"},
	{"go_gc_memory_limit_bytes", "/gc/gomemlimit:bytes"},
	{"go_gc_pauses_seconds", "/sched/pauses/total/gc:seconds"},
	{"go_goroutines", "/sched/goroutines:goroutines"},
	{"go_heap_allocated_bytes_total", "/gc/heap/allocs:bytes"},
	{"go_heap_live_bytes", "/gc/heap/live:bytes"},
	{"go_heap_objects_bytes", "/memory/classes/heap/objects:bytes"},
	{"go_maxprocs", "/sched/gomaxprocs:threads"},
	{"go_memory_mapped_bytes", "/memory/classes/total:bytes"},
	{"go_sched_latencies_seconds", "/sched/latencies:seconds"},
}

// gatherProcess adds what the runtime and the operating system say of this
// process. What a system does not tell is left out.
func gatherProcess(s scrape, started time.Time) {
	read := make([]metrics.Sample, len(runtimeGauges))
	for i, g := range runtimeGauges {
		read[i].Name = g.source
	}
	metrics.Read(read)
	for i, g := range runtimeGauges {
		switch v := read[i].Value; v.Kind() {
		case metrics.KindUint64:
			s.emit(g.name, float64(v.Uint64()))
		case metrics.KindFloat64Histogram:
			s.add(g.name, sample{hist: fold(v.Float64Histogram(), overheadSeconds)})
		}
	}

	s.emit("process_start_time_seconds", float64(started.UnixMilli())/1e3)
	var use unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &use) == nil {
		cpu := time.Duration(use.Utime.Nano() + use.Stime.Nano())
		s.emit("process_cpu_seconds_total", cpu.Seconds())
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		s.emit("process_max_fds", float64(limit.Cur))
	}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		s.emit("process_open_fds", float64(len(fds)-1)) // without the one of this directory
	}
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := bytes.Fields(statm); len(f) >= 2 {
			page := float64(os.Getpagesize())
			if n, err := strconv.ParseUint(string(f[0]), 10, 64); err == nil {
				s.emit("process_virtual_memory_bytes", float64(n)*page)
			}
			if n, err := strconv.ParseUint(string(f[1]), 10, 64); err == nil {
				s.emit("process_resident_memory_bytes", float64(n)*page)
			}
		}
	}
}

// fold sorts the runtime's hundreds of buckets into b's. A bucket that reaches
// over a bound counts above it, so quantiles are not flattered. The sum, which
// the runtime does not keep, is estimated from the buckets' middles.
func fold(h *metrics.Float64Histogram, b *buckets) *histogram {
	out := &histogram{buckets: b, counts: make([]uint64, len(b.bounds)+1)}
	for i, n := range h.Counts {
		if n == 0 {
			continue
		}
		low, high := max(h.Buckets[i], 0), h.Buckets[i+1]
		if math.IsInf(high, 1) {
			out.counts[len(b.bounds)] += n
			out.sum += float64(n) * low
			continue
		}
		out.counts[b.index(uint64(math.Ceil(high*b.unit)))] += n
		out.sum += float64(n) * (low + high) / 2
	}
	return out
}

// buildInfo returns the labels of sluice_build_info.
func buildInfo(version string) []string {
	revision := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		if version == "" {
			version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	return []string{version, revision, runtime.Version()}
}

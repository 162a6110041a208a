package telemetry

import "slices"

// Family describes one metric: what /metrics says of it, and its row in
// docs/metrics.md.
type Family struct {
	Name   string
	Type   string // counter, gauge or histogram
	Labels []string
	Help   string // one sentence
}

// Families returns every metric, by name. One that is not here cannot be
// exported.
func Families() []Family { return slices.Clone(families) }

const (
	typeCounter   = "counter"
	typeGauge     = "gauge"
	typeHistogram = "histogram"
)

// families is sorted by name. To add a metric that another room counts, add its
// row and emit it from a collector ([Metrics.Collect]).
var families = []Family{
	{"go_gc_cycles_total", typeCounter, nil, "Garbage collections."},
	{"go_gc_heap_goal_bytes", typeGauge, nil, "Heap size at which the next garbage collection ends."},
	{"go_gc_memory_limit_bytes", typeGauge, nil, "Memory limit of the Go runtime (GOMEMLIMIT)."},
	{"go_gc_pauses_seconds", typeHistogram, nil, "Stop-the-world pauses of the garbage collector; the sum is an estimate."},
	{"go_goroutines", typeGauge, nil, "Goroutines."},
	{"go_heap_allocated_bytes_total", typeCounter, nil, "Bytes ever allocated on the heap."},
	{"go_heap_live_bytes", typeGauge, nil, "Heap memory that the last garbage collection found in use."},
	{"go_heap_objects_bytes", typeGauge, nil, "Heap memory held by objects, in use or not yet collected."},
	{"go_maxprocs", typeGauge, nil, "Processors that Go code may run on at once (GOMAXPROCS)."},
	{"go_memory_mapped_bytes", typeGauge, nil, "Memory that the Go runtime has mapped, all classes together."},
	{"go_sched_latencies_seconds", typeHistogram, nil, "How long goroutines were ready before they ran; the sum is an estimate."},
	{"process_cpu_seconds_total", typeCounter, nil, "Processor time used, user and system."},
	{"process_max_fds", typeGauge, nil, "Open file descriptors that the process may have."},
	{"process_open_fds", typeGauge, nil, "Open file descriptors."},
	{"process_resident_memory_bytes", typeGauge, nil, "Resident memory."},
	{"process_start_time_seconds", typeGauge, nil, "Unix time at which the process started."},
	{"process_virtual_memory_bytes", typeGauge, nil, "Virtual memory."},
	{"sluice_auth_failures_total", typeCounter, []string{"method", "reason"}, "Credentials that were refused."},
	{"sluice_auth_total", typeCounter, []string{"method"}, "Requests by how the caller was identified: jwt, key or anonymous."},
	{"sluice_build_info", typeGauge, []string{"version", "revision", "go"}, "Always 1; the labels say what this binary was built from."},
	{"sluice_certificate_not_after_seconds", typeGauge, []string{"name"}, "Unix time at which the certificate served for the name expires."},
	{"sluice_config_info", typeGauge, []string{"hash", "version"}, "Always 1; the labels name the configuration in force and the binary's version. Nodes that differ in hash have drifted apart."},
	{"sluice_config_last_reload_success", typeGauge, nil, "1 when the last configuration that was read is in force, 0 when it was refused and the one before goes on serving."},
	{"sluice_connections", typeGauge, []string{"listener", "protocol"}, "Open client connections."},
	{"sluice_jwks_refreshed_timestamp_seconds", typeGauge, []string{"issuer"}, "Unix time of the last successful fetch of the issuer's keys."},
	{"sluice_limit_decisions_total", typeCounter, []string{"policy", "result", "zone"}, "Limit decisions: result is admit, refuse, shadow, bypass or exempt, zone is green, amber or red."},
	{"sluice_log_dropped_total", typeCounter, []string{"sink"}, "Log lines dropped because the disk was slow, full or broken."},
	{"sluice_overhead_seconds", typeHistogram, []string{"listener"}, "What sluice added to a request: its time less waiting for the client and the upstream."},
	{"sluice_ready", typeGauge, nil, "1 when every readiness condition holds."},
	{"sluice_request_bytes", typeHistogram, []string{"route"}, "Size of request bodies."},
	{"sluice_request_seconds", typeHistogram, []string{"route"}, "Time from a request's first byte to its response's last."},
	{"sluice_requests_total", typeCounter, []string{"route", "service", "method", "class"}, "Requests by status class. Methods outside the nine standard ones count as other; requests that no route matched have route and service none."},
	{"sluice_response_bytes", typeHistogram, []string{"route"}, "Size of response bodies as sent."},
	{"sluice_retries_total", typeCounter, []string{"service"}, "Tries after the first one."},
	{"sluice_series_capped_total", typeCounter, []string{"family"}, "Look-ups that were counted as other because a label had as many values as it may have."},
	{"sluice_streams", typeGauge, []string{"kind", "generation"}, "Long-lived exchanges (event streams, tunnels) by the generation of the configuration that they run under."},
	{"sluice_tenant_requests_total", typeCounter, []string{"tenant", "class"}, "Requests by tenant and status class; tenants over the cap count as other."},
	{"sluice_upstream_inflight", typeGauge, []string{"service", "upstream"}, "Exchanges under way with the upstream."},
	{"sluice_upstream_seconds", typeHistogram, []string{"service"}, "Time spent waiting for the service, all tries together."},
	{"sluice_upstream_state", typeGauge, []string{"service", "upstream", "state"}, "1 for the state that the upstream is in: up, down, ejected or draining."},
}

func family(name string) (Family, bool) {
	i, ok := slices.BinarySearchFunc(families, name, func(f Family, name string) int {
		switch {
		case f.Name < name:
			return -1
		case f.Name > name:
			return 1
		}
		return 0
	})
	if !ok {
		return Family{}, false
	}
	return families[i], true
}

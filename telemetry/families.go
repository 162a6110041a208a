package telemetry

import (
	"slices"
	"strings"
)

// Family describes one metric: what /metrics says of it, and its row in
// docs/metrics.md.
type Family struct {
	Name   string
	Type   string // counter, gauge or histogram
	Labels []string
	Help   string // one sentence
}

// Families returns every metric of sluice's own, by name; one that is not here
// cannot be exported. Those of the Go runtime and of the process (go_, process_)
// come from the library, under the names that it gives them.
func Families() []Family { return slices.Clone(families) }

const (
	typeCounter   = "counter"
	typeGauge     = "gauge"
	typeHistogram = "histogram"
)

// families is sorted by name. To add a metric that another room counts, add its
// row and emit it from a collector ([Metrics.Collect]).
var families = []Family{
	{"sluice_admin_login_failures_total", typeCounter, nil, "Calls of the admin API with a token that is not one of an operator."},
	{"sluice_allowances", typeGauge, []string{"kind"}, "What operators have allowed, so that no ban holds for it, by what it names: address, tenant, subject or key."},
	{"sluice_auth_failures_total", typeCounter, []string{"method", "reason"}, "Credentials that were refused."},
	{"sluice_auth_total", typeCounter, []string{"method"}, "Requests by how the caller was identified: jwt, key or anonymous."},
	{"sluice_bans", typeGauge, []string{"kind", "source"}, "Bans in force on this node, by what they name and by whose they are: operator or detector."},
	{"sluice_build_info", typeGauge, []string{"version", "revision", "go"}, "Always 1; the labels say what this binary was built from."},
	{"sluice_certificate_not_after_seconds", typeGauge, []string{"name"}, "Unix time at which the certificate served for the name expires."},
	{"sluice_cluster_clock_skew_seconds", typeGauge, []string{"peer"}, "How far the peer's wall clock is ahead of this node's."},
	{"sluice_cluster_members", typeGauge, []string{"state"}, "Members of the cluster as this node sees them: alive, suspect, dead or left."},
	{"sluice_cluster_node_info", typeGauge, []string{"node", "replica"}, "Always 1; the labels name this node and its present life."},
	{"sluice_config_info", typeGauge, []string{"hash", "version"}, "Always 1; the labels name the configuration in force and the binary's version. Nodes that differ in hash have drifted apart."},
	{"sluice_config_last_reload_success", typeGauge, nil, "1 when the last configuration that was read is in force, 0 when it was refused and the one before goes on serving."},
	{"sluice_connections", typeGauge, []string{"listener", "protocol"}, "Open client connections."},
	{"sluice_degraded", typeGauge, []string{"what"}, "1 for each thing that does not work and without which this node goes on serving; see /readyz for the reason."},
	{"sluice_detector_clients", typeGauge, nil, "Addresses, subjects and keys that had a fault lately and are watched."},
	{"sluice_detector_findings_total", typeCounter, []string{"rule", "banned"}, "What the detector found, by rule and by whether a ban followed: yes or no."},
	{"sluice_emergency_active", typeGauge, []string{"kind"}, "Emergency measures of operators that are in force, by kind: ban or bypass."},
	{"sluice_gossip_bytes_total", typeCounter, []string{"direction"}, "Bytes of gossip between nodes: in or out, encrypted."},
	{"sluice_gossip_dropped_total", typeCounter, []string{"reason"}, "Gossip that was not accepted."},
	{"sluice_gossip_lag_seconds", typeGauge, nil, "Oldest replicated fact of the last minute or two when it arrived."},
	{"sluice_jwks_refreshed_timestamp_seconds", typeGauge, []string{"issuer"}, "Unix time of the last successful fetch of the issuer's keys."},
	{"sluice_limit_authority", typeGauge, []string{"state"}, "1 for who keeps the books of limits now: local, redis, home or none."},
	{"sluice_limit_decisions_total", typeCounter, []string{"policy", "result", "zone"}, "Limit decisions: result is admit, refuse, shadow, bypass or exempt, zone is green, amber or red."},
	{"sluice_limit_durable", typeGauge, nil, "1 while what was used is kept on disk, 0 while the disk does not take it: a crash would then begin quotas anew. Absent where it is not to be kept."},
	{"sluice_limit_durable_bytes", typeGauge, nil, "Size of the file that keeps what was used."},
	{"sluice_limit_durable_syncs_total", typeCounter, nil, "Times that the file was synced to disk."},
	{"sluice_limit_epoch", typeGauge, nil, "Epoch of the authority of limits; it rises when the authority changes hands."},
	{"sluice_limit_fenced", typeGauge, nil, "1 while this node may not spend what it holds, because it has reached neither its authority nor a majority for 10 s."},
	{"sluice_limit_messages_dropped_total", typeCounter, []string{"reason"}, "Messages about limits that could not be read (garbled) or found a queue full (full)."},
	{"sluice_limit_overadmission_ratio", typeGauge, nil, "Most by which a quota whose books are at this node is used or promised above its limit, as a share of the limit: above 0 after a limit was lowered, for a window, and in the mode available."},
	{"sluice_limit_recalls_total", typeCounter, nil, "Times that this node asked others for idle rights."},
	{"sluice_limit_reclaims_total", typeCounter, nil, "Times that this node found what it held reclaimed, because it had been cut off."},
	{"sluice_limit_rights_total", typeCounter, []string{"direction"}, "Rights that the authority has granted to this node, and that it has given back unused."},
	{"sluice_limit_takes_total", typeCounter, []string{"kind"}, "Questions to the authority: take wants rights, report only says what was used or is given back."},
	{"sluice_limit_wait_seconds", typeHistogram, nil, "How long requests waited for the authority of a limit whose rights at this node had run out."},
	{"sluice_log_dropped_total", typeCounter, []string{"sink"}, "Log lines dropped: by the log itself (access, security, payload) because the disk was slow, full or broken, or by an output (access:loki) that could neither send nor keep them."},
	{"sluice_log_output_up", typeGauge, []string{"sink"}, "1 when the last delivery of the log output succeeded, 0 when it failed."},
	{"sluice_log_queue_bytes", typeGauge, []string{"sink"}, "Log lines that wait in memory for the output."},
	{"sluice_log_sent_total", typeCounter, []string{"sink"}, "Log lines that the output took."},
	{"sluice_log_spilled_bytes", typeGauge, []string{"sink"}, "Log lines that wait on disk for the output."},
	{"sluice_overhead_seconds", typeHistogram, []string{"listener"}, "What sluice added to a request: its time less waiting for the client and the upstream."},
	{"sluice_policies", typeGauge, []string{"kind"}, "What is in force of operators' decisions, by kind: tenant, tier (with those of the configuration), key, address_list and security_rule."},
	{"sluice_ready", typeGauge, nil, "1 when every readiness condition holds."},
	{"sluice_redis_errors_total", typeCounter, nil, "Pipelines that Redis did not answer in time, or with an error."},
	{"sluice_redis_seconds", typeHistogram, nil, "Time that Redis took to answer one pipeline."},
	{"sluice_redis_up", typeGauge, nil, "1 when the last pipeline was answered."},
	{"sluice_request_bytes", typeHistogram, []string{"route"}, "Size of request bodies."},
	{"sluice_request_seconds", typeHistogram, []string{"route"}, "Time from a request's first byte to its response's last."},
	{"sluice_requests_total", typeCounter, []string{"route", "service", "method", "class"}, "Requests by status class. Methods outside the nine standard ones count as other; requests that no route matched have route and service none."},
	{"sluice_response_bytes", typeHistogram, []string{"route"}, "Size of response bodies as sent."},
	{"sluice_retries_total", typeCounter, []string{"service"}, "Tries after the first one."},
	{"sluice_security_events_total", typeCounter, []string{"kind", "action", "tenant"}, "Lines of the security log, by kind and action; tenants after the first few hundred count as other."},
	{"sluice_series_capped_total", typeCounter, []string{"family"}, "Look-ups that were counted as other because a label had as many values as it may have."},
	{"sluice_store_up", typeGauge, []string{"engine"}, "1 when the database answered the last question, 0 when it did not; policies in force stay."},
	{"sluice_streams", typeGauge, []string{"kind", "generation"}, "Long-lived exchanges (event streams, WebSockets, other tunnels) by the generation of the process that they run in; after an upgrade that of the former one too, while it drains."},
	{"sluice_tenant_requests_total", typeCounter, []string{"tenant", "class"}, "Requests by tenant and status class; tenants over the cap count as other."},
	{"sluice_upstream_inflight", typeGauge, []string{"service", "upstream"}, "Exchanges under way with the upstream."},
	{"sluice_upstream_seconds", typeHistogram, []string{"service"}, "Time spent waiting for the service, all tries together."},
	{"sluice_upstream_state", typeGauge, []string{"service", "upstream", "state"}, "1 for the state that the upstream is in: healthy, unhealthy or ejected."},
	{"sluice_waf_overload_total", typeCounter, nil, "Requests for whose inspection there was no place or no time (waf.engine); refused or passed on as waf.engine.overload says."},
	{"sluice_waf_requests_total", typeCounter, []string{"family", "tenant", "action"}, "Requests in which the firewall found something, by the family of the first rule (sqli, xss, rce, protocol… or own; limit, overload), tenant, and action: detect or block."},
	{"sluice_waf_rule_hits_total", typeCounter, []string{"rule"}, "Requests in which a rule of the firewall matched, by rule id; refused or not. Structural limits count as limit."},
	{"sluice_waf_seconds", typeHistogram, nil, "Time that the firewall took for a request, without waiting for its body."},
}

// ownFamilies are those that the Set keeps as counters and gauges of its own.
var ownFamilies = []string{
	"sluice_auth_failures_total",
	"sluice_auth_total",
	"sluice_build_info",
	"sluice_retries_total",
	"sluice_series_capped_total",
	"sluice_waf_overload_total",
	"sluice_waf_requests_total",
	"sluice_waf_rule_hits_total",
}

// familyOfSample returns the family that a sample of that name belongs to.
func familyOfSample(name string) (Family, bool) {
	if f, ok := family(name); ok {
		return f, true
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			f, ok := family(base)
			return f, ok && f.Type == typeHistogram
		}
	}
	return Family{}, false
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

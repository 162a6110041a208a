package main

import (
	"strconv"
	"time"

	"sluice/auth"
	"sluice/limiter"
	"sluice/proxy/upstream"
	"sluice/telemetry"
)

// collect introduces the other rooms' counters to the metrics.
func (a *app) collect() {
	a.metrics.Collect(a.logs.collect)
	a.metrics.Collect(a.health.Collect)
	a.metrics.Collect(a.collectConfig)
	a.metrics.Collect(a.collectUpstreams)
	a.metrics.Collect(a.collectAuth)
	a.metrics.Collect(a.collectTraffic)
	a.metrics.Collect(a.collectKept)
	a.metrics.Collect(a.certs.collect)
	a.metrics.Collect(a.gossip.collect)
	a.metrics.Collect(a.collectLimits)
	a.metrics.Collect(a.policies.collect)
	a.metrics.Collect(func(emit telemetry.Emit) { collectBans(a.bans, emit) })
	a.metrics.Collect(a.detector.Collect)
	a.metrics.Collect(a.events.Collect)
}

func (a *app) collectConfig(emit telemetry.Emit) {
	doc, failed := a.reloader.document()
	emit("sluice_config_info", 1, doc.Hash(), version)
	success := 1.0
	if failed {
		success = 0
	}
	emit("sluice_config_last_reload_success", success)
}

// upstreamStates are the states that each upstream is reported in, one of them
// with 1.
var upstreamStates = []string{"healthy", "unhealthy", "ejected"}

func (a *app) collectUpstreams(emit telemetry.Emit) {
	for _, s := range a.upstreams.Snapshot() {
		for _, e := range s.Endpoints {
			emit("sluice_upstream_inflight", float64(e.Inflight), s.Name, e.URL)
			for _, state := range upstreamStates {
				value := 0.0
				if e.State == state {
					value = 1
				}
				emit("sluice_upstream_state", value, s.Name, e.URL, state)
			}
		}
	}
}

func (a *app) collectAuth(emit telemetry.Emit) {
	for _, i := range a.gateway.AuthStats().Issuers {
		if !i.Keys.LastSuccess.IsZero() {
			emit("sluice_jwks_refreshed_timestamp_seconds", float64(i.Keys.LastSuccess.Unix()), i.Issuer)
		}
	}
}

func (a *app) collectTraffic(emit telemetry.Emit) {
	for address, n := range a.listeners.Connections() {
		emit("sluice_connections", float64(n), address, "tcp")
	}
	own := strconv.Itoa(a.line.generation)
	for kind, n := range a.gateway.Streams() {
		emit("sluice_streams", float64(n), kind, own)
	}
	former := strconv.Itoa(a.line.generation - 1)
	for kind, n := range a.line.predecessorStreams() {
		emit("sluice_streams", float64(n), kind, former)
	}
}

// status is what GET /api/v1/status answers.
type status struct {
	Node      string                   `json:"node"`
	Build     buildInfo                `json:"build"`
	Started   time.Time                `json:"started"`
	Uptime    string                   `json:"uptime"`
	Config    configStatus             `json:"config"`
	Ready     bool                     `json:"ready"`
	Reasons   []telemetry.Reason       `json:"reasons,omitempty"`
	Listeners map[string]string        `json:"listeners"`
	Services  []upstream.ServiceStatus `json:"services"`
	Issuers   []auth.IssuerStats       `json:"issuers"`
	Limits    limiter.Stats            `json:"limits"`
	Streams   map[string]int           `json:"streams"`

	Generation  int           `json:"generation"`
	Predecessor *formerStatus `json:"predecessor,omitempty"` // while it drains
}

// formerStatus is the process that this one replaced.
type formerStatus struct {
	PID     int            `json:"pid"`
	Version string         `json:"version"`
	Streams map[string]int `json:"streams"`
}

// configStatus says which configuration is in force.
type configStatus struct {
	File         string `json:"file"`
	Hash         string `json:"hash"`
	LastReloadOK bool   `json:"last_reload_ok"`
}

func (a *app) status() any {
	doc, failed := a.reloader.document()
	ready, reasons := a.health.Ready()
	var former *formerStatus
	if a.line.predecessorDrains() {
		former = &formerStatus{a.line.predecessor.PID, a.line.predecessor.Version, a.line.predecessorStreams()}
	}
	return status{
		Generation: a.line.generation, Predecessor: former,
		Node: doc.Node.Name, Build: readBuildInfo(), Started: a.started, Uptime: time.Since(a.started).Round(time.Second).String(),
		Config: configStatus{doc.File(), doc.Hash(), !failed},
		Ready:  ready, Reasons: reasons,
		Listeners: a.listeners.Addresses(),
		Services:  a.upstreams.Snapshot(),
		Issuers:   a.gateway.AuthStats().Issuers,
		Limits:    a.limits.Stats(),
		Streams:   a.gateway.Streams(),
	}
}

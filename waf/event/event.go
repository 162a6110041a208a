// Package event writes the security log: one JSON line for each thing that was
// seen or done against attacks, in the order in which it happened.
//
// The first members of a line are those of the access log, so that one search
// finds both: time, request_id, tenant, route, status, client_ip. Then come kind
// and action, and what the kind has to say. Text that a client chose is escaped
// and cut; values that may be secrets are redacted before. A line never waits for
// the disk, and is dropped and counted when it cannot be taken.
package event

import (
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/telemetry"
	"sluice/telemetry/redact"
)

// Kinds of events.
const (
	Ban        = "ban"        // a request met a ban
	BanMade    = "ban_made"   // a ban or an allowance came into force
	BanOver    = "ban_over"   // it ended
	Suspicion  = "detector"   // the detector found something
	Validation = "validation" // a request is not as its service's document says
	Firewall   = "waf"        // the firewall found something in a request
	Connection = "connection" // a connection was refused or ended
)

// Event is one event. What is zero is left out.
type Event struct {
	Time      time.Time
	RequestID string
	Tenant    string
	Route     string
	Status    int
	Client    netip.Addr
	Kind      string
	Action    string

	Rule    string // of the detector, of validation, or the ids of the firewall's
	Target  string // of a ban, or the part of a request that matched
	Reason  string // of an operator, or of the detector
	By      string // who made a ban
	Until   time.Time
	Strikes int
	Count   float64
	Limit   float64
	Method  string
	Path    string
	Agent   string
}

// Writer takes lines; *telemetry.Stream is one. It copies the line, and does not
// wait.
type Writer interface{ Write(line []byte) }

// Log writes events. It is safe for concurrent use. A nil Log writes nothing.
type Log struct {
	to     Writer
	redact *redact.Redactor

	mu     sync.Mutex
	counts map[[3]string]uint64 // guarded by mu; by kind, action and tenant
}

// New returns a log that writes to w.
func New(w Writer, r *redact.Redactor) *Log {
	return &Log{to: w, redact: r, counts: make(map[[3]string]uint64)}
}

// Bounds of a line's texts, in bytes, and of the tenants that are told apart in
// the metric.
const (
	maxWord    = 128
	maxText    = 600
	maxTenants = 200
)

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, telemetry.MaxLine)
	return &b
}}

// Write writes e.
func (l *Log) Write(e *Event) {
	if l == nil {
		return
	}
	l.count(e)
	p := buffers.Get().(*[]byte)
	*p = l.append((*p)[:0], e)
	l.to.Write(*p)
	buffers.Put(p)
}

func (l *Log) count(e *Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := [3]string{e.Kind, e.Action, e.Tenant}
	if _, known := l.counts[key]; !known {
		if len(l.counts) >= maxTenants && e.Tenant != "" {
			key[2] = "other"
		} else {
			key[2] = strings.Clone(e.Tenant)
		}
	}
	l.counts[key]++
}

// Collect emits the metrics.
func (l *Log) Collect(emit telemetry.Emit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, n := range l.counts {
		emit("sluice_security_events_total", float64(n), key[0], key[1], key[2])
	}
}

func (l *Log) append(b []byte, e *Event) []byte {
	b = append(b, `{"time":"`...)
	b = append(telemetry.AppendTime(b, e.Time), '"')
	b = text(b, "request_id", e.RequestID, maxWord)
	b = text(b, "tenant", e.Tenant, maxWord)
	b = text(b, "route", e.Route, maxWord)
	if e.Status != 0 {
		b = strconv.AppendInt(append(b, `,"status":`...), int64(e.Status), 10)
	}
	if e.Client.IsValid() {
		b = append(e.Client.AppendTo(append(b, `,"client_ip":"`...)), '"')
	}
	b = text(b, "kind", e.Kind, maxWord)
	b = text(b, "action", e.Action, maxWord)
	b = text(b, "rule", e.Rule, maxWord)
	b = text(b, "target", e.Target, 2*maxWord)
	b = text(b, "reason", e.Reason, maxText)
	b = text(b, "by", e.By, maxWord)
	if !e.Until.IsZero() {
		b = append(telemetry.AppendTime(append(b, `,"until":"`...), e.Until), '"')
	}
	if e.Strikes != 0 {
		b = strconv.AppendInt(append(b, `,"strikes":`...), int64(e.Strikes), 10)
	}
	if e.Count != 0 {
		b = strconv.AppendFloat(append(b, `,"count":`...), e.Count, 'f', 0, 64)
		b = strconv.AppendFloat(append(b, `,"limit":`...), e.Limit, 'f', 0, 64)
	}
	b = text(b, "method", e.Method, maxWord)
	if e.Path != "" {
		b = text(b, "path", string(l.redact.Path(nil, []byte(e.Path))), maxText)
	}
	b = text(b, "user_agent", e.Agent, 2*maxWord)
	return append(b, '}')
}

func text(b []byte, name, value string, limit int) []byte {
	if value == "" {
		return b
	}
	b = append(append(append(b, `,"`...), name...), `":"`...)
	return append(telemetry.AppendText(b, value, limit), '"')
}

// Package payload logs requests and answers with their headers and bodies, for
// debugging: only those that a rule asks for, only until the rule's end, and only
// after redaction.
//
//	rules of the file ──┐
//	rules by the API ───┴─> Recorder ── Begin ──> Capture ── bodies as they pass ── End ──> line ──> Stream
//
// # Invariants
//
//  1. Without a rule that has not ended, a request costs one atomic load.
//  2. Every rule ends by itself, at most [MaxFor] after it was made: what logs
//     bodies cannot be forgotten.
//  3. No byte of a body or header is kept that was not redacted; what is held of a
//     request before that is at most one unit of its body (see package redact).
//  4. Nothing here waits: a body that passes is looked at on its way, and the
//     line goes to a stream that never waits either.
package payload

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/telemetry"
	"sluice/telemetry/redact"
)

// MaxFor is how long a rule lasts at most.
const MaxFor = 7 * 24 * time.Hour

// Rule chooses requests: those that meet every condition that is not empty.
type Rule struct {
	Name   string
	Routes []string // names of routes; nil: any
	Tenant string
	Status string // 503, 5xx or >=400
	Sample float64
	Until  time.Time
}

func (r *Rule) wants(route, tenant string, now time.Time) bool {
	return now.Before(r.Until) && (r.Tenant == "" || r.Tenant == tenant) &&
		(r.Routes == nil || slices.Contains(r.Routes, route)) && (r.Sample >= 1 || rand.Float64() < r.Sample)
}

// MatchStatus reports whether a status is one of a filter's: 503, 5xx or >=400. The
// empty filter takes any.
func MatchStatus(filter string, status int) bool {
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			return -1
		}
		return n
	}
	switch {
	case filter == "":
		return true
	case len(filter) == 3 && strings.HasSuffix(filter, "xx"):
		return status/100 == int(filter[0]-'0')
	case strings.HasPrefix(filter, ">="):
		return status >= number(filter[2:])
	case strings.HasPrefix(filter, "<="):
		return status <= number(filter[2:])
	case strings.HasPrefix(filter, ">"):
		return status > number(filter[1:])
	case strings.HasPrefix(filter, "<"):
		return status < number(filter[1:])
	}
	return status == number(filter)
}

// Writer takes lines; a [telemetry.Stream] is one.
type Writer interface{ Write(line []byte) }

// Options of a [Recorder]. Writer and Redact are needed.
type Options struct {
	Writer  Writer
	Redact  *redact.Redactor
	MaxBody int // of each body, after redaction, in bytes. Default: 16 KiB
}

const maxHeaders = 8 << 10 // of each side, redacted

// MaxLine returns how long the lines of a recorder with that limit become.
func MaxLine(maxBody int) int { return 2*maxBody + 2*maxHeaders + 8<<10 }

// Recorder decides which requests are captured. It is safe for concurrent use.
type Recorder struct {
	o     Options
	rules atomic.Pointer[[]Rule] // nil: none

	mu    sync.Mutex
	file  []Rule // guarded by mu
	extra []Rule // guarded by mu
}

// New returns a recorder without rules.
func New(o Options) *Recorder {
	if o.MaxBody <= 0 {
		o.MaxBody = 16 << 10
	}
	return &Recorder{o: o}
}

// Use replaces the rules of the configuration.
func (r *Recorder) Use(rules []Rule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.file = rules
	r.publishLocked()
}

// UseExtra replaces the rules that operators made while it runs.
func (r *Recorder) UseExtra(rules []Rule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.extra = rules
	r.publishLocked()
}

func (r *Recorder) publishLocked() {
	all := slices.Concat(r.file, r.extra)
	now := time.Now()
	all = slices.DeleteFunc(all, func(r Rule) bool { return !now.Before(r.Until) || r.Until.Sub(now) > MaxFor || r.Sample <= 0 })
	if len(all) == 0 {
		r.rules.Store(nil)
		return
	}
	r.rules.Store(&all)
}

// Begin returns what is to be fed with a request, or nil when no rule wants it. A
// rule that asks for a status is decided by End.
func (r *Recorder) Begin(route, tenant string, now time.Time) *Capture {
	rules := r.rules.Load()
	if rules == nil {
		return nil
	}
	var c *Capture
	ended := 0
	for i := range *rules {
		rule := &(*rules)[i]
		if !now.Before(rule.Until) {
			ended++
			continue
		}
		if rule.wants(route, tenant, now) {
			if c == nil {
				c = &Capture{r: r}
			}
			c.rules = append(c.rules, rule)
		}
	}
	if ended == len(*rules) {
		r.rules.CompareAndSwap(rules, nil)
	}
	return c
}

// Active returns the rules in force, those of the file first.
func (r *Recorder) Active(now time.Time) []Rule {
	rules := r.rules.Load()
	if rules == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(*rules), func(r Rule) bool { return !now.Before(r.Until) })
}

// Capture is one request that a rule wants. It belongs to the request's goroutine.
type Capture struct {
	r        *Recorder
	rules    []*Rule
	request  body
	response body
}

type body struct {
	s       *redact.Stream
	encoded string // by which it cannot be read
	whole   bool
}

func (c *Capture) open(b *body, h http.Header) {
	if b.s != nil {
		return
	}
	kind := h.Get("Content-Type")
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		b.encoded, kind = e, "application/octet-stream"
	}
	b.s = c.r.o.Redact.Stream(kind, c.r.o.MaxBody)
}

// Request takes a piece of the request's body, whose header is h.
func (c *Capture) Request(h http.Header, p []byte) { c.feed(&c.request, h, p) }

// RequestEnded says that the request's body came to its end.
func (c *Capture) RequestEnded() { c.request.whole = true }

// Response takes a piece of the answer's body, whose header is h.
func (c *Capture) Response(h http.Header, p []byte) { c.feed(&c.response, h, p) }

// ResponseEnded says that the answer's body came to its end.
func (c *Capture) ResponseEnded() { c.response.whole = true }

func (c *Capture) feed(b *body, h http.Header, p []byte) {
	if len(p) == 0 {
		return
	}
	c.open(b, h)
	b.s.Write(p) //nolint:errcheck // it never fails
}

// End writes the line, if a rule wants the status. The capture must not be used
// after it.
func (c *Capture) End(rec *telemetry.Record, query string, request, response http.Header) {
	for _, rule := range c.rules {
		if MatchStatus(rule.Status, rec.Status) {
			c.r.o.Writer.Write(c.line(rule.Name, rec, query, request, response))
			break
		}
	}
	for _, b := range [...]*body{&c.request, &c.response} {
		if b.s != nil {
			b.s.Release()
			b.s = nil
		}
	}
}

func (c *Capture) line(rule string, rec *telemetry.Record, query string, request, response http.Header) []byte {
	red := c.r.o.Redact
	b := append(make([]byte, 0, 4<<10), `{"time":"`...)
	b = telemetry.AppendTime(b, rec.Time)
	field := func(name, value string, limit int) {
		if value != "" {
			b = append(append(append(b, `","`...), name...), `":"`...)
			b = telemetry.AppendText(b, value, limit)
		}
	}
	field("request_id", rec.RequestID, 128)
	if !rec.TraceID.IsZero() {
		field("trace_id", rec.TraceID.String(), 32)
	}
	field("tenant", rec.Tenant, 256)
	field("route", rec.Route, 256)
	b = strconv.AppendInt(append(b, `","status":`...), int64(rec.Status), 10)
	b = append(b, `,"rule":"`...)
	b = telemetry.AppendText(b, rule, 128)
	field("method", rec.Method, 32)
	field("host", string(red.Secrets(nil, []byte(rec.Host))), 255)
	field("path", string(red.Path(nil, []byte(rec.Path))), 1024)
	field("query", string(red.Query(nil, []byte(query))), 1024)
	b = append(b, '"')
	b = c.side(b, "request", request, &c.request)
	b = c.side(b, "response", response, &c.response)
	return append(b, '}')
}

// side appends what is known of a request or an answer.
func (c *Capture) side(b []byte, what string, h http.Header, body *body) []byte {
	b = append(append(append(b, `,"`...), what...), `_headers":{`...)
	start := len(b)
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if len(b)-start > maxHeaders-2048 {
			break // what is over the limit is not shown
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = telemetry.AppendText(b, name, 128)
		b = append(b, `":"`...)
		b = telemetry.AppendText(b, string(c.r.o.Redact.Header(nil, name, []byte(strings.Join(h[name], ", ")))), 1024)
		b = append(b, '"')
	}
	b = append(b, '}')
	if body.s == nil {
		return b
	}
	text, size, all := body.s.Finish(body.whole)
	if body.encoded != "" {
		b = append(append(append(b, `,"`...), what...), `_encoding":"`...)
		b = append(telemetry.AppendText(b, body.encoded, 64), '"')
	}
	b = append(append(append(b, `,"`...), what...), `_body":"`...)
	b = append(telemetry.AppendText(b, string(text), c.r.o.MaxBody), '"')
	b = append(append(append(b, `,"`...), what...), `_bytes":`...)
	b = strconv.AppendInt(b, size, 10)
	if !all {
		b = append(append(append(b, `,"`...), what...), `_cut":true`...)
	}
	return b
}

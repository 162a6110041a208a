package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/conf"
	"sluice/store"
	"sluice/telemetry"
	"sluice/waf/crs"
	"sluice/waf/event"
)

// inspection is how the firewall looks at the requests of one route, or of one
// tenant on it.
type inspection struct {
	engine *crs.Engine
	blocks bool // or else logs alone
	passes bool // a body above the limit is forwarded without being inspected
	yields bool // a request that could not be inspected in time is forwarded
	set    crs.Settings
}

// inspect shows the request to the firewall. A body of a type that is inspected
// is read whole, up to the limit, into a buffer that is then forwarded as it
// is: it is held once. The answer names no rule.
func (g *Gateway) inspect(e *exchange) *refusal {
	p := e.world.security.routes[e.route.index].inspectionFor(e.tenant)
	if p == nil {
		return nil
	}
	ref, inspected := e.readInspected(p)
	if ref != nil {
		return ref
	}
	r := crs.Request{
		Client: e.origin.client, Method: e.r.Method, Target: e.inspectedTarget(), Proto: e.r.Proto, Host: e.r.Host, Header: e.r.Header, Gone: e.r.Context().Done(),
	}
	if inspected {
		r.Body = e.replay.buf
	}
	begin := time.Now()
	v := p.engine.Inspect(&r, &p.set)
	g.deps.Metrics.Inspected(time.Since(begin))
	switch {
	case e.replay.excess != "":
		v.Excess = e.replay.excess // passed on uninspected: never in silence
	case v.Overload && e.r.Context().Err() != nil:
		e.clientGone(e.r.Context().Err())
		return answered
	case !v.Refused && len(v.Findings) == 0:
		return nil
	}
	action := telemetry.WAFDetect
	if v.Refused && p.blocks && !(v.Overload && p.yields) {
		action = telemetry.WAFBlock
	}
	g.noteFindings(e, p, &v, action)
	switch {
	case action == telemetry.WAFDetect:
		return nil
	case v.Overload:
		return &refusal{code: codeNotInspected, retry: time.Second}
	case v.Excess == "body":
		return refusedSize
	}
	return refuse(codeBlocked)
}

// inspectedTarget is the request-target in origin form, as it came: rules look
// at what the client wrote, before it was normalised.
func (e *exchange) inspectedTarget() string {
	if uri := e.r.RequestURI; strings.HasPrefix(uri, "/") {
		return uri
	}
	return e.r.URL.RequestURI()
}

// noteFindings writes what was found into the record, the metrics and the security
// log.
func (g *Gateway) noteFindings(e *exchange, p *inspection, v *crs.Verdict, action string) {
	family := "limit"
	switch {
	case v.Overload:
		family, v.Excess = "overload", "overload"
		g.deps.Metrics.WAFOverloaded()
	case len(v.Findings) > 0:
		family = p.engine.Family(v.Findings[0].Rule)
	}
	g.deps.Metrics.Found(family, e.tenant, action)
	rec := &telemetry.WAFRecord{Action: action, Attack: v.Refused && !v.Overload, Score: v.Score, Limit: v.Excess}
	for _, f := range v.Findings {
		rec.Rules = append(rec.Rules, f.Rule)
		rec.Parts = append(rec.Parts, f.Part)
		rec.Shapes = append(rec.Shapes, f.Match)
		g.deps.Metrics.RuleHit(f.Rule)
	}
	e.record.WAF = rec
	ev := event.Event{
		Time: e.start, RequestID: e.record.RequestID, Tenant: e.tenant, Route: e.route.name, Client: e.origin.client,
		Kind: event.Firewall, Action: action, Rule: "limit", Reason: "beyond the limit " + v.Excess,
		Count: float64(v.Score), Limit: float64(p.set.Threshold), Method: e.r.Method, Path: e.path, Agent: e.record.UserAgent,
	}
	switch {
	case v.Overload:
		ev.Rule, ev.Reason = "overload", "not inspected: no place or no time"
	case len(v.Findings) > 0:
		ev.Rule, ev.Target, ev.Reason = ruleIDs(v.Findings), v.Findings[0].Part, family
	}
	if action == telemetry.WAFBlock {
		ev.Status = http.StatusForbidden
		switch {
		case v.Overload:
			ev.Status = http.StatusServiceUnavailable
		case v.Excess == "body":
			ev.Status = http.StatusRequestEntityTooLarge
		}
	}
	g.deps.Events.Write(&ev)
}

// ruleIDs lists the rules of findings, as many as a line of the log holds.
func ruleIDs(findings []crs.Finding) string {
	var b []byte
	for i, f := range findings[:min(len(findings), 8)] {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendInt(b, int64(f.Rule), 10)
	}
	return string(b)
}

// replay is a request body that was read to be inspected, and what follows it.
type replay struct {
	buf    []byte
	off    int
	rest   io.Reader // nil: buf is all
	excess string    // why the body was not inspected
	pooled *[]byte
}

func (p *replay) Read(b []byte) (int, error) {
	if p.off < len(p.buf) {
		n := copy(b, p.buf[p.off:])
		p.off += n
		return n, nil
	}
	if p.rest != nil {
		return p.rest.Read(b)
	}
	return 0, io.EOF
}

// bodies holds buffers for inspected bodies.
var bodies = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// maxPooledBody is the largest buffer that waits for the next request.
const maxPooledBody = 64 << 10

func (p *replay) release() {
	if p.pooled != nil {
		if cap(p.buf) <= maxPooledBody {
			*p.pooled = p.buf[:0]
			bodies.Put(p.pooled)
		}
	}
	*p = replay{}
}

// readInspected reads the body when its type is inspected.
func (e *exchange) readInspected(p *inspection) (ref *refusal, inspected bool) {
	r := e.r
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 || crs.KindOf(single(r.Header["Content-Type"])) == crs.KindNone && len(r.Header["Content-Type"]) == 1 {
		return nil, false
	}
	limit := p.set.Limits.Body
	if r.ContentLength > int64(limit) {
		return e.tooLarge(p)
	}
	e.replay.pooled = bodies.Get().(*[]byte)
	buf := (*e.replay.pooled)[:0]
	if n := int(r.ContentLength); n >= cap(buf) {
		buf = make([]byte, 0, n+1)
	}
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, max(len(buf), 512))
		}
		n, err := r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		e.replay.buf = buf
		switch {
		case e.route.maxBody >= 0 && int64(len(buf)) > e.route.maxBody:
			return refusedSize, false
		case len(buf) > limit:
			e.replay.rest = r.Body
			return e.tooLarge(p)
		case err == io.EOF:
			return nil, true
		case err != nil:
			if e.r.Context().Err() != nil || errors.Is(err, io.ErrUnexpectedEOF) {
				e.clientGone(err)
				return answered, false
			}
			return refuseCause(codeBadRequest, fmt.Errorf("read the body: %w", err)), false
		}
	}
}

// tooLarge is the verdict on a body above the limit of what is inspected.
func (e *exchange) tooLarge(p *inspection) (ref *refusal, inspected bool) {
	if !p.passes && p.blocks {
		e.record.WAF = &telemetry.WAFRecord{Action: telemetry.WAFBlock, Limit: "body"}
		return refusedSize, false
	}
	e.replay.excess = "body"
	return nil, false
}

// requestBody is where the request's body is read from now.
func (e *exchange) requestBody() io.Reader {
	if e.replay.pooled != nil {
		return &e.replay
	}
	return e.r.Body
}

// excludes reports whether an exclusion holds for a route.
func excludes(x conf.WAFExclusion, r *conf.Route) bool {
	return x.Route == "" || x.Route == r.Path || x.Route == r.Name && r.Name != ""
}

// inspection compiles how one route's requests are inspected: of one tenant, or
// of all others when tenant is empty. The more special setting wins. excluded are
// operators' exclusions for the route.
func (c *compiler) inspection(w *conf.WAF, r *conf.Route, excluded []store.SecurityRule, tenant string) *inspection {
	mode, threshold, paranoia := w.Mode, w.Threshold, w.Paranoia
	limits := crs.Limits{
		Body: int(w.Limits.Body), Arguments: w.Limits.Arguments, NameLength: int(w.Limits.NameLength), Depth: w.Limits.Depth, Parts: w.Limits.Parts,
		Work: crs.DefaultWork,
	}
	over := w.Limits.Over
	if x := r.WAF; x != nil {
		if x.Mode != "" {
			mode = x.Mode
		}
		if x.Threshold > 0 {
			threshold = x.Threshold
		}
		if x.Paranoia > 0 {
			paranoia = x.Paranoia
		}
		if x.Body > 0 {
			limits.Body = int(x.Body)
		}
		if x.Over != "" {
			over = x.Over
		}
	}
	if t, ok := w.Tenants[tenant]; ok && tenant != "" {
		if t.Mode != "" {
			mode = t.Mode
		}
		if t.Threshold > 0 {
			threshold = t.Threshold
		}
	}
	if mode != "detect" && mode != "block" {
		return nil
	}
	e := c.engine(crs.Profile{Paranoia: paranoia, Rules: w.Rules})
	if e == nil {
		return nil
	}
	var except []crs.Exception
	for i, x := range w.Exclude {
		if !excludes(x, r) || x.Tenant != "" && x.Tenant != tenant {
			continue
		}
		if len(e.Rules(x.Rule, x.Tag)) == 0 {
			c.fault(fmt.Sprintf("waf.exclude[%d]", i), fmt.Errorf("no rule has this id or tag"))
		}
		except = append(except, crs.Exception{Rule: x.Rule, Tag: x.Tag, Argument: x.Argument})
	}
	for _, x := range excluded {
		if x.Tenant != "" && x.Tenant != tenant {
			continue
		}
		if len(e.Rules(x.Rule, x.Tag)) == 0 {
			c.fault("waf", fmt.Errorf("security rule %s: no rule of the firewall has this id or tag", x.Name))
		}
		except = append(except, crs.Exception{Rule: x.Rule, Tag: x.Tag, Argument: x.Argument})
	}
	return &inspection{
		engine: e, blocks: mode == "block", passes: over == "pass", yields: w.Engine.Overload == "pass",
		set: crs.Settings{Threshold: threshold, Limits: limits, Exceptions: e.Except(except), Gate: c.out.gate.Gate},
	}
}

// gate is what bounds inspections, with the settings that it was made by.
type gate struct {
	*crs.Gate
	by conf.WAFEngine
}

// gate returns the gate in force, when its settings are the same, or a new one.
func (c *compiler) gate(w *conf.WAFEngine) *gate {
	if live := c.g.live.Load(); live != nil && live.gate != nil && live.gate.by == *w {
		return live.gate
	}
	places := w.Concurrency
	if places == 0 {
		places = max(1, runtime.GOMAXPROCS(0)/2)
	}
	return &gate{crs.NewGate(places, time.Duration(w.Time)), *w}
}

// engine returns the engine of a profile: the one in force, when it is the
// same, or a new one.
func (c *compiler) engine(p crs.Profile) (e *crs.Engine) {
	if e, ok := c.out.profiles[p.Key()]; ok { // the files may have changed since they were read
		return e
	}
	defer func() { c.out.profiles[p.Key()] = e }()
	key, err := p.Fingerprint()
	if err != nil {
		c.fault("waf.rules", err)
		return nil
	}
	if e, ok := c.out.engines[key]; ok {
		return e
	}
	if live := c.g.live.Load(); live != nil && live.engines[key] != nil {
		c.out.engines[key] = live.engines[key]
		return c.out.engines[key]
	}
	e, err = crs.New(p)
	c.fault("waf.rules", err)
	if err != nil {
		e = nil
	}
	c.out.engines[key] = e
	if e == nil {
		return nil
	}
	for _, o := range e.Opaque() {
		c.g.deps.Log.Warn("a firewall rule sends every request to the engine", "rule", o.ID, telemetry.KeyError, o.Why)
	}
	return e
}

// retireEngines lets go of the engines of old that next does not use.
func (s *snapshot) retireEngines(next *snapshot) {
	if s == nil {
		return
	}
	for key, e := range s.engines {
		if e != nil && next.engines[key] != e {
			e.Close()
		}
	}
}

package proxy

import (
	"net/http"
	"time"

	"sluice/waf/bans"
	"sluice/waf/detector"
	"sluice/waf/event"
)

// originUpstream is the origin of answers that are the service's.
const originUpstream = "upstream"

// signals says what a request that has ended tells of its sender. A request that
// a ban met tells nothing new. One that the firewall would refuse is an attack,
// also where the firewall only looks.
func (e *exchange) signals() detector.Signal {
	if e.record.WAF != nil && e.record.WAF.Attack {
		return detector.Attack | e.answerSignals()
	}
	return e.answerSignals()
}

// answerSignals says what the answer tells.
func (e *exchange) answerSignals() detector.Signal {
	rec := &e.record
	if rec.WAF != nil && rec.WAF.Attack {
		return detector.Attack
	}
	switch rec.Origin {
	case refusals[codeBlocked].word, refusals[codeAbnormalUsage].word:
		return 0
	case refusals[codeQuotaExceeded].word:
		return detector.Limited
	}
	switch rec.Status {
	case http.StatusUnauthorized:
		// A log-in at the service fails without a credential of ours. Who brings
		// none to us guesses nothing, but may be looking around.
		if rec.Origin == originUpstream || e.carriesCredential() {
			return detector.AuthFailure | detector.Refused
		}
		return detector.Refused
	case http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed:
		return detector.Refused
	}
	return 0
}

// watch shows a request that has ended to the detector. Who is allowed does not
// count, nor does a proxy that is trusted: behind it are others.
func (g *Gateway) watch(e *exchange) {
	if g.deps.Detector == nil {
		return
	}
	o := detector.Observation{
		Time: e.start, Tenant: e.tenant, Route: e.record.Route, RequestID: e.record.RequestID, Path: e.path, Signals: e.signals(),
	}
	if !e.guard.welcome && !e.guard.known {
		if !e.rules.trusted.Contains(e.origin.client) {
			o.Address = e.origin.client
		}
		if e.identity.Authenticated() {
			o.Subject, o.Key = e.identity.Subject, e.record.KeyID
		}
	}
	if o.Signals&detector.AuthFailure != 0 {
		if o.Credential = single(e.r.Header["Authorization"]); o.Credential == "" && e.world.keyHeader != "" {
			o.Credential = single(e.r.Header[e.world.keyHeader])
		}
	}
	g.deps.Detector.Observe(&o)
}

// tellOf makes an event of a request that met a ban.
func (g *Gateway) tellOf(e *exchange, ban *bans.Entry) {
	status := map[bans.Action]int{bans.Block: http.StatusForbidden, bans.Challenge: http.StatusTooManyRequests}[ban.Action]
	ev := event.Event{
		Time: e.start, RequestID: e.record.RequestID, Tenant: e.tenant, Route: e.record.Route, Status: status, Client: e.origin.client,
		Kind: event.Ban, Action: ban.Action.String(), Reason: ban.Reason, By: ban.By,
		Method: e.r.Method, Path: e.path, Agent: e.record.UserAgent,
	}
	if ban.Value != "" {
		ev.Target = ban.Target.String()
	}
	g.deps.Events.Write(&ev)
}

// Found makes an event of what the detector found.
func Found(log *event.Log) func(*detector.Finding) {
	return func(f *detector.Finding) {
		log.Write(&event.Event{
			Time: f.Time, RequestID: f.RequestID, Tenant: f.Tenant, Route: f.Route, Client: f.Address,
			Kind: event.Suspicion, Action: f.Action, Rule: f.Rule.String(), Target: f.Target.String(), Reason: f.Reason,
			Until: f.Until, Strikes: f.Strikes, Count: f.Count, Limit: f.Limit,
		})
	}
}

// Followed makes events of the bans and allowances that come and go, whoever
// made them.
func Followed(log *event.Log) func(e *bans.Entry, gone bool) {
	return func(e *bans.Entry, gone bool) {
		if e.List == bans.Struck {
			return
		}
		ev := event.Event{
			Time: time.Now(), Kind: event.BanMade, Action: e.Action.String(), Target: e.Target.String(), Reason: e.Reason, By: e.By,
			Until: e.Until, Strikes: e.Strikes,
		}
		if e.List == bans.Allowed {
			ev.Action = "allow"
		}
		if gone {
			ev.Kind = event.BanOver
		}
		log.Write(&ev)
	}
}

package proxy

import (
	"strconv"
	"time"

	"sluice/waf/bans"
	"sluice/waf/detector"
	"sluice/waf/geo"
)

// guard is what the bans say of one request. It lives in the exchange.
type guard struct {
	view    bans.View
	welcome bool        // an allowlist names the address
	known   bool        // an allowance names the identity
	pending *bans.Entry // the ban that holds unless the credential proves to be allowed
}

// Tarpits.
const (
	tarpitDelay = 3 * time.Second
	maxTarpits  = 1024 // requests that wait at once: waiting must not be a way to use us up
)

// listed stands for what the configuration refuses without a ban.
var listed = bans.FromFile(bans.Target{}, bans.Block, "the address is on a denylist", forever)

// checkBans refuses who is shut out, by the address and by what the request
// says of itself. An allowlist wins over all of it.
//
// Where some identity is allowed, a caller with a credential is not refused yet:
// [Gateway.admit] does it, unless the credential proves to be such an identity's.
func (g *Gateway) checkBans(e *exchange) *refusal {
	w, client := e.world, e.origin.client
	e.guard.view = bans.NewView(g.deps.Bans, w.bans)
	v := &e.guard.view
	if w.security.addresses.Allowed(client) || v.AllowsAddress(client, e.start) {
		e.guard.welcome = true
		return nil
	}
	ban := listed
	if !w.security.addresses.Denied(client) {
		c := bans.Caller{Address: client, Path: e.path, Agent: e.record.UserAgent}
		if w.places != nil && (w.places.filters || v.NeedsPlace()) {
			c.Country, c.ASN = w.places.country.Country(client), w.places.asn.ASN(client)
		}
		if ban = v.Early(&c, e.start); ban == nil {
			if ban = w.places.refuses(&c); ban == nil {
				return nil
			}
		}
	}
	if v.AllowsIdentities() && e.carriesCredential() {
		e.guard.pending = ban
		return nil
	}
	return g.meet(e, ban)
}

// carriesCredential reports whether the request brings something to identify
// its sender by.
func (e *exchange) carriesCredential() bool {
	return len(e.r.Header["Authorization"]) > 0 || len(e.r.Header[e.world.keyHeader]) > 0
}

// admit finds out who is calling and whether they are shut out. A banned
// address learns nothing of a credential but that it is an allowed one.
func (g *Gateway) admit(e *exchange) *refusal {
	ref := g.identify(e)
	v := &e.guard.view
	if ref != nil {
		if ban := e.guard.pending; ban != nil {
			if met := g.meet(e, ban); met != nil {
				return met
			}
		}
		return ref
	}
	id := bans.Identity{Route: e.route.name}
	if e.identity.Authenticated() {
		id.Tenant, id.Subject, id.Key = e.tenant, e.identity.Subject, e.record.KeyID
	}
	if e.world.security.routes[e.route.index].addresses.Denied(e.origin.client) {
		return g.meet(e, listed)
	}
	e.guard.known = v.AllowsIdentity(&id, e.start)
	if e.guard.welcome || e.guard.known {
		return nil
	}
	if ban := e.guard.pending; ban != nil {
		return g.meet(e, ban)
	}
	if ban := v.Late(&id, e.start); ban != nil {
		return g.meet(e, ban)
	}
	return nil
}

// meet is what a ban does to the request: nil when it lets it through after all.
func (g *Gateway) meet(e *exchange, ban *bans.Entry) *refusal {
	if ban.Hit(e.start) { // once a second: a flood must not become one of events
		g.tellOf(e, ban)
	}
	switch ban.Action {
	case bans.Challenge:
		return &refusal{code: codeAbnormalUsage, retry: min(ban.Left(e.start), time.Hour), cause: banned{ban}}
	case bans.Tarpit:
		if g.tarpits.Add(1) <= maxTarpits {
			e.wait(tarpitDelay)
			g.tarpits.Add(-1)
			return nil
		}
		g.tarpits.Add(-1)
		return &refusal{code: codeAbnormalUsage, retry: tarpitDelay, cause: banned{ban}}
	}
	return &refusal{code: codeBlocked, cause: banned{ban}}
}

// banned is the cause of a refusal by a ban, for the access log.
type banned struct{ *bans.Entry }

func (b banned) Error() string {
	if b.Value == "" {
		return b.Reason
	}
	return "banned: " + b.Target.String() + ": " + b.Reason
}

// wait holds the request, or less long when its client goes.
func (e *exchange) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-e.r.Context().Done():
	}
}

// compileBans compiles the switches of the file.
func (c *compiler) compileBans() {
	var entries []*bans.Entry
	for i, b := range c.doc.WAF.Bans {
		path := "waf.bans[" + strconv.Itoa(i) + "]"
		target, err := bans.ParseTarget(b.Target)
		c.fault(path+".target", err)
		action, err := bans.ParseAction(b.Action)
		c.fault(path+".action", err)
		entries = append(entries, bans.FromFile(target, action, b.Reason, b.Until.Time))
	}
	if len(c.problems) == 0 {
		c.out.bans = bans.NewSet(entries)
	}
	c.out.suspicious = detector.Compile(c.doc.WAF.Detector)
}

// FileBans returns the switches of the configuration in force, none before there
// is one.
func (g *Gateway) FileBans() []*bans.Entry {
	if w := g.live.Load(); w != nil {
		return w.bans.Entries()
	}
	return nil
}

// useGuard puts what a revision says of attackers in force.
func (g *Gateway) useGuard(w *snapshot) {
	if g.deps.Detector != nil {
		g.deps.Detector.Use(w.suspicious)
	}
	if g.deps.Places != nil {
		var inUse []*geo.Database
		if w.places != nil {
			inUse = append(inUse, w.places.country, w.places.asn)
		}
		g.deps.Places.Use(inUse...)
	}
}

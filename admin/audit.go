package admin

import (
	"context"
	"encoding/json"
	"net/netip"
	"time"
)

// Entry is what the audit keeps of one call that changes something, also of one
// that was refused.
type Entry struct {
	Time      time.Time
	Operator  string
	Role      Role
	Method    string // by which the operator logged in
	Address   netip.Addr
	RequestID string
	Action    string // the route: POST /api/v1/bans
	Kind, ID  string // what was changed: ban, 203.0.113.7; empty when nothing is named
	Status    int
	Reason    string          // that the operator gave
	Before    json.RawMessage // nil: there was nothing, or it is not known
	After     json.RawMessage // nil: there is nothing any more, or it is not known
}

// Audit keeps what operators did. Record is called once for every call that
// may have changed something, after its answer; it must be safe for concurrent
// use and return within ctx.
type Audit interface {
	Record(ctx context.Context, e *Entry)
}

// about names what the call is about, for the audit.
func (c *call) about(kind, id string) { c.entry.Kind, c.entry.ID = kind, id }

// changed says what the call changed, for the audit; nil: nothing was, or is,
// there. Values must not hold secrets.
func (c *call) changed(kind, id string, before, after any) {
	c.about(kind, id)
	c.entry.Before, c.entry.After = asJSON(before), asJSON(after)
}

func asJSON(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic("BUG: the audit cannot render it: " + err.Error())
	}
	return text
}

// auditGrace is how long the audit may take to keep an entry after the caller
// has gone.
const auditGrace = 5 * time.Second

// audit records the call, unless what changed recorded it in one transaction
// with the change.
func (c *call) audit(now time.Time) {
	if c.audited {
		return
	}
	c.sign(now, c.status)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.r.Context()), auditGrace)
	defer cancel()
	c.s.deps.Audit.Record(ctx, &c.entry)
}

// sign fills in who made the call, from where, and what came of it.
func (c *call) sign(now time.Time, status int) {
	e := &c.entry
	e.Time, e.Operator, e.Role, e.Method = now, c.by.Name, c.by.Role, c.by.Method
	e.Address, e.RequestID, e.Action, e.Status = c.from, c.id, c.pattern, status
}

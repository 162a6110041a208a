package store

import (
	"encoding/json"
	"time"

	"sluice/conf"
)

// KindTenant is the kind of tenants.
const KindTenant = "tenant"

// Tenant is what operators have said of one tenant. What is absent is as the
// configuration and the credential say.
type Tenant struct {
	ID        string           `json:"id"`
	Revision  int64            `json:"revision,omitempty"`
	Name      string           `json:"name,omitempty"`
	Tier      string           `json:"tier,omitempty"`      // goes before that of the credential
	Limit     *Limit           `json:"limit,omitempty"`     // instead of the tier's
	Routes    map[string]Limit `json:"routes,omitempty"`    // by the route's name: instead of the route's own limit
	Raise     *Raise           `json:"raise,omitempty"`     // for a while instead of the limit
	Suspended string           `json:"suspended,omitempty"` // the reason; empty: not suspended
	Notes     string           `json:"notes,omitempty"`
	UpdatedAt time.Time        `json:"updated_at,omitzero"`
	UpdatedBy string           `json:"updated_by,omitempty"`
}

// Limit is a conf.Limit in JSON.
type Limit struct {
	Requests int64         `json:"requests"`
	Per      conf.Duration `json:"per,omitempty"`
	Window   string        `json:"window,omitempty"`
	Burst    *Burst        `json:"burst,omitempty"`
}

// Burst is a conf.Burst in JSON.
type Burst struct {
	Rate conf.Rate `json:"rate"`
	Size int64     `json:"size,omitempty"`
}

// Raise is a limit that holds until a time.
type Raise struct {
	Limit  Limit     `json:"limit"`
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
}

// Conf is the limit as the configuration has it.
func (l *Limit) Conf() conf.Limit {
	out := conf.Limit{Requests: l.Requests, Per: l.Per, Window: l.Window}
	if l.Burst != nil {
		out.Burst = &conf.Burst{Rate: l.Burst.Rate, Size: l.Burst.Size}
	}
	return out
}

// ParseTenant reads a tenant from its object.
func ParseTenant(o Object) (Tenant, error) {
	var t Tenant
	if err := json.Unmarshal(o.Body, &t); err != nil {
		return t, err
	}
	t.ID, t.Revision, t.UpdatedAt, t.UpdatedBy = o.ID, o.Revision, o.at(), o.UpdatedBy
	return t, nil
}

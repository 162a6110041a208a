package store

import (
	"encoding/json"
	"time"
)

// KindTier is the kind of tiers.
const KindTier = "tier"

// Tier is a quota by name. It goes before the configuration's tier of that name.
type Tier struct {
	Name     string `json:"name"`
	Revision int64  `json:"revision,omitempty"`
	Limit
	Notes     string    `json:"notes,omitempty"`
	UpdatedAt time.Time `json:"updated_at,omitzero"`
	UpdatedBy string    `json:"updated_by,omitempty"`
}

// ParseTier reads a tier from its object.
func ParseTier(o Object) (Tier, error) {
	var t Tier
	if err := json.Unmarshal(o.Body, &t); err != nil {
		return t, err
	}
	t.Name, t.Revision, t.UpdatedAt, t.UpdatedBy = o.ID, o.Revision, o.at(), o.UpdatedBy
	return t, nil
}

func (o *Object) at() time.Time { return time.UnixMilli(o.UpdatedMS).UTC() }

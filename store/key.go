package store

import (
	"encoding/json"
	"net/netip"
	"time"
)

// KindKey is the kind of API keys.
const KindKey = "key"

// Key is an API key of an external integration. Its text is shown to whoever
// makes it and kept nowhere; Hash is that of auth.HashKey.
type Key struct {
	ID          string         `json:"id"` // the part of the text that is no secret
	Revision    int64          `json:"revision,omitempty"`
	Name        string         `json:"name"`
	Tenant      string         `json:"tenant"`
	Permissions []string       `json:"permissions,omitempty"`
	Routes      []string       `json:"routes,omitempty"`    // names or paths; absent: all
	Addresses   []netip.Prefix `json:"addresses,omitempty"` // absent: all
	Limit       *Limit         `json:"limit,omitempty"`     // of this key, beside the tenant's
	Expires     time.Time      `json:"expires,omitzero"`
	Notes       string         `json:"notes,omitempty"`
	Hash        []byte         `json:"hash,omitempty"`
	Rotated     *Rotated       `json:"rotated,omitempty"`
	CreatedAt   time.Time      `json:"created_at,omitzero"`
	CreatedBy   string         `json:"created_by,omitempty"`
	UpdatedAt   time.Time      `json:"updated_at,omitzero"`
	UpdatedBy   string         `json:"updated_by,omitempty"`
}

// Rotated is the text before the last rotation, which is accepted until a time.
type Rotated struct {
	Hash  []byte    `json:"hash,omitempty"`
	Until time.Time `json:"until"`
}

// ParseKey reads a key from its object.
func ParseKey(o Object) (Key, error) {
	var k Key
	if err := json.Unmarshal(o.Body, &k); err != nil {
		return k, err
	}
	k.ID, k.Revision, k.UpdatedAt, k.UpdatedBy = o.ID, o.Revision, o.at(), o.UpdatedBy
	return k, nil
}

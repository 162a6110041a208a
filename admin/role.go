package admin

import "context"

// Role is what an operator may do. Each role may do all that the ones below it
// may.
type Role uint8

// The roles. The zero value may do nothing.
const (
	RoleNone     Role = iota
	RoleViewer        // sees: status, tenants, logs; nothing secret
	RoleOperator      // acts on what happens: bans, bypasses, suspensions, limits of tenants, reloads
	RoleAdmin         // changes what lasts and who gets in: API keys, tiers, gossip keys
)

var roleWords = [...]string{"none", "viewer", "operator", "admin"}

func (r Role) String() string { return roleWords[min(int(r), len(roleWords)-1)] }

// ParseRole returns the role of that name, or RoleNone.
func ParseRole(word string) Role {
	for r := RoleViewer; r <= RoleAdmin; r++ {
		if roleWords[r] == word {
			return r
		}
	}
	return RoleNone
}

// Operator is the person or the tool that makes a call.
type Operator struct {
	Name   string // of the token's subject; "bootstrap" for admin.token
	Role   Role
	Method string // MethodToken or MethodOIDC
}

// Methods by which an operator proved who they are.
const (
	MethodToken = "token"
	MethodOIDC  = "oidc"
)

// Operators knows the operators that an identity provider vouches for.
// Operator is called for every call with a token that is not the bootstrap
// token; it may wait for the provider's keys for as long as ctx lets it. An
// error that wraps ErrStaleToken is of a token that was right before: it is not
// counted as a guess. Neither is one that wraps ErrNoKeys: nobody knows.
type Operators interface {
	Operator(ctx context.Context, token string) (Operator, error)
}

package auth

import (
	"slices"
	"time"
)

// Methods by which a caller proved who they are.
const (
	MethodJWT = "jwt"
	MethodKey = "key"
	// MethodProxy marks a caller without a credential whose tenant a trusted
	// proxy named in the tenant header.
	MethodProxy = "proxy"
)

// Where the tenant of an identity came from.
const (
	TenantFromClaim  = "claim"
	TenantFromKey    = "key"
	TenantFromHeader = "header"
)

// Identity is who a request comes from, as far as its credential proves it.
//
// It is immutable: one identity is shared by every request that carries the
// same token, on every core, for as long as the token is remembered. Nobody may
// write to it or to its slices. A nil *Identity is an anonymous caller: every
// method may be called on it.
//
// Its texts are safe to put into headers, logs and metric labels: see
// [ValidTenant]; a subject may also hold inner spaces and UTF-8.
type Identity struct {
	Tenant       string    // empty: the credential names none
	TenantSource string    // TenantFrom…; empty without a tenant
	Tier         string    // empty: the default tier
	Subject      string    // sub; empty when the issuer gives none
	Issuer       string    // iss; empty unless Method is MethodJWT
	Method       string    // MethodJWT, MethodKey or MethodProxy
	Permissions  []string  // in the credential's order
	Expires      time.Time // exp, without leeway; zero: does not expire

	// SuperAdmin is whether Permissions hold the super_admin_permission of the
	// configuration that verified the credential.
	SuperAdmin bool
}

// Authenticated reports whether a credential proved the identity: not so of a
// nil identity, nor of one that a trusted proxy merely named.
func (id *Identity) Authenticated() bool {
	return id != nil && id.Method != MethodProxy
}

// Has reports whether the identity holds the permission.
func (id *Identity) Has(permission string) bool {
	return id != nil && slices.Contains(id.Permissions, permission)
}

// HasAll reports whether the identity holds every one of the permissions;
// with none to hold it is true, also of a nil identity.
func (id *Identity) HasAll(permissions []string) bool {
	for _, p := range permissions {
		if !id.Has(p) {
			return false
		}
	}
	return true
}

// Bounds of what a credential may say, in bytes.
const (
	maxTenant     = 128
	maxTier       = 64
	maxSubject    = 255
	maxPermission = 256
)

// ValidTenant reports whether name can be a tenant's: 1 to 128 bytes of visible
// ASCII without " \ , ; < > { } and `.
//
// A tenant goes into request headers, log lines, metric labels and Redis keys.
// The excluded bytes end or split a value in one of them; none occurs in the ids
// that issuers give to organizations.
func ValidTenant(name string) bool { return validWord(name, maxTenant) }

func validWord(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c <= ' ' || c >= 0x7f:
			return false
		case c == '"', c == '\\', c == ',', c == ';', c == '<', c == '>', c == '{', c == '}', c == '`':
			return false
		}
	}
	return true
}

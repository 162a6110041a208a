package auth

import "net/http"

// ResolveTenant settles the tenant of a request whose header may name one, by
// tenant_header of the configuration. trusted says that the peer which sent the
// header is one of the listener's trusted proxies.
//
//   - No header, or a configuration that trusts nobody's: id as it is, nil
//     included. The header means nothing then, and nobody behind sees it.
//   - The credential names a tenant: the header must name the same one, whoever
//     sent it; another is an *Error of CodeInsufficientScope.
//   - It names none: the header counts when trusted is true, and is otherwise
//     ignored. A client never makes itself a tenant.
//
// An identity made from a header alone has Method [MethodProxy]; it is not
// [Identity.Authenticated]. id itself is never changed.
func (v *Verifier) ResolveTenant(id *Identity, h http.Header, trusted bool) (*Identity, error) {
	values := h[v.header]
	if len(values) == 0 || !v.trustHeader {
		return id, nil
	}
	if id != nil && id.Tenant != "" {
		for _, value := range values {
			if value != id.Tenant {
				return nil, &Error{
					Code:        CodeInsufficientScope,
					Description: "The credential belongs to another tenant than the tenant header names",
					Reason:      ReasonTenantMismatch,
				}
			}
		}
		return id, nil
	}
	if !trusted {
		return id, nil
	}
	if len(values) > 1 || !ValidTenant(values[0]) {
		return nil, &Error{
			Code:        CodeInvalidRequest,
			Description: "The tenant header does not name one tenant",
			Reason:      ReasonMalformed,
		}
	}
	named := Identity{Method: MethodProxy}
	if id != nil {
		named = *id
	}
	named.Tenant, named.TenantSource = values[0], TenantFromHeader
	return &named, nil
}

// TenantHeader is the canonical name of the header that carries the tenant to
// the services, and that clients may not forge.
func (v *Verifier) TenantHeader() string { return v.header }

package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"sluice/telemetry"
)

// ErrStaleToken marks a token that has expired.
var ErrStaleToken = errors.New("the token has expired")

// ErrNoKeys marks a token that cannot be verified, because the provider's keys
// were never obtained.
var ErrNoKeys = errors.New("the identity provider's keys are not there")

const challenge = `Bearer realm="sluice admin"`

// login finds out who is calling. A refusal is a *Refusal.
//
// An address that has failed often waits, with the right token too: else it
// could go on guessing. A call without a token is no guess.
func (s *Server) login(c *call) error {
	scheme, token, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	if token == "" || !strings.EqualFold(scheme, "Bearer") {
		return unauthenticated("An operator's bearer token is required.")
	}
	if wait := s.guesses.wait(c.from); wait > 0 {
		return &Refusal{
			Status: http.StatusTooManyRequests, Word: "too-many-failures", Title: "Too many failed logins",
			Detail: "Too many tokens from this address were wrong. Wait, then try again.", RetryAfter: wait,
		}
	}
	by, err := s.operatorOf(c, token)
	if err == nil {
		c.by = by
		return nil
	}
	if errors.Is(err, ErrStaleToken) {
		return unauthenticated("The token has expired.")
	}
	if errors.Is(err, ErrNoKeys) {
		return unavailable("The identity provider of operators cannot be reached, so that this token cannot be verified. The bootstrap token works.")
	}
	s.guesses.failed(c.from)
	s.failures.Add(1)
	s.deps.Log.Warn("admin login failed", telemetry.KeyClient, c.from.String(), telemetry.KeyError, err.Error())
	return unauthenticated("The token is not one of an operator.")
}

// operatorOf compares with the bootstrap token first. Both sides are hashed, so
// that the comparison takes the same time whatever the length.
func (s *Server) operatorOf(c *call, token string) (Operator, error) {
	given := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(given[:], s.token[:]) == 1 {
		return Operator{Name: "bootstrap", Role: RoleAdmin, Method: MethodToken}, nil
	}
	if s.deps.Operators == nil {
		return Operator{}, errors.New("not the bootstrap token")
	}
	return s.deps.Operators.Operator(c.r.Context(), token)
}

func unauthenticated(detail string) *Refusal {
	return &Refusal{Status: http.StatusUnauthorized, Word: "unauthenticated", Title: "Authentication required", Detail: detail, challenge: challenge}
}

func forbidden(by Operator, needed Role) *Refusal {
	return &Refusal{
		Status: http.StatusForbidden, Word: "forbidden", Title: "Role missing",
		Detail: fmt.Sprintf("This needs the role %s; %s has the role %s.", needed, by.Name, by.Role),
	}
}

// addressOf is the other end of the connection. Forwarding headers are not
// looked at: whoever reaches this listener could write them.
func addressOf(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sluice/admin"
	"sluice/auth"
	"sluice/conf"
)

// newAdmin builds the admin listener's handler and introduces it to the rest.
func (a *app) newAdmin() *admin.Server {
	s := admin.New(admin.Deps{
		Token: a.token, Operators: a.staff.operators(), Metrics: a.metrics, Health: a.health, Log: a.log, Audit: audit{a.log, a.policies.store},
		Status: a.status, Config: a.effective, Reload: a.reloader.Reload, Cluster: &clusterView{a.gossip, a}, Captures: a.logs.captures,
		Policies: a.policies, Bans: a.bans, FileBans: a.gateway.FileBans, Live: a.traffic,
	})
	a.metrics.Collect(s.Collect)
	return s
}

// staff are the operators that an identity provider vouches for.
type staff struct {
	keys     *auth.KeyStore // apart from the clients': those come and go with the configuration
	verifier *auth.Verifier
}

// newStaff returns nil when the configuration names no provider.
func newStaff(o *conf.AdminOIDC, options auth.KeyStoreOptions) (*staff, error) {
	if o == nil {
		return nil, nil
	}
	audience := o.Audience
	if audience == "" {
		audience = o.ClientID
	}
	s := &staff{keys: auth.NewKeyStore(options)}
	var err error
	s.verifier, err = auth.Compile(conf.Auth{Issuers: []conf.Issuer{{
		Issuer: o.Issuer, Audience: audience, PermissionsClaim: o.RolesClaim,
		TenantClaim: "sluice operators have no tenant", // or org_id would have to be a word
	}}, CacheTokens: 1000}, s.keys, auth.Options{})
	if err != nil {
		return nil, fmt.Errorf("admin.oidc: %w", err)
	}
	s.keys.Use(s.verifier.KeySets()...)
	return s, nil
}

// operators is s, or nothing when there is nobody.
func (s *staff) operators() admin.Operators {
	if s == nil {
		return nil
	}
	return s
}

// Run keeps the provider's keys until ctx ends.
func (s *staff) Run(ctx context.Context) error {
	if s == nil {
		return nil
	}
	return s.keys.Run(ctx)
}

// Operator is [admin.Operators].
func (s *staff) Operator(_ context.Context, token string) (admin.Operator, error) {
	id, err := s.verifier.Verify(token, time.Now())
	switch {
	case err != nil && auth.Reason(err) == auth.ReasonExpired:
		return admin.Operator{}, fmt.Errorf("%w: %w", admin.ErrStaleToken, err)
	case err != nil && auth.Reason(err) == auth.ReasonKeysUnavailable:
		return admin.Operator{}, fmt.Errorf("%w: %w", admin.ErrNoKeys, err)
	case err != nil:
		return admin.Operator{}, err
	}
	by := admin.Operator{Name: id.Subject, Method: admin.MethodOIDC}
	for _, word := range id.Permissions {
		by.Role = max(by.Role, admin.ParseRole(strings.TrimPrefix(word, "sluice:")))
	}
	return by, nil
}

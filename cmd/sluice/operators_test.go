package main

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"sluice/admin"
	"sluice/auth"
	"sluice/conf"
	"sluice/internal/issuer"
)

func TestOperatorsOfAnIdentityProvider(t *testing.T) {
	signer, err := issuer.Generate(issuer.ES256)
	if err != nil {
		t.Fatal(err)
	}
	key, err := issuer.NewKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(nil)
	url := "http://" + server.Listener.Addr().String() + "/"
	idp, err := issuer.New(issuer.Options{URL: url, Audience: "sluice-admin", Keys: []issuer.Key{key}})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = idp
	server.Start()
	defer server.Close()
	s, err := newStaff(&conf.AdminOIDC{Issuer: url, ClientID: "sluice-admin", RolesClaim: "https://acme.example/roles"}, auth.KeyStoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() { cancel(); <-done }()
	if err := s.keys.AwaitKeys(ctx); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		claims issuer.Claims
		want   admin.Role
		err    error // what it wraps; nil with want 0: any
	}{
		"an admin":                  {issuer.Claims{Subject: "auth0|ann", Extra: map[string]any{"https://acme.example/roles": []string{"viewer", "admin"}}}, admin.RoleAdmin, nil},
		"a viewer by permission":    {issuer.Claims{Extra: map[string]any{"https://acme.example/roles": "sluice:viewer"}}, admin.RoleViewer, nil},
		"an operator with a tenant": {issuer.Claims{Tenant: "acme", Extra: map[string]any{"https://acme.example/roles": []string{"operator"}}}, admin.RoleOperator, nil},
		"somebody without a role":   {issuer.Claims{Permissions: []string{"admin"}}, admin.RoleNone, nil},
		"a token that has expired":  {issuer.Claims{TTL: -time.Hour, Extra: map[string]any{"https://acme.example/roles": "admin"}}, admin.RoleNone, admin.ErrStaleToken},
	} {
		token, err := idp.Token(c.claims)
		if err != nil {
			t.Fatal(err)
		}
		by, err := s.Operator(ctx, token)
		if by.Role != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %+v %v", what, by, err)
		}
		if what == "an admin" && (by.Name != "auth0|ann" || by.Method != admin.MethodOIDC) {
			t.Errorf("%+v", by)
		}
	}
	other, err := idp.Token(issuer.Claims{Audience: []string{"https://api.acme.example"}, Extra: map[string]any{"https://acme.example/roles": "admin"}})
	if err != nil {
		t.Fatal(err)
	}
	if by, err := s.Operator(ctx, other); err == nil {
		t.Errorf("a token for another audience is %+v", by)
	}
	away, err := newStaff(&conf.AdminOIDC{Issuer: "http://127.0.0.1:9/", ClientID: "sluice-admin"}, auth.KeyStoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := idp.Token(issuer.Claims{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := away.Operator(ctx, token); err == nil {
		t.Error("a token of another issuer is accepted")
	}
}

//go:build integration

package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/admin"
	"sluice/internal/apicontract"
	"sluice/internal/issuer"
	"sluice/internal/testkit"
)

const operatorsConfig = `
node: {name: gw-1, data_dir: "{{.Dir}}/data"}
listeners: [{address: "{{.Listen}}"}]
admin:
  address: "{{.Admin}}"
  oidc: {issuer: "{{.Issuer}}", client_id: ui, audience: ` + audience + `, roles_claim: permissions}
services: {app: {upstreams: ["http://127.0.0.1:9"]}}
routes: [{path: /*, service: app, auth: none}]
logs: {access: {file: "off"}}
`

// TestOperatorsComeWithTokensOfTheirProvider asks a real node as each role, and
// holds its answers to the document that it serves.
func TestOperatorsComeWithTokensOfTheirProvider(t *testing.T) {
	t.Parallel()
	tokens := newIssuer(t)
	g := testkit.StartGateway(t, operatorsConfig, map[string]any{"Issuer": tokens.URL()})
	contract, err := apicontract.New(admin.Document())
	if err != nil {
		t.Fatal(err)
	}
	client := testkit.NewClient(t, g.AdminURL)
	as := map[string]string{"nobody": token(t, tokens, issuer.Claims{Subject: "auth0|eve", Tenant: "acme"})}
	for _, role := range []string{"viewer", "operator", "admin"} {
		as[role] = token(t, tokens, issuer.Claims{Subject: "auth0|" + role, Permissions: []string{"items:read", "sluice:" + role}})
	}
	testkit.Eventually(t, 20*time.Second, func() error { // the provider's keys are fetched beside the start
		r := client.Get("/api/v1/tenants", testkit.Bearer(as["viewer"]))
		if r.Status == http.StatusServiceUnavailable {
			return fmt.Errorf("%s", r.Body)
		}
		return nil
	})
	for _, c := range []struct {
		who, method, path, body string
		status                  int
	}{
		{"viewer", "GET", "/api/v1/tenants", "", 200},
		{"nobody", "GET", "/api/v1/tenants", "", 403},
		{"viewer", "PUT", "/api/v1/tenants/acme", `{}`, 403},
		{"operator", "PUT", "/api/v1/tenants/acme", `{"name":"Acme"}`, 201},
		{"operator", "PUT", "/api/v1/tiers/gold", `{"requests":5}`, 403},
		{"admin", "PUT", "/api/v1/tiers/gold", `{"requests":5}`, 201},
		{"viewer", "GET", "/api/v1/tenants/acme/usage", "", 200},
		{"viewer", "GET", "/api/v1/audit", "", 200},
	} {
		options := []testkit.Option{testkit.Bearer(as[c.who])}
		if c.body != "" {
			options = append(options, testkit.Body("application/json", []byte(c.body)))
		}
		r := client.Do(c.method, c.path, options...)
		if r.Status != c.status {
			t.Errorf("%s %s as %s: %d, want %d: %s", c.method, c.path, c.who, r.Status, c.status, r.Body)
		}
		if err := contract.Check(c.method, c.path, r.Status, r.Header.Get("Content-Type"), r.Body); err != nil {
			t.Errorf("%s %s: %v", c.method, c.path, err)
		}
	}
	if r := client.Do(http.MethodGet, "/api/v1/audit?operator=auth0%7Coperator", testkit.Bearer(as["viewer"])); r.Status != 200 || !strings.Contains(string(r.Body), `"operator": "auth0|operator"`) || !strings.Contains(string(r.Body), `"method": "oidc"`) {
		t.Errorf("%d %s", r.Status, r.Body)
	}
}

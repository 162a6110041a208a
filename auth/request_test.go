package auth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/conf"
)

func TestBearerToken_TakesOneTokenOfOneHeader(t *testing.T) {
	for _, c := range []struct {
		values  []string
		token   string
		present bool
		reason  string
	}{
		{nil, "", false, ""},
		{[]string{"Bearer abc.def-ghi_~+/=="}, "abc.def-ghi_~+/==", true, ""},
		{[]string{"bearer abc"}, "abc", true, ""},
		{[]string{"BEARER    abc  "}, "abc", true, ""},
		{[]string{"Basic dXNlcjpwYXNz"}, "", false, ""},
		{[]string{""}, "", false, ""},
		{[]string{"Bear"}, "", false, ""},
		{[]string{"Bearerabc"}, "", false, ""},
		{[]string{"BearerX abc"}, "", false, ""},
		{[]string{"Bearer"}, "", true, ReasonMalformed},
		{[]string{"Bearer "}, "", true, ReasonMalformed},
		{[]string{"Bearer a b"}, "", true, ReasonMalformed},
		{[]string{"Bearer a, Bearer b"}, "", true, ReasonMalformed},
		{[]string{"Bearer a,b"}, "", true, ReasonMalformed},
		{[]string{"Bearer a", "Bearer a"}, "", true, ReasonManyCredentials},
		{[]string{"Basic a", "Bearer a"}, "", true, ReasonManyCredentials},
	} {
		token, present, err := BearerToken(http.Header{"Authorization": c.values})
		reason := ""
		if err != nil {
			reason = Reason(err)
			if e := err.(*Error); e.Code != CodeInvalidRequest || e.Status() != 400 {
				t.Errorf("%q: code %s, status %d; want invalid_request, 400", c.values, e.Code, e.Status())
			}
		}
		if token != c.token || present != c.present || reason != c.reason {
			t.Errorf("%q: %q, %v, %q; want %q, %v, %q", c.values, token, present, reason, c.token, c.present, c.reason)
		}
	}
}

func FuzzBearerToken(f *testing.F) {
	f.Add("Bearer abc")
	f.Add("bearer  abc ")
	f.Add("Basic abc")
	f.Fuzz(func(t *testing.T, value string) {
		token, present, err := BearerToken(http.Header{"Authorization": {value}})
		if present != strings.HasPrefix(strings.ToLower(value)+" ", "bearer ") && len(value) < 1<<10 {
			if strings.EqualFold(value[:min(6, len(value))], "bearer") == present {
				return // a fold that ToLower does not know
			}
			t.Errorf("BearerToken(%q): present %v", value, present)
		}
		if err == nil && present == (token == "") || err != nil && (token != "" || !present) {
			t.Errorf("BearerToken(%q) = %q, %v, %v", value, token, present, err)
		}
		if strings.ContainsAny(token, " ,") || !strings.Contains(value, token) {
			t.Errorf("BearerToken(%q) = %q", value, token)
		}
	})
}

func TestChallenge_IsWhatRFC6750AsksFor(t *testing.T) {
	wrapped := fmt.Errorf("stage: %w", refuse(ReasonExpired, "The token has expired", nil))
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, `Bearer realm="sluice"`},
		{errors.New("secret"), `Bearer realm="sluice"`},
		{wrapped, `Bearer realm="sluice", error="invalid_token", error_description="The token has expired"`},
		{keysUnavailable(nil), `Bearer realm="sluice"`},
		{
			Insufficient([]string{"items:write", "items:read"}),
			`Bearer realm="sluice", error="insufficient_scope", error_description="The credential lacks a permission that this needs", scope="items:write items:read"`,
		},
		{
			&Error{Code: "x", Description: "a\"b\\c\r\nSet-Cookie: d\x00é"},
			`Bearer realm="sluice", error="x", error_description="a?b?c??Set-Cookie: d???"`,
		},
	} {
		if got := Challenge(c.err); got != c.want {
			t.Errorf("Challenge(%v)\n got %s\nwant %s", c.err, got, c.want)
		}
	}
	if got := Reason(wrapped); got != ReasonExpired {
		t.Errorf("Reason %q, want expired", got)
	}
	if got := Reason(errors.New("x")); got != ReasonUnknown {
		t.Errorf("Reason %q, want unknown", got)
	}
}

func TestErrors_HaveTheStatusOfTheirCode(t *testing.T) {
	for code, want := range map[string]int{CodeInvalidRequest: 400, CodeInvalidToken: 401, CodeInsufficientScope: 403, CodeUnavailable: 503} {
		if got := (&Error{Code: code}).Status(); got != want {
			t.Errorf("%s: %d, want %d", code, got, want)
		}
	}
}

func TestNobody_HoldsNoPermission(t *testing.T) {
	var nobody *Identity
	if nobody.Has("a") || nobody.HasAll([]string{"a"}) || nobody.Authenticated() || !nobody.HasAll(nil) {
		t.Error("a nil identity holds something")
	}
}

func TestTheTenantHeader_CountsOnlyFromTrustedProxies(t *testing.T) {
	ks := NewKeyStore(KeyStoreOptions{})
	verifier := func(name, trust string) *Verifier {
		return compile(t, conf.Auth{TenantHeader: conf.TenantHeader{Name: name, Trust: trust}}, ks, nil)
	}
	never, proxies, renamed := verifier("", ""), verifier("", "trusted_proxies"), verifier("x-org", "trusted_proxies")
	acme := &Identity{Tenant: "acme", TenantSource: TenantFromClaim, Method: MethodJWT}
	nobodys := &Identity{Subject: "s", Method: MethodJWT}
	header := func(name string, values ...string) http.Header { return http.Header{name: values} }
	for name, c := range map[string]struct {
		v       *Verifier
		id      *Identity
		h       http.Header
		trusted bool
		want    *Identity
		reason  string
	}{
		"no header":                       {proxies, acme, nil, true, acme, ""},
		"no header, nobody":               {proxies, nil, nil, true, nil, ""},
		"the same":                        {never, acme, header("X-Tenant-Id", "acme"), false, acme, ""},
		"another, never":                  {never, acme, header("X-Tenant-Id", "rival"), true, acme, ""},
		"another, from a client":          {proxies, acme, header("X-Tenant-Id", "rival"), false, nil, ReasonTenantMismatch},
		"another, from a proxy":           {proxies, acme, header("X-Tenant-Id", "rival"), true, nil, ReasonTenantMismatch},
		"the same and another":            {proxies, acme, header("X-Tenant-Id", "acme", "rival"), true, nil, ReasonTenantMismatch},
		"from a client":                   {proxies, nil, header("X-Tenant-Id", "acme"), false, nil, ""},
		"from a client, never":            {never, nil, header("X-Tenant-Id", "acme"), true, nil, ""},
		"from a client, token without":    {proxies, nobodys, header("X-Tenant-Id", "acme"), false, nobodys, ""},
		"from a proxy":                    {proxies, nil, header("X-Tenant-Id", "acme"), true, &Identity{Tenant: "acme", TenantSource: TenantFromHeader, Method: MethodProxy}, ""},
		"from a proxy, token without":     {proxies, nobodys, header("X-Tenant-Id", "acme"), true, &Identity{Tenant: "acme", TenantSource: TenantFromHeader, Subject: "s", Method: MethodJWT}, ""},
		"from a proxy, malformed":         {proxies, nil, header("X-Tenant-Id", "a b"), true, nil, ReasonMalformed},
		"from a proxy, two":               {proxies, nil, header("X-Tenant-Id", "a", "b"), true, nil, ReasonMalformed},
		"from a proxy, under its name":    {renamed, nil, header("X-Org", "acme"), true, &Identity{Tenant: "acme", TenantSource: TenantFromHeader, Method: MethodProxy}, ""},
		"from a proxy, under another one": {renamed, nil, header("X-Tenant-Id", "acme"), true, nil, ""},
	} {
		got, err := c.v.ResolveTenant(c.id, c.h, c.trusted)
		reason := ""
		if err != nil {
			reason = Reason(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" || reason != c.reason {
			t.Errorf("%s: reason %q, want %q; identity (-want +got):\n%s", name, reason, c.reason, diff)
		}
	}
	if nobodys.Tenant != "" {
		t.Error("a shared identity was changed")
	}
	if got := never.TenantHeader() + " " + renamed.TenantHeader(); got != "X-Tenant-Id X-Org" {
		t.Errorf("header names %s", got)
	}
}

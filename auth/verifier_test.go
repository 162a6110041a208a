package auth

import (
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"sluice/conf"
	"sluice/internal/issuer"
	"sluice/internal/issuer/issuertest"
)

func TestAToken_ProvesTenantTierSubjectAndPermissions(t *testing.T) {
	w := newWorld(t, KeyStoreOptions{}, nil)
	for _, algorithm := range []string{issuer.RS256, issuer.ES256, issuer.EdDSA} {
		got := w.accept(t, w.token(t, issuer.Claims{
			Tenant: "org_acme", Tier: "premium", Subject: "auth0|7", Algorithm: algorithm,
			Permissions: []string{"items:read", "platform:admin"},
		}))
		want := &Identity{
			Tenant: "org_acme", TenantSource: TenantFromClaim, Tier: "premium", Subject: "auth0|7",
			Issuer: w.issuer.URL(), Method: MethodJWT, Permissions: []string{"items:read", "platform:admin"},
			Expires: got.Expires, SuperAdmin: true,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: identity (-want +got):\n%s", algorithm, diff)
		}
		if left := time.Until(got.Expires); left < 59*time.Minute || left > time.Hour {
			t.Errorf("%s: expires in %v, want an hour", algorithm, left)
		}
		if !got.Authenticated() || !got.HasAll([]string{"items:read", "platform:admin"}) || got.Has("items:write") {
			t.Errorf("%s: permissions of %+v", algorithm, got)
		}
	}
	if id := w.accept(t, w.token(t, issuer.Claims{})); id.Tenant != "" || id.TenantSource != "" || id.SuperAdmin {
		t.Errorf("a token without tenant gives %+v", id)
	}
}

// Invariant 2.
func TestBadTokens_AreRefusedWithTheirReason(t *testing.T) {
	w := newWorld(t, KeyStoreOptions{}, nil)
	extra := func(name string, value any) issuer.Claims {
		return issuer.Claims{Tenant: "acme", Extra: map[string]any{name: value}}
	}
	header := func(name string, value any) issuer.Claims {
		return issuer.Claims{Tenant: "acme", Header: map[string]any{name: value}}
	}
	now := time.Now()
	cases := map[string]struct {
		claims issuer.Claims
		reason string
	}{
		"expired":                      {issuer.Claims{TTL: -time.Minute}, ReasonExpired},
		"no exp":                       {extra("exp", nil), ReasonMalformed},
		"exp zero":                     {extra("exp", 0), ReasonMalformed},
		"exp text":                     {extra("exp", "4102444800"), ReasonMalformed},
		"exp beyond all dates":         {extra("exp", 1e300), ReasonMalformed},
		"nbf in the future":            {extra("nbf", now.Add(time.Minute).Unix()), ReasonNotYetValid},
		"nbf beyond all dates":         {extra("nbf", 1e300), ReasonMalformed},
		"nbf negative":                 {extra("nbf", -1), ReasonMalformed},
		"iat in the future":            {extra("iat", now.Add(time.Minute).Unix()), ReasonNotYetValid},
		"another issuer":               {extra("iss", "https://evil.example/"), ReasonUnknownIssuer},
		"issuer without closing slash": {extra("iss", strings.TrimSuffix(w.issuer.URL(), "/")), ReasonUnknownIssuer},
		"no issuer":                    {extra("iss", nil), ReasonUnknownIssuer},
		"issuer is a list":             {extra("iss", []string{w.issuer.URL()}), ReasonUnknownIssuer},
		"another audience":             {issuer.Claims{Audience: []string{"https://other.example"}}, ReasonWrongAudience},
		"audience in another case":     {issuer.Claims{Audience: []string{strings.ToUpper(w.issuer.Audience())}}, ReasonWrongAudience},
		"no audience":                  {extra("aud", nil), ReasonWrongAudience},
		"audience a number":            {extra("aud", 7), ReasonWrongAudience},
		"audience list with a number":  {extra("aud", []any{w.issuer.Audience(), 7}), ReasonMalformed},
		"crit":                         {header("crit", []string{"exp"}), ReasonCritical},
		"crit empty":                   {header("crit", []string{}), ReasonCritical},
		"typ logout token":             {header("typ", "logout+jwt"), ReasonTokenType},
		"typ number":                   {header("typ", 1), ReasonTokenType},
		"kid number":                   {header("kid", 1), ReasonMalformed},
		"kid endless":                  {header("kid", strings.Repeat("k", maxKeyID+1)), ReasonMalformed},
		"no kid among several keys":    {header("kid", nil), ReasonUnknownKey},
		"tenant number":                {extra("org_id", 7), ReasonMalformed},
		"tenant list":                  {extra("org_id", []string{"acme"}), ReasonMalformed},
		"tenant empty":                 {extra("org_id", ""), ReasonMalformed},
		"tenant with line break":       {extra("org_id", "acme\r\nX-Admin: 1"), ReasonMalformed},
		"tenant with space":            {extra("org_id", "acme corp"), ReasonMalformed},
		"tenant with comma":            {extra("org_id", "acme,other"), ReasonMalformed},
		"tenant with quote":            {extra("org_id", `acme"`), ReasonMalformed},
		"tenant not ASCII":             {extra("org_id", "ácme"), ReasonMalformed},
		"tenant too long":              {extra("org_id", strings.Repeat("a", 129)), ReasonMalformed},
		"tier object":                  {extra(issuer.TierClaim, map[string]any{}), ReasonMalformed},
		"tier too long":                {extra(issuer.TierClaim, strings.Repeat("a", 65)), ReasonMalformed},
		"subject number":               {extra("sub", 7), ReasonMalformed},
		"subject with line break":      {extra("sub", "a\nb"), ReasonMalformed},
		"permissions object":           {extra("permissions", map[string]any{}), ReasonMalformed},
		"permissions with a number":    {extra("permissions", []any{"a", 1}), ReasonMalformed},
		"permission with line break":   {extra("permissions", []any{"a\nb"}), ReasonMalformed},
		"permission empty":             {extra("permissions", []any{""}), ReasonMalformed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e := refused(t, w.Verifier, w.token(t, c.claims), now, c.reason)
			if e.Code != CodeInvalidToken || e.Status() != http.StatusUnauthorized {
				t.Errorf("code %s, status %d; want invalid_token, 401", e.Code, e.Status())
			}
		})
	}
	if n := w.Stats().Cached; n != 0 {
		t.Errorf("%d refused tokens are remembered", n)
	}
}

func TestTokensThatAreNone_AreRefused(t *testing.T) {
	w := newWorld(t, KeyStoreOptions{}, nil)
	good := w.token(t, issuer.Claims{})
	parts := strings.Split(good, ".")
	cases := map[string]struct{ token, reason string }{
		"empty":              {"", ReasonMalformed},
		"word":               {"secret", ReasonMalformed},
		"two parts":          {parts[0] + "." + parts[1], ReasonMalformed},
		"four parts":         {good + ".x", ReasonMalformed},
		"five parts, JWE":    {good + ".x.y", ReasonMalformed},
		"space":              {good + " ", ReasonMalformed},
		"quote":              {good + `"`, ReasonMalformed},
		"zero byte":          {good + "\x00", ReasonMalformed},
		"padding":            {good + "=", ReasonMalformed},
		"header not base64":  {"+++." + parts[1] + "." + parts[2], ReasonMalformed},
		"header not JSON":    {"eA." + parts[1] + "." + parts[2], ReasonMalformed},
		"header null":        {"bnVsbA." + parts[1] + "." + parts[2], ReasonAlgorithm},
		"claims a list":      {parts[0] + ".W10." + parts[2], ReasonMalformed},
		"claims null":        {parts[0] + ".bnVsbA." + parts[2], ReasonUnknownIssuer},
		"no signature":       {parts[0] + "." + parts[1] + ".", ReasonBadSignature},
		"half a signature":   {good[:len(good)-42], ReasonBadSignature},
		"too long":           {strings.Repeat("a", MaxToken+1), ReasonTooLarge},
		"as long as allowed": {strings.Repeat("a", MaxToken), ReasonMalformed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { refused(t, w.Verifier, c.token, time.Now(), c.reason) })
	}
}

// Invariants 1 and 4.
func TestATamperedToken_IsRefusedWhereverItWasTouched(t *testing.T) {
	w := newWorld(t, KeyStoreOptions{}, nil)
	for _, algorithm := range []string{issuer.RS256, issuer.ES256, issuer.EdDSA} {
		good := w.token(t, issuer.Claims{Tenant: "acme", Algorithm: algorithm})
		w.accept(t, good) // remembered: what resembles it must not pass for it
		for i := 0; i < len(good); i += 7 {
			b := []byte(good)
			if b[i] == 'A' {
				b[i] = 'B'
			} else {
				b[i] = 'A'
			}
			if id, err := w.Verify(string(b), time.Now()); err == nil {
				t.Fatalf("%s: with byte %d changed it is accepted as %+v", algorithm, i, id)
			}
		}
		other := claimsOf(t, good)
		other["org_id"] = "rival"
		parts := strings.Split(good, ".")
		refused(t, w.Verifier, parts[0]+"."+segment(t, other)+"."+parts[2], time.Now(), ReasonBadSignature)
	}
}

// Invariant 1.
func TestAlgorithms_AreThoseOfTheKeyAndTheConfiguration(t *testing.T) {
	w := newWorld(t, KeyStoreOptions{}, nil)
	good := w.token(t, issuer.Claims{Tenant: "acme"})
	claims := claimsOf(t, good)
	keys := map[string]issuer.Key{}
	for _, k := range w.issuer.Keys() {
		keys[k.Algorithm] = k
	}
	der, err := x509.MarshalPKIXPublicKey(keys["RS256"].Private.Public())
	if err != nil {
		t.Fatal(err)
	}
	kid := keys["RS256"].ID

	// Algorithm confusion: a MAC whose secret is what everybody can know.
	for name, secret := range map[string][]byte{
		"PEM":           pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		"DER":           der,
		"modulus":       keys["RS256"].Private.Public().(*rsa.PublicKey).N.Bytes(),
		"key set":       w.issuer.JWKS(),
		"empty":         {},
		"PEM, no break": []byte(strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))),
	} {
		for _, algorithm := range []string{"HS256", "hs256", "HS512"} {
			unsigned := segment(t, map[string]any{"alg": algorithm, "typ": "JWT", "kid": kid}) + "." + segment(t, claims)
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(unsigned))
			token := unsigned + "." + raw(t, 0, 0, mac.Sum(nil))[len("MA.MA."):]
			t.Run("HS over "+name, func(t *testing.T) { refused(t, w.Verifier, token, time.Now(), ReasonAlgorithm) })
		}
	}
	for _, algorithm := range []any{"none", "None", "NONE", "", nil, 256, []string{"RS256"}, "RS256 ", "rs256", "PS256", "RS384", "ES384", "Ed25519"} {
		token := raw(t, map[string]any{"alg": algorithm, "typ": "JWT", "kid": kid}, claims, nil)
		refused(t, w.Verifier, token, time.Now(), ReasonAlgorithm)
	}

	// A signature that holds, under a name that is another key's or algorithm's.
	for _, signing := range keys {
		for _, named := range keys {
			token := w.token(t, issuer.Claims{Algorithm: signing.Algorithm, Header: map[string]any{"kid": named.ID}})
			if signing.ID == named.ID {
				w.accept(t, token)
				continue
			}
			refused(t, w.Verifier, token, time.Now(), ReasonAlgorithm)
		}
	}
	pss := jwt.NewWithClaims(jwt.SigningMethodPS256, jwt.MapClaims(claims))
	pss.Header["kid"] = kid
	token, err := pss.SignedString(keys["RS256"].Private)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, w.Verifier, token, time.Now(), ReasonAlgorithm)
}

func TestConfiguredAlgorithms_ExcludeOthers(t *testing.T) {
	w := newWorld(t, KeyStoreOptions{}, func(c *conf.Issuer) { c.Algorithms = []string{"ES256"} })
	w.accept(t, w.token(t, issuer.Claims{Algorithm: issuer.ES256}))
	refused(t, w.Verifier, w.token(t, issuer.Claims{Algorithm: issuer.RS256}), time.Now(), ReasonAlgorithm)
	refused(t, w.Verifier, w.token(t, issuer.Claims{Algorithm: issuer.EdDSA}), time.Now(), ReasonAlgorithm)
}

func TestAnRSAKeyWithoutAlg_IsUsedWithOneAlgorithm(t *testing.T) {
	key := issuertest.New(t, issuer.Options{}).Keys()[0]
	public := key.Private.Public().(*rsa.PublicKey)
	set := map[string]any{"keys": []any{rsaJWK(public, map[string]any{"kid": "k"})}}
	server := serveJSON(t, set)
	sign := func(method jwt.SigningMethod) string {
		token := jwt.NewWithClaims(method, jwt.MapClaims{"iss": "https://i/", "aud": "a", "exp": time.Now().Add(time.Hour).Unix()})
		token.Header["kid"] = "k"
		text, err := token.SignedString(key.Private)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, c := range []struct {
		configured []string
		accepted   jwt.SigningMethod
		refused    jwt.SigningMethod
	}{
		{nil, jwt.SigningMethodRS256, jwt.SigningMethodPS256},
		{[]string{"PS256", "ES256"}, jwt.SigningMethodPS256, jwt.SigningMethodRS256},
		{[]string{"PS256", "RS256"}, jwt.SigningMethodRS256, jwt.SigningMethodPS256},
		{[]string{"RS512"}, jwt.SigningMethodRS512, jwt.SigningMethodRS256},
	} {
		ks := NewKeyStore(KeyStoreOptions{})
		v := compile(t, conf.Auth{Issuers: []conf.Issuer{{Issuer: "https://i/", Audience: "a", JWKSURL: server, Algorithms: c.configured}}}, ks, nil)
		run(t, ks)
		ks.Use(v.KeySets()...)
		await(t, ks)
		if _, err := v.Verify(sign(c.accepted), time.Now()); err != nil {
			t.Errorf("%v: %s is refused: %v", c.configured, c.accepted.Alg(), err)
		}
		refused(t, v, sign(c.refused), time.Now(), ReasonAlgorithm)
	}
}

// Invariant 1.
func TestKeysThatATokenBringsAlong_AreNotLookedAt(t *testing.T) {
	w := newWorld(t, KeyStoreOptions{}, nil)
	var asked atomic.Int32
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked.Add(1) }))
	defer evil.Close()

	attacker := issuertest.New(t, issuer.Options{URL: w.issuer.URL(), Generate: issuer.Generate})
	public := attacker.Keys()[0].Private.Public().(*rsa.PublicKey)
	brought := map[string]any{
		"jwk": rsaJWK(public, nil), "jku": evil.URL + "/jwks.json", "x5u": evil.URL + "/chain.pem", "x5c": []string{"AAAA"},
	}
	// Under its own kid the key is unknown, under ours the signature is wrong.
	refused(t, w.Verifier, issuertest.Token(t, attacker, issuer.Claims{Header: brought}), time.Now(), ReasonUnknownKey)
	brought["kid"] = w.issuer.Keys()[0].ID
	refused(t, w.Verifier, issuertest.Token(t, attacker, issuer.Claims{Header: brought}), time.Now(), ReasonBadSignature)
	if n := asked.Load(); n != 0 {
		t.Errorf("the attacker's server was asked %d times", n)
	}
	// Beside a good signature they do no harm.
	w.accept(t, w.token(t, issuer.Claims{Header: map[string]any{"jku": evil.URL, "jwk": rsaJWK(public, nil)}}))
}

func TestLeeway_IsAllowedAndNotMore(t *testing.T) {
	w := newWorld(t, KeyStoreOptions{}, func(c *conf.Issuer) { c.Leeway = conf.Duration(10 * time.Second) })
	now := time.Now().Truncate(time.Second)
	at := func(name string, d time.Duration) string {
		return w.token(t, issuer.Claims{Extra: map[string]any{name: now.Add(d).Unix()}})
	}
	for _, token := range []string{at("exp", -9*time.Second), at("nbf", 10*time.Second), at("iat", 10*time.Second)} {
		if _, err := w.Verify(token, now); err != nil {
			t.Errorf("within the leeway: %v", err)
		}
	}
	refused(t, w.Verifier, at("exp", -10*time.Second), now, ReasonExpired)
	refused(t, w.Verifier, at("nbf", 11*time.Second), now, ReasonNotYetValid)
	refused(t, w.Verifier, at("iat", 11*time.Second), now, ReasonNotYetValid)
}

func TestTypes_OfAccessTokensAreAccepted(t *testing.T) {
	w := newWorld(t, KeyStoreOptions{}, nil)
	for _, typ := range []any{"JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT", nil} {
		w.accept(t, w.token(t, issuer.Claims{Header: map[string]any{"typ": typ}}))
	}
	w.accept(t, w.token(t, issuer.Claims{Extra: map[string]any{"aud": w.issuer.Audience()}})) // text, not a list
}

// Invariant 1.
func TestSeveralIssuers_VouchOnlyForThemselves(t *testing.T) {
	a, b := issuertest.Start(t, issuer.Options{}), issuertest.Start(t, issuer.Options{Generate: issuer.Generate})
	ks := NewKeyStore(KeyStoreOptions{})
	v := compile(t, conf.Auth{Issuers: []conf.Issuer{
		{Issuer: a.URL(), Audience: "api-1", TenantClaim: "org_id"},
		{Issuer: a.URL(), Audience: "api-2", TenantClaim: "tenant"},
		{Issuer: b.URL(), Audience: "api-1"},
	}}, ks, nil)
	run(t, ks)
	ks.Use(v.KeySets()...)
	await(t, ks)
	tenant := func(i *issuer.Issuer, audience string) string {
		token := issuertest.Token(t, i, issuer.Claims{Tenant: "one", Audience: []string{audience}, Extra: map[string]any{"tenant": "two"}})
		id, err := v.Verify(token, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return id.Issuer + " " + id.Tenant
	}
	for _, c := range []struct{ got, want string }{
		{tenant(a, "api-1"), a.URL() + " one"},
		{tenant(a, "api-2"), a.URL() + " two"}, // the settings of that audience
		{tenant(b, "api-1"), b.URL() + " one"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
	refused(t, v, issuertest.Token(t, b, issuer.Claims{Audience: []string{"api-2"}}), time.Now(), ReasonWrongAudience)
	// b signs in a's name, under its own key id and under a's.
	forged := issuer.Claims{Audience: []string{"api-1"}, Extra: map[string]any{"iss": a.URL()}}
	refused(t, v, issuertest.Token(t, b, forged), time.Now(), ReasonUnknownKey)
	forged.Header = map[string]any{"kid": a.Keys()[0].ID}
	refused(t, v, issuertest.Token(t, b, forged), time.Now(), ReasonBadSignature)
}

func TestClaims_AreFoundByNameThenByPath(t *testing.T) {
	claims := map[string]any{
		"a.b":                      "literal",
		"a":                        map[string]any{"b": "path", "c": map[string]any{"d": "deep"}},
		"https://acme.example/org": "namespaced",
		"https://acme.example/app": map[string]any{"org": map[string]any{"id": "inside"}},
		"null":                     nil,
	}
	for name, want := range map[string]any{
		"a.b": "literal", "a.c.d": "deep",
		"https://acme.example/org": "namespaced", "https://acme.example/app.org.id": "inside",
		"null": nil, "x": nil, "a.x": nil, "a.b.c": nil, ".": nil, "a.": nil, ".a": nil, "a..b": nil,
	} {
		got, found := lookupClaim(claims, name)
		if found != (want != nil) || found && got != want {
			t.Errorf("lookupClaim(%q) = %v, %v; want %v", name, got, found, want)
		}
	}
}

func TestConfiguredClaims_GiveTenantTierAndPermissions(t *testing.T) {
	w := newWorld(t, KeyStoreOptions{}, func(c *conf.Issuer) {
		c.TenantClaim, c.TierClaim, c.PermissionsClaim = "app.tenant.id", "https://acme.example/tier", "scope"
	})
	id := w.accept(t, w.token(t, issuer.Claims{Tenant: "not-this", Extra: map[string]any{
		"app":                       map[string]any{"tenant": map[string]any{"id": "acme"}},
		"https://acme.example/tier": "enterprise",
		"scope":                     "openid  items:read",
		"permissions":               []string{"platform:admin"},
	}}))
	if id.Tenant != "acme" || id.Tier != "enterprise" {
		t.Errorf("tenant %q, tier %q; want acme, enterprise", id.Tenant, id.Tier)
	}
	if diff := cmp.Diff([]string{"openid", "items:read"}, id.Permissions); diff != "" || id.SuperAdmin {
		t.Errorf("permissions (-want +got):\n%s super admin: %v", diff, id.SuperAdmin)
	}
}

func TestCompile_JoinsEveryFault(t *testing.T) {
	_, err := Compile(conf.Auth{
		CacheTokens:  -1,
		TenantHeader: conf.TenantHeader{Trust: "always"},
		Issuers: []conf.Issuer{
			{},
			{Issuer: "https://i/", Audience: "a", JWKSURL: "ftp://i/", Algorithms: []string{"HS256"}, Leeway: conf.Duration(time.Hour)},
			{Issuer: "https://j/", Audience: "a", JWKSURL: "file://host/keys"},
			{Issuer: "https://j/", Audience: "a", Algorithms: []string{"none"}},
		},
	}, NewKeyStore(KeyStoreOptions{}), Options{})
	if err == nil {
		t.Fatal("compiled")
	}
	for _, want := range []string{
		"auth.cache_tokens:", "auth.tenant_header.trust:", "auth.issuers[0].issuer:", "auth.issuers[0].audience:",
		"auth.issuers[1].jwks_url:", `auth.issuers[1].algorithms: "HS256"`, "auth.issuers[1].leeway:",
		"auth.issuers[2].jwks_url:", "auth.issuers[3].issuer:", `auth.issuers[3].algorithms: "none"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

func TestTheKeySetOfAnIssuer_IsAtItsWellKnownPlace(t *testing.T) {
	ks := NewKeyStore(KeyStoreOptions{})
	v := compile(t, conf.Auth{Issuers: []conf.Issuer{
		{Issuer: "https://acme.eu.auth0.com/", Audience: "a"},
		{Issuer: "https://acme.eu.auth0.com/", Audience: "b"},
		{Issuer: "https://other.example", Audience: "a"},
		{Issuer: "c", Audience: "a", JWKSURL: "file:///etc/keys.json"},
	}}, ks, nil)
	want := []string{"https://acme.eu.auth0.com/.well-known/jwks.json", "https://other.example/.well-known/jwks.json", "file:///etc/keys.json"}
	if diff := cmp.Diff(want, v.KeySets()); diff != "" {
		t.Errorf("key sets (-want +got):\n%s", diff)
	}
	if len(ks.Stats()) != 0 {
		t.Error("Compile changed the key store")
	}
}

// A verifier must not be fooled, whatever it is given: only the tokens that the
// issuer signed are accepted.
func FuzzVerify(f *testing.F) {
	i := issuertest.New(f, issuer.Options{})
	ks := NewKeyStore(KeyStoreOptions{Client: inProcess(i)})
	v := compile(f, conf.Auth{Issuers: []conf.Issuer{{Issuer: i.URL(), Audience: i.Audience()}}}, ks, nil)
	run(f, ks)
	ks.Use(v.KeySets()...)
	await(f, ks)
	genuine := map[string]bool{}
	for _, algorithm := range []string{issuer.RS256, issuer.ES256, issuer.EdDSA} {
		token := issuertest.Token(f, i, issuer.Claims{Tenant: "acme", Algorithm: algorithm, TTL: 24 * time.Hour})
		genuine[token] = true
		f.Add(token)
		parts := strings.Split(token, ".")
		f.Add(parts[0] + "." + parts[1] + ".")
		f.Add(parts[0] + ".e30." + parts[2])
		f.Add("e30." + parts[1] + "." + parts[2])
	}
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("...")
	f.Fuzz(func(t *testing.T, token string) {
		id, err := v.Verify(token, time.Now())
		if (err == nil) != genuine[token] || (err == nil) != (id != nil) {
			t.Errorf("Verify(%q) = %+v, %v", token, id, err)
		}
		if err != nil {
			if e, ok := err.(*Error); !ok || e.Reason == "" || e.Code == "" || e.Description == "" {
				t.Errorf("Verify(%q) fails with %#v", token, err)
			}
		}
	})
}

// Invariant 7: a canary in every part of a token shows up nowhere in public.
func TestErrors_TellNothingOfTheToken(t *testing.T) {
	w := newWorld(t, KeyStoreOptions{}, nil)
	const canary = "CaNaRy"
	var tokens []string
	for _, name := range []string{"iss", "aud", "sub", "org_id", issuer.TierClaim, "permissions", "exp", "nbf"} {
		tokens = append(tokens, w.token(t, issuer.Claims{Extra: map[string]any{name: canary + "\n\""}}))
	}
	for _, name := range []string{"alg", "kid", "typ", "crit"} {
		tokens = append(tokens, w.token(t, issuer.Claims{Header: map[string]any{name: canary}}))
	}
	for _, token := range append(tokens, canary, canary+"."+canary+"."+canary, canary+`"`) {
		_, err := w.Verify(token, time.Now())
		e, ok := err.(*Error)
		if !ok {
			t.Fatalf("Verify: %v, want an *Error", err)
		}
		if public := e.Code + e.Description + e.Reason + Challenge(e); strings.Contains(public, canary) {
			t.Errorf("public: %s", public)
		}
	}
}

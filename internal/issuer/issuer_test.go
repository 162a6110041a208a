package issuer_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"sluice/internal/issuer"
	"sluice/internal/issuer/issuertest"
)

// tokenOf asks the token endpoint.
func tokenOf(t *testing.T, i *issuer.Issuer, query string) (token string, expiresIn int) {
	t.Helper()
	status, body := ask(t, http.MethodPost, i.URL()+"token?"+query, nil)
	var answer struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != 200 || answer.TokenType != "Bearer" {
		t.Fatalf("POST /token?%s answers %d %s", query, status, body)
	}
	return answer.AccessToken, answer.ExpiresIn
}

func ask(t *testing.T, method, address string, form url.Values) (status int, body string) {
	t.Helper()
	request, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// verify checks a token with the issuer's keys and returns its claims.
func verify(t *testing.T, i *issuer.Issuer, token string) jwt.MapClaims {
	t.Helper()
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(token, claims, func(token *jwt.Token) (any, error) {
		for _, key := range i.Keys() {
			if key.ID == token.Header["kid"] && key.Algorithm == token.Method.Alg() {
				return key.Private.Public(), nil
			}
		}
		return nil, errors.New("no such key")
	}, jwt.WithoutClaimsValidation())
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestTheTokenEndpoint_SignsWhatIsAskedFor(t *testing.T) {
	i := issuertest.Start(t, issuer.Options{})
	token, seconds := tokenOf(t, i, "tenant=org_acme&tier=premium&permissions=items:read,items:write&ttl=60s&subject=s&alg=ES256")
	if seconds != 60 {
		t.Errorf("expires_in %d, want 60", seconds)
	}
	claims := verify(t, i, token)
	issued, expires := claims["iat"].(float64), claims["exp"].(float64)
	if age := time.Since(time.Unix(int64(issued), 0)); age < 0 || age > time.Minute || expires-issued != 60 {
		t.Errorf("issued %v ago for %v s, want now and 60", age, expires-issued)
	}
	delete(claims, "iat")
	delete(claims, "exp")
	want := jwt.MapClaims{
		"iss": i.URL(), "sub": "s", "azp": "sluice-demo", "org_id": "org_acme", issuer.TierClaim: "premium",
		"aud":         []any{issuer.DefaultAudience, i.URL() + "userinfo"},
		"permissions": []any{"items:read", "items:write"},
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if !strings.HasSuffix(i.URL(), "/") {
		t.Errorf("iss %q has no closing slash", i.URL())
	}

	token, seconds = tokenOf(t, i, "permissions=a+b&audience=https://x.example")
	claims = verify(t, i, token)
	if _, tenant := claims["org_id"]; tenant || seconds != 3600 || claims["aud"].([]any)[0] != "https://x.example" || len(claims["permissions"].([]any)) != 2 {
		t.Errorf("claims %v, expires_in %d", claims, seconds)
	}
}

func TestTheTokenEndpoint_TakesAFormAndRefusesNonsense(t *testing.T) {
	i := issuertest.Start(t, issuer.Options{})
	for _, path := range []string{"token", "oauth/token"} {
		if status, body := ask(t, http.MethodPost, i.URL()+path, url.Values{"tenant": {"acme"}}); status != 200 {
			t.Errorf("POST /%s answers %d %s", path, status, body)
		}
	}
	for _, query := range []string{"ttl=soon", "ttl=0s", "alg=none", "alg=HS256", "tenant=%zz"} {
		status, body := ask(t, http.MethodPost, i.URL()+"token?"+query, nil)
		if status != 400 || !strings.Contains(body, "invalid_request") {
			t.Errorf("%s answers %d %s", query, status, body)
		}
	}
	if status, _ := ask(t, http.MethodGet, i.URL()+"token", nil); status != 405 {
		t.Errorf("GET /token answers %d, want 405", status)
	}
	if status, _ := ask(t, http.MethodGet, i.URL()+"x", nil); status != 404 {
		t.Errorf("GET /x answers %d, want 404", status)
	}
}

func TestDiscovery_LeadsToTheKeys(t *testing.T) {
	i := issuertest.Start(t, issuer.Options{})
	_, body := ask(t, http.MethodGet, i.URL()+".well-known/openid-configuration", nil)
	var document struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
		Token   string `json:"token_endpoint"`
	}
	if err := json.Unmarshal([]byte(body), &document); err != nil || document.Issuer != i.URL() || document.Token != i.URL()+"token" {
		t.Fatalf("discovery: %v, %s", err, body)
	}
	status, keys := ask(t, http.MethodGet, document.JWKSURI, nil)
	if status != 200 || keys != string(i.JWKS()) || strings.Contains(keys, `"d"`) {
		t.Errorf("%s answers %d %s", document.JWKSURI, status, keys)
	}
	if got, want := i.Requests(), (issuer.Requests{JWKS: 1, Discovery: 1}); got != want {
		t.Errorf("requests %+v, want %+v", got, want)
	}
}

func listed(t *testing.T, i *issuer.Issuer) (ids []string) {
	t.Helper()
	var set struct {
		Keys []struct {
			ID string `json:"kid"`
		}
	}
	if err := json.Unmarshal(i.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	for _, key := range set.Keys {
		ids = append(ids, key.ID)
	}
	return ids
}

func TestRotation_ListsFormerKeysUntilTheyAreRetired(t *testing.T) {
	i := issuertest.New(t, issuer.Options{})
	before := listed(t, i)
	if err := i.Rotate(); err != nil {
		t.Fatal(err)
	}
	after := listed(t, i)
	if len(before) != 3 || len(after) != 6 || cmp.Diff(before, after[3:]) != "" {
		t.Errorf("listed %v before and %v after", before, after)
	}
	for _, key := range i.Keys() {
		if slices.Contains(before, key.ID) {
			t.Errorf("%s key %s signs before and after the rotation", key.Algorithm, key.ID)
		}
	}
	verify(t, i, issuertest.Token(t, i, issuer.Claims{}))
	i.Retire()
	if diff := cmp.Diff(after[:3], listed(t, i)); diff != "" {
		t.Errorf("listed after Retire (-want +got):\n%s", diff)
	}
}

func TestSwitches_MakeTheIssuerFailOrWait(t *testing.T) {
	i := issuertest.Start(t, issuer.Options{})
	i.SetDown(true)
	if status, _ := ask(t, http.MethodGet, i.JWKSURL(), nil); status != 503 {
		t.Errorf("down: %d, want 503", status)
	}
	i.SetDown(false)
	i.SetDelay(time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, i.JWKSURL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := http.DefaultClient.Do(request); err == nil {
		response.Body.Close()
		t.Errorf("slow: %d at once", response.StatusCode)
	}
	i.SetDelay(0)
	if status, _ := ask(t, http.MethodGet, i.JWKSURL(), nil); status != 200 {
		t.Errorf("up again: %d, want 200", status)
	}
	if n := i.Requests().JWKS; n != 3 {
		t.Errorf("%d requests counted, want 3", n)
	}
}

func TestAKeyID_IsTheThumbprint(t *testing.T) {
	// The example of RFC 8037 §A.1 and §A.3.
	seed, err := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	if err != nil {
		t.Fatal(err)
	}
	key, err := issuer.NewKey(ed25519.NewKeyFromSeed(seed))
	if want := "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"; err != nil || key.ID != want {
		t.Errorf("kid %s, %v; want %s", key.ID, err, want)
	}
	i := issuertest.New(t, issuer.Options{})
	for _, key := range i.Keys() {
		again, err := issuer.NewKey(key.Private)
		if err != nil || again.ID != key.ID || len(key.ID) != 43 {
			t.Errorf("%s: kid %q, again %q, %v", key.Algorithm, key.ID, again.ID, err)
		}
	}
	if _, err := issuer.NewKey(oddKey{}); err == nil {
		t.Error("a key of no known type is accepted")
	}
	if _, err := issuer.Generate("HS256"); err == nil {
		t.Error("a MAC key is made")
	}
}

type oddKey struct{ crypto.Signer }

func (oddKey) Public() crypto.PublicKey { return "odd" }

func TestExtraClaimsAndHeaders_OverrideAndRemove(t *testing.T) {
	i := issuertest.New(t, issuer.Options{})
	token := issuertest.Token(t, i, issuer.Claims{
		Tenant: "acme", Extra: map[string]any{"org_id": nil, "n": 1}, Header: map[string]any{"typ": nil, "cty": "x"},
	})
	parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintln(parsed.Header["typ"], parsed.Header["cty"], parsed.Claims.(jwt.MapClaims)["org_id"], parsed.Claims.(jwt.MapClaims)["n"]); got != "<nil> x <nil> 1\n" {
		t.Errorf("header and claims: %s", got)
	}
}

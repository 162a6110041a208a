package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/conf"
	"sluice/internal/issuer"
	"sluice/internal/issuer/issuertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an issuer on loopback, a running key store that uses its keys, and a
// verifier.
type world struct {
	*Verifier
	issuer *issuer.Issuer
	store  *KeyStore
	conf   conf.Auth
}

// newWorld starts one. shape, which may be nil, changes the configured issuer.
func newWorld(t testing.TB, o KeyStoreOptions, shape func(*conf.Issuer)) *world {
	t.Helper()
	w := &world{issuer: issuertest.Start(t, issuer.Options{})}
	c := conf.Issuer{Issuer: w.issuer.URL(), Audience: w.issuer.Audience(), TierClaim: issuer.TierClaim}
	if shape != nil {
		shape(&c)
	}
	w.conf = conf.Auth{Issuers: []conf.Issuer{c}, SuperAdminPermission: "platform:admin"}
	w.store = NewKeyStore(o)
	w.Verifier = compile(t, w.conf, w.store, nil)
	run(t, w.store)
	w.store.Use(w.KeySets()...)
	await(t, w.store)
	return w
}

func compile(t testing.TB, a conf.Auth, ks *KeyStore, prev *Verifier) *Verifier {
	t.Helper()
	v, err := Compile(a, ks, Options{Previous: prev})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// run runs the store until the test ends.
func run(t testing.TB, ks *KeyStore) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- ks.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func await(t testing.TB, ks *KeyStore) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := ks.AwaitKeys(ctx); err != nil {
		t.Fatal(err)
	}
}

func (w *world) token(t testing.TB, c issuer.Claims) string {
	t.Helper()
	return issuertest.Token(t, w.issuer, c)
}

// accept verifies a token that must be good.
func (w *world) accept(t testing.TB, token string) *Identity {
	t.Helper()
	id, err := w.Verify(token, time.Now())
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	return id
}

// refused verifies a token that must be refused for a reason.
func refused(t testing.TB, v *Verifier, token string, now time.Time, reason string) *Error {
	t.Helper()
	id, err := v.Verify(token, now)
	if id != nil || Reason(err) != reason {
		t.Errorf("Verify gives %+v, %v; want reason %s", id, err, reason)
		return &Error{}
	}
	return err.(*Error)
}

// clock is a clock that is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// inProcess is a client whose requests a handler answers without a network, for
// tests with synthetic time.
func inProcess(h http.Handler) *http.Client {
	return &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		recorder := httptest.NewRecorder()
		h.ServeHTTP(recorder, r)
		return recorder.Result(), nil
	})}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// raw joins a token of any header and claims with a signature.
func raw(t testing.TB, header, claims any, signature []byte) string {
	t.Helper()
	return segment(t, header) + "." + segment(t, claims) + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func segment(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// claimsOf decodes the claims of a token.
func claimsOf(t testing.TB, token string) map[string]any {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

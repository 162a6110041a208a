//go:build integration

package test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"sluice/internal/issuer"
	"sluice/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const audience = "https://api.acme.example"

// newIssuer runs an issuer on loopback for the length of the test.
func newIssuer(t *testing.T) *issuer.Issuer {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	url := "http://" + s.Listener.Addr().String() + "/"
	i, err := issuer.New(issuer.Options{URL: url, Audience: audience, Keys: signingKeys(t)})
	if err != nil {
		t.Fatal(err)
	}
	s.Config.Handler = i
	s.Start()
	t.Cleanup(s.Close)
	return i
}

// signingKeys are made once: an RSA key takes a while.
func signingKeys(t *testing.T) []issuer.Key {
	t.Helper()
	keys, err := makeKeys()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

var makeKeys = sync.OnceValues(func() ([]issuer.Key, error) {
	var keys []issuer.Key
	for _, algorithm := range []string{issuer.RS256, issuer.ES256, issuer.EdDSA} {
		signer, err := issuer.Generate(algorithm)
		if err != nil {
			return nil, err
		}
		key, err := issuer.NewKey(signer)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
})

// token signs a token.
func token(t *testing.T, i *issuer.Issuer, c issuer.Claims) string {
	t.Helper()
	text, err := i.Token(c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// exampleConfig is examples/fastapi/sluice.yaml as it stands, with the issuer
// of the test in place of the one that the example makes.
func exampleConfig(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testkit.Root(t), "examples/fastapi/sluice.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// problemOf decodes a problem+json answer.
func problemOf(r *testkit.Response) (p struct {
	Type, Title, Detail string
	Status              int
	RequestID           string `json:"request_id"`
	Limit               int64
	RetryAfter          int64 `json:"retry_after"`
}, err error) {
	if ct := r.Header.Get("Content-Type"); ct != "application/problem+json" {
		return p, fmt.Errorf("content type %q", ct)
	}
	err = json.Unmarshal(r.Body, &p)
	return p, err
}

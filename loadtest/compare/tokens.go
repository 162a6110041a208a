package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/issuer"
)

// How many tokens are in turn.
const (
	tenants     = 100
	knownTokens = 1000 // of all tenants together: as many callers, each seen before

	// A token that is really new each time cannot be had: signing one costs
	// more than a proxy takes to verify it. Instead distinctTokens take turns
	// before a gateway that remembers cacheTokens of them, so that each has been
	// forgotten when it comes again.
	distinctTokens = 4096
	cacheTokens    = 256
)

// credentials are the tokens of a run and what verifies them.
type credentials struct {
	issuer, audience string
	jwks, publicKey  string // files
	known, distinct  []string
	refused          map[string]string // tokens that must be refused, by what is wrong with them
}

// newCredentials makes an RSA key, signs tokens and keeps the public half in dir.
func newCredentials(dir string) (*credentials, error) {
	private, err := issuer.Generate(issuer.RS256)
	if err != nil {
		return nil, err
	}
	key, err := issuer.NewKey(private)
	if err != nil {
		return nil, err
	}
	from, err := issuer.New(issuer.Options{Keys: []issuer.Key{key}})
	if err != nil {
		return nil, err
	}
	c := &credentials{
		issuer: from.URL(), audience: from.Audience(),
		jwks: filepath.Join(dir, "jwks.json"), publicKey: filepath.Join(dir, "issuer.pem"),
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(c.publicKey, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(c.jwks, from.JWKS(), 0o644); err != nil {
		return nil, err
	}
	c.distinct = make([]string, distinctTokens)
	signers := new(errgroup.Group)
	signers.SetLimit(runtime.NumCPU())
	for i := range c.distinct {
		signers.Go(func() (err error) {
			c.distinct[i], err = from.Token(claims(i))
			return err
		})
	}
	if err := signers.Wait(); err != nil {
		return nil, err
	}
	c.known = c.distinct[:knownTokens]
	return c, c.spoil(from)
}

func claims(i int) issuer.Claims {
	return issuer.Claims{
		Tenant: fmt.Sprintf("org_%04d", i%tenants), Subject: fmt.Sprintf("auth0|user-%06d", i),
		Permissions: []string{"read:items", "write:items"}, TTL: 12 * time.Hour,
	}
}

// spoil makes the tokens that must be refused.
func (c *credentials) spoil(from *issuer.Issuer) error {
	expired, other := claims(0), claims(0)
	expired.TTL = -time.Hour
	other.Audience = []string{"https://elsewhere.example"}
	c.refused = map[string]string{}
	for what, with := range map[string]issuer.Claims{"expired": expired, "for another audience": other} {
		token, err := from.Token(with)
		if err != nil {
			return err
		}
		c.refused[what] = token
	}
	// One bit in the middle of the signature: still base64, still the right length.
	forged := []byte(c.known[0])
	at := len(forged) - 100
	if forged[at] == 'A' {
		forged[at] = 'B'
	} else {
		forged[at] = 'A'
	}
	c.refused[forgedToken] = string(forged)
	return nil
}

// forgedToken is the key in credentials.refused of the token with a wrong signature.
const forgedToken = "forged"

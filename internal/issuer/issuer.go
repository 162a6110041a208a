package issuer

import (
	"crypto"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Defaults of [Options] and [Claims].
const (
	DefaultURL      = "https://issuer.sluice.example/"
	DefaultAudience = "https://api.acme.example"
	DefaultTTL      = time.Hour

	// TierClaim is the namespaced claim that carries the tier.
	TierClaim = "https://sluice.example/tier"
)

// Options shape an [Issuer]. The zero value is usable.
type Options struct {
	// URL is the address under which the issuer is reached and, with the closing
	// slash that is added when missing, the iss claim of its tokens.
	// Default: [DefaultURL].
	URL string

	// Audience is the first entry of the aud claim. Default: [DefaultAudience].
	Audience string

	// Keys sign; the first of an algorithm is the one used for it. Default: one
	// new key for each of RS256, ES256 and EdDSA.
	Keys []Key

	// Generate makes the private keys that Keys does not give and those of
	// Rotate. Default: [Generate].
	Generate func(algorithm string) (crypto.Signer, error)

	// MaxAge is how long the key set may be cached, sent as Cache-Control.
	// Default: 15s, as Auth0 sends. Negative: no such header.
	MaxAge time.Duration

	// Now is the clock of iat and exp. Default: time.Now.
	Now func() time.Time
}

// Issuer signs tokens and publishes its keys; it is an http.Handler.
type Issuer struct {
	opts Options

	jwks, discovery, tokens atomic.Int64 // requests answered, also with an error
	down                    atomic.Bool
	delay                   atomic.Int64 // nanoseconds

	mu     sync.RWMutex // guards the two below
	keys   []Key        // signing now
	former []Key        // listed still, signing no more
}

// New makes an issuer. It listens nowhere: give it to an http.Server.
func New(o Options) (*Issuer, error) {
	if o.URL == "" {
		o.URL = DefaultURL
	}
	if !strings.HasSuffix(o.URL, "/") {
		o.URL += "/"
	}
	if o.Audience == "" {
		o.Audience = DefaultAudience
	}
	if o.Generate == nil {
		o.Generate = Generate
	}
	if o.MaxAge == 0 {
		o.MaxAge = 15 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	i := &Issuer{opts: o, keys: slices.Clone(o.Keys)}
	if len(i.keys) == 0 {
		for _, algorithm := range []string{RS256, ES256, EdDSA} {
			key, err := i.generate(algorithm)
			if err != nil {
				return nil, err
			}
			i.keys = append(i.keys, key)
		}
	}
	return i, nil
}

func (i *Issuer) generate(algorithm string) (Key, error) {
	private, err := i.opts.Generate(algorithm)
	if err != nil {
		return Key{}, fmt.Errorf("issuer: make %s key: %w", algorithm, err)
	}
	return NewKey(private)
}

// URL is the iss claim of the tokens; it ends in a slash.
func (i *Issuer) URL() string { return i.opts.URL }

// Audience is the first entry of the aud claim of the tokens.
func (i *Issuer) Audience() string { return i.opts.Audience }

// JWKSURL is where the key set is.
func (i *Issuer) JWKSURL() string { return i.opts.URL + ".well-known/jwks.json" }

// Keys returns the keys that sign now.
func (i *Issuer) Keys() []Key {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return slices.Clone(i.keys)
}

// Rotate replaces every signing key by a new one of the same algorithm. The
// former keys stay listed until Retire, as Auth0 lists the previous key.
func (i *Issuer) Rotate() error {
	i.mu.RLock()
	current := i.keys
	i.mu.RUnlock()
	next := make([]Key, 0, len(current))
	for _, key := range current {
		made, err := i.generate(key.Algorithm)
		if err != nil {
			return err
		}
		next = append(next, made)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.former = append(i.keys, i.former...)
	i.keys = next
	return nil
}

// Retire delists every key that does not sign any more.
func (i *Issuer) Retire() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.former = nil
}

// JWKS is the key set as it is published now.
func (i *Issuer) JWKS() []byte {
	i.mu.RLock()
	defer i.mu.RUnlock()
	set := struct {
		Keys []jwk `json:"keys"`
	}{}
	for _, key := range i.keys {
		set.Keys = append(set.Keys, key.jwk)
	}
	for _, key := range i.former {
		set.Keys = append(set.Keys, key.jwk)
	}
	text, err := json.Marshal(set)
	if err != nil {
		panic("BUG: strings do not marshal: " + err.Error())
	}
	return text
}

// Claims say what a token states. The zero value gives a token without tenant.
type Claims struct {
	Tenant      string        // org_id; empty: absent
	Tier        string        // [TierClaim]; empty: absent
	Subject     string        // sub. Default: auth0|demo
	Permissions []string      // permissions; empty: an empty list
	Audience    []string      // aud. Default: the issuer's audience and its userinfo endpoint
	TTL         time.Duration // exp − iat; negative: expired already. Default: [DefaultTTL]
	Algorithm   string        // Default: that of the first key

	// Extra and Header are set last, over the claims and the header parameters;
	// a nil value takes one away. They make the tokens that must be refused.
	Extra  map[string]any
	Header map[string]any
}

// Token signs a token. The error says which algorithm has no key.
func (i *Issuer) Token(c Claims) (string, error) {
	key, err := i.signingKey(c.Algorithm)
	if err != nil {
		return "", err
	}
	now := i.opts.Now()
	claims := jwt.MapClaims{
		"iss":         i.opts.URL,
		"sub":         c.Subject,
		"aud":         c.Audience,
		"azp":         "sluice-demo",
		"iat":         now.Unix(),
		"exp":         now.Add(c.ttl()).Unix(),
		"permissions": append([]string{}, c.Permissions...),
	}
	if c.Subject == "" {
		claims["sub"] = "auth0|demo"
	}
	if len(c.Audience) == 0 {
		claims["aud"] = []string{i.opts.Audience, i.opts.URL + "userinfo"}
	}
	if c.Tenant != "" {
		claims["org_id"] = c.Tenant
	}
	if c.Tier != "" {
		claims[TierClaim] = c.Tier
	}
	overlay(claims, c.Extra)

	token := jwt.NewWithClaims(jwt.GetSigningMethod(key.Algorithm), claims)
	token.Header["kid"] = key.ID
	overlay(token.Header, c.Header)
	signed, err := token.SignedString(key.Private)
	if err != nil {
		return "", fmt.Errorf("issuer: sign: %w", err)
	}
	return signed, nil
}

func (i *Issuer) signingKey(algorithm string) (Key, error) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	for _, key := range i.keys {
		if algorithm == "" || key.Algorithm == algorithm {
			return key, nil
		}
	}
	return Key{}, fmt.Errorf("issuer: no key signs with %q", algorithm)
}

func (c Claims) ttl() time.Duration {
	if c.TTL == 0 {
		return DefaultTTL
	}
	return c.TTL
}

func overlay(onto, over map[string]any) {
	for name, value := range over {
		if value == nil {
			delete(onto, name)
		} else {
			onto[name] = value
		}
	}
}

package auth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"sluice/conf"
)

// MaxToken is the longest token that is looked at, in bytes.
const MaxToken = 16 << 10

// KeyStore holds the key sets of issuers, one for each JWKS URL, for as long as
// the process lives.
type KeyStore struct{}

// KeyStoreOptions shape a [KeyStore]; the zero value is safe.
type KeyStoreOptions struct {
	Client   *http.Client     // fetches key sets. Default: one of its own, without kept-alive connections
	Logger   *slog.Logger     // Default: silence
	Now      func() time.Time // clock of ages and cool-downs. Default: time.Now
	Cooldown time.Duration    // least time between two fetches that unknown key ids ask for. Default: 60s
	Wait     time.Duration    // longest time that a request waits for a fetch. Default: 2s
}

// NewKeyStore makes a key store; Run starts it.
func NewKeyStore(KeyStoreOptions) *KeyStore { return &KeyStore{} }

// Run fetches and refreshes key sets until ctx ends.
func (*KeyStore) Run(context.Context) error { return errStub }

// Use says which key sets are in use from now on: see [Verifier.KeySets].
func (*KeyStore) Use(urls ...string) {}

// AwaitKeys returns when every key set in use has keys, or with ctx's error.
func (*KeyStore) AwaitKeys(ctx context.Context) error { return errStub }

// Options of [Compile].
type Options struct {
	// Previous is the verifier that this one is to replace. With the same
	// settings its remembered tokens are kept, otherwise its counters alone.
	Previous *Verifier
}

// Verifier verifies tokens by one configuration.
type Verifier struct{}

// Compile makes the verifier of a configuration. It starts nothing.
func Compile(conf.Auth, *KeyStore, Options) (*Verifier, error) { return nil, errStub }

// KeySets are the JWKS URLs of the verifier's issuers, for [KeyStore.Use].
func (*Verifier) KeySets() []string { return nil }

// Verify returns the identity that a token proves, or an *Error.
func (*Verifier) Verify(token string, now time.Time) (*Identity, error) { return nil, errStub }

// ResolveTenant settles the tenant of a request whose header may name one.
func (*Verifier) ResolveTenant(id *Identity, h http.Header, trusted bool) (*Identity, error) {
	return id, nil
}

// Flush forgets every remembered token.
func (*Verifier) Flush() {}

var errStub = errors.New("auth: under construction")

// Package issuertest serves an [issuer.Issuer] on loopback for one test.
//
// Keys are drawn from a pool that lives as long as the test process, so that
// many tests pay for few RSA keys; within one issuer no key is drawn twice, so a
// rotation is a real one.
package issuertest

import (
	"crypto"
	"net/http/httptest"
	"sync"
	"testing"

	"sluice/internal/issuer"
)

// Start serves an issuer on 127.0.0.1, port of the system's choice, until the
// test ends. o.URL is set to that address; o.Keys and o.Generate may be left out.
func Start(t testing.TB, o issuer.Options) *issuer.Issuer {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	o.URL = "http://" + server.Listener.Addr().String() + "/"
	i := New(t, o)
	server.Config.Handler = i
	server.Start()
	t.Cleanup(server.Close)
	return i
}

// New makes an issuer that listens nowhere, with keys from the pool.
func New(t testing.TB, o issuer.Options) *issuer.Issuer {
	t.Helper()
	if o.Generate == nil {
		o.Generate = drawer()
	}
	i, err := issuer.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// Token signs a token, or ends the test.
func Token(t testing.TB, i *issuer.Issuer, c issuer.Claims) string {
	t.Helper()
	token, err := i.Token(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

var pool struct {
	sync.Mutex
	keys map[string][]crypto.Signer // by algorithm
}

// drawer returns a generator that gives each key of the pool once.
func drawer() func(algorithm string) (crypto.Signer, error) {
	drawn := map[string]int{}
	return func(algorithm string) (crypto.Signer, error) {
		pool.Lock()
		defer pool.Unlock()
		if drawn[algorithm] == len(pool.keys[algorithm]) {
			key, err := issuer.Generate(algorithm)
			if err != nil {
				return nil, err
			}
			if pool.keys == nil {
				pool.keys = map[string][]crypto.Signer{}
			}
			pool.keys[algorithm] = append(pool.keys[algorithm], key)
		}
		key := pool.keys[algorithm][drawn[algorithm]]
		drawn[algorithm]++
		return key, nil
	}
}

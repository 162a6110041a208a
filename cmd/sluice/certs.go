package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sluice/conf"
	"sluice/telemetry"
	"sluice/tls/certs"
	"sluice/tls/policy"
)

// certStore holds the certificates of all TLS listeners, each list of files
// once, for as long as a configuration in force names it.
type certStore struct {
	log *slog.Logger

	mu      sync.Mutex // guards the fields below
	running bool
	stores  map[string]*heldCerts // by the list of files
}

type heldCerts struct {
	*certs.Store
	watch *runner // nil: not started
}

func newCertStore(log *slog.Logger) *certStore {
	return &certStore{log: log, stores: make(map[string]*heldCerts)}
}

// config returns how a listener speaks TLS. Certificates are loaded at the
// first time that their list is asked for, and watched from then on.
func (c *certStore) config(t conf.TLS) (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := certsKey(t)
	held, ok := c.stores[key]
	if !ok {
		store, err := certs.Open(t.Certificates, certs.Options{Logger: c.log})
		if err != nil {
			return nil, err
		}
		held = &heldCerts{Store: store}
		if c.running {
			held.watch = goRun(store.Run)
		}
		c.stores[key] = held
	}
	return policy.Server(t, held.GetCertificate), nil
}

func certsKey(t conf.TLS) string { return fmt.Sprintf("%q", t.Certificates) }

// retain lets go of the certificates that doc does not name.
func (c *certStore) retain(doc *conf.Document) {
	named := make(map[string]bool)
	for _, l := range doc.Listeners {
		if l.TLS != nil {
			named[certsKey(*l.TLS)] = true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, held := range c.stores {
		if named[key] {
			continue
		}
		delete(c.stores, key)
		if held.watch != nil {
			held.watch.cancel() // it ends by itself; nothing waits on it
		}
	}
}

// Run watches the files until ctx ends.
func (c *certStore) Run(ctx context.Context) error {
	c.mu.Lock()
	c.running = true
	for _, held := range c.stores {
		held.watch = goRun(held.Run)
	}
	c.mu.Unlock()

	<-ctx.Done()

	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = false
	bounded, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, held := range c.stores {
		if err := held.watch.stop(bounded); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// collect reports until when each name is served.
func (c *certStore) collect(emit telemetry.Emit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, held := range c.stores {
		held.Collect(emit)
	}
}

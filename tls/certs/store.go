package certs

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sluice/conf"
	"sluice/telemetry"
)

// Options of a Store; the zero value is safe.
type Options struct {
	// Poll is how often the files are looked at without an event. Default: 1m
	Poll time.Duration
	// Logger takes warnings about files that are not taken, and a line for each
	// that is. Default: none
	Logger *slog.Logger
}

// Store holds the certificates of a listener. It lives as long as the listener
// and survives reloads of the configuration.
type Store struct {
	poll time.Duration
	log  *slog.Logger
	set  atomic.Pointer[set]
	used chan struct{} // tells Run that there may be other directories to watch

	mu    sync.Mutex
	pairs []*pair // guarded by mu; in the order of the configuration

	afterCheck func() // called by Run after it looked at the files; for tests
}

// Open loads the certificates. It fails with everything that is wrong.
func Open(list []conf.Certificate, o Options) (*Store, error) {
	if o.Poll <= 0 {
		o.Poll = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{poll: o.Poll, log: o.Logger, used: make(chan struct{}, 1), afterCheck: func() {}}
	s.set.Store(&set{})
	if err := s.Use(list); err != nil {
		return nil, err
	}
	return s, nil
}

// Use replaces the list of files, as a reload of the configuration does. When
// one that is new cannot be loaded it fails and nothing changes. One that was
// in use before goes on being served whatever has become of its files.
func (s *Store) Use(list []conf.Certificate) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(list) == 0 {
		return errors.New("no certificates")
	}
	known := make(map[conf.Certificate]*pair, len(s.pairs))
	for _, p := range s.pairs {
		known[p.files] = p
	}
	var (
		next []*pair
		errs []error
	)
	for _, files := range list {
		p := known[files]
		if p == nil {
			var err error
			if p, err = s.openPair(files); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		next = append(next, p)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.pairs = next
	s.checkLocked()
	s.set.Store(newSet(s.pairs))
	select {
	case s.used <- struct{}{}:
	default:
	}
	return nil
}

// openPair loads a pair that nothing precedes.
func (s *Store) openPair(files conf.Certificate) (*pair, error) {
	content, err := read(files)
	if err != nil {
		return nil, err
	}
	cert, err := content.parse()
	if err != nil {
		return nil, err
	}
	if err := checkTime(files, cert, time.Now()); err != nil {
		s.log.Warn("certificate is not valid now and is served all the same, there being no other",
			telemetry.KeyError, err)
	}
	if len(cert.Leaf.DNSNames) == 0 {
		s.log.Warn("certificate names no host and is served only as the default", telemetry.KeyFile, files.Cert)
	}
	return &pair{files: files, sum: content.sum(), cert: cert}, nil
}

// Check looks at the files now instead of waiting for an event, and reports
// whether anything changed.
func (s *Store) Check() (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if changed = s.checkLocked(); changed {
		s.set.Store(newSet(s.pairs))
	}
	return changed
}

// checkLocked takes the files that changed and are good. The pairs are never
// modified in place in a way that a handshake could see: it has its own set.
func (s *Store) checkLocked() (changed bool) {
	for _, p := range s.pairs {
		content, err := read(p.files)
		if err != nil {
			s.refuse(p, err)
			continue
		}
		if content.sum() == p.sum {
			p.refused = "" // whatever was wrong has been put back
			continue
		}
		cert, err := content.parse()
		if err == nil {
			err = checkTime(p.files, cert, time.Now())
		}
		if err != nil {
			s.refuse(p, err)
			continue
		}
		p.cert, p.sum, p.refused = cert, content.sum(), ""
		changed = true
		s.log.Info("certificate reloaded", telemetry.KeyFile, p.files.Cert, telemetry.KeyNotAfter, cert.Leaf.NotAfter)
	}
	return changed
}

// refuse warns about a pair, once for each thing that is wrong with it.
func (s *Store) refuse(p *pair, err error) {
	if p.refused == err.Error() {
		return
	}
	p.refused = err.Error()
	s.log.Warn("certificate not reloaded, the one before is still served",
		telemetry.KeyError, err, telemetry.KeyFile, p.files.Cert, telemetry.KeyNotAfter, p.cert.Leaf.NotAfter)
}

// GetCertificate chooses the certificate of a handshake. It is for
// tls.Config.GetCertificate.
func (s *Store) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.set.Load().choose(hello)
}

// Expiry says until when a name is served.
type Expiry struct {
	Name     string    // host name or wildcard
	NotAfter time.Time // the earliest of the certificates for the name
}

// NotAfter returns when the certificates expire, by name.
func (s *Store) NotAfter() []Expiry { return s.set.Load().expiries }

// Collect emits sluice_certificate_not_after_seconds; pass it to
// [telemetry.Metrics.Collect].
func (s *Store) Collect(emit telemetry.Emit) {
	for _, e := range s.NotAfter() {
		emit("sluice_certificate_not_after_seconds", float64(e.NotAfter.Unix()), e.Name)
	}
}

package certs

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
)

// set is what handshakes choose from. It never changes.
type set struct {
	byName   map[string][]*tls.Certificate // by lower-case name, wildcards as *.example.com
	fallback []*tls.Certificate            // for a client that names no host, or an unknown one
	expiries []Expiry                      // by name
}

func newSet(pairs []*pair) *set {
	s := &set{byName: make(map[string][]*tls.Certificate)}
	for _, p := range pairs {
		for _, name := range p.cert.Leaf.DNSNames {
			name = strings.ToLower(name)
			if !slices.Contains(s.byName[name], p.cert) {
				s.byName[name] = append(s.byName[name], p.cert)
			}
		}
	}
	for name, certs := range s.byName {
		slices.SortStableFunc(certs, func(a, b *tls.Certificate) int { return cost(a) - cost(b) })
		e := Expiry{name, certs[0].Leaf.NotAfter}
		for _, c := range certs[1:] {
			if c.Leaf.NotAfter.Before(e.NotAfter) {
				e.NotAfter = c.Leaf.NotAfter
			}
		}
		s.expiries = append(s.expiries, e)
	}
	slices.SortFunc(s.expiries, func(a, b Expiry) int { return strings.Compare(a.Name, b.Name) })

	if len(pairs) > 0 {
		// With the first come the certificates of another kind for its name.
		s.fallback = []*tls.Certificate{pairs[0].cert}
		if names := pairs[0].cert.Leaf.DNSNames; len(names) > 0 {
			s.fallback = s.byName[strings.ToLower(names[0])]
		}
	}
	return s
}

// cost orders certificates by what a signature with them costs.
func cost(c *tls.Certificate) int {
	switch c.Leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return 0
	case ed25519.PublicKey:
		return 1
	}
	return 2 // RSA: some forty times as much
}

// choose returns the certificate for a handshake.
//
// SupportsCertificate also wants the certificate to cover the name, which the
// default does not for a name that is not ours; so for the default the name is
// taken out of the question.
func (s *set) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	for _, c := range s.byName[name] {
		if hello.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		for _, c := range s.byName["*."+parent] {
			if hello.SupportsCertificate(c) == nil {
				return c, nil
			}
		}
	}
	if len(s.fallback) == 0 {
		return nil, errors.New("no certificates")
	}
	unnamed := *hello
	unnamed.ServerName = ""
	for _, c := range s.fallback {
		if unnamed.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	return s.fallback[0], nil // the handshake fails, and says why
}

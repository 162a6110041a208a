package policy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"

	"sluice/conf"
)

// suites are the TLS 1.2 suites. Their order says nothing: crypto/tls orders
// them by whether the processors of both sides have AES instructions.
func suites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

// groups are the key exchanges: hybrid post-quantum for who knows it, and the
// curves that everybody does.
func groups() []tls.CurveID {
	return []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}
}

// Server returns how a listener speaks TLS, with HTTP/2 and HTTP/1.1 offered by
// ALPN. Certificate is asked for each handshake's certificate; it must
// not block. The words of t have been checked by conf.
func Server(t conf.TLS, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	c := &tls.Config{
		MinVersion:       tls.VersionTLS12,
		CipherSuites:     suites(),
		CurvePreferences: groups(),
		NextProtos:       []string{"h2", "http/1.1"},
		GetCertificate:   certificate,
	}
	if t.MinVersion == "1.3" {
		c.MinVersion = tls.VersionTLS13
	}
	return c
}

// sessions is how many TLS sessions with an upstream are remembered, so that a
// new connection need not make a full handshake.
const sessions = 64

// Client returns how to speak TLS with the upstream at host, a name or address
// with or without a port. Protocols are offered by ALPN, the preferred one
// first; none offers nothing. A nil t is the default: the system's authorities
// and the host's own name.
func Client(t *conf.UpstreamTLS, host string, protocols ...string) (*tls.Config, error) {
	if t == nil {
		t = &conf.UpstreamTLS{}
	}
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		CipherSuites:       suites(),
		CurvePreferences:   groups(),
		NextProtos:         protocols,
		ServerName:         t.ServerName,
		InsecureSkipVerify: t.InsecureSkipVerify, // said so in the configuration, for tests
		ClientSessionCache: tls.NewLRUClientSessionCache(sessions),
	}
	if c.ServerName == "" {
		c.ServerName = hostname(host)
	}
	if c.ServerName == "" {
		return nil, errors.New("an https upstream needs a host name to verify")
	}
	if t.CA != "" {
		roots, err := authorities(t.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = roots
	}
	return c, nil
}

// hostname returns host without its port and the brackets of an IPv6 address.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		return host[1 : len(host)-1]
	}
	return host
}

func authorities(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("authorities: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("authorities: %s holds no PEM certificate", path)
	}
	return roots, nil
}

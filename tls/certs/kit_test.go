package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/conf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// issued is a certificate with its key, as PEM.
type issued struct {
	cert, key []byte
	serial    int64
}

var serial atomic.Int64

// rsaKey is made once, because that is slow.
var rsaKey = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) })

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newKey(kind string) crypto.Signer {
	switch kind {
	case "rsa":
		return rsaKey()
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return must(key, err)
	}
	return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

// issue makes a certificate that signs itself and ends after valid.
func issue(kind string, valid time.Duration, names ...string) issued {
	n := serial.Add(1)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(n),
		Subject:      pkix.Name{CommonName: "test"},
		DNSNames:     names,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(valid),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	key := newKey(kind)
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	pkcs8 := must(x509.MarshalPKCS8PrivateKey(key))
	return issued{
		cert:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
		serial: n,
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// put writes the pair as NAME.pem and NAME-key.pem.
func put(t *testing.T, dir, name string, i issued) conf.Certificate {
	t.Helper()
	files := conf.Certificate{Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+"-key.pem")}
	write(t, files.Cert, i.cert)
	write(t, files.Key, i.key)
	return files
}

func open(t *testing.T, list ...conf.Certificate) *Store {
	t.Helper()
	s, err := Open(list, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// hello is what a current client says.
func hello(name string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName:        name,
		SupportedVersions: []uint16{tls.VersionTLS13, tls.VersionTLS12},
		CipherSuites:      []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		SupportedCurves:   []tls.CurveID{tls.X25519, tls.CurveP256},
		SupportedPoints:   []uint8{0},
		SignatureSchemes:  []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256, tls.PKCS1WithSHA256, tls.Ed25519},
	}
}

// rsaOnly is what a client says that knows no ECDSA.
func rsaOnly(name string) *tls.ClientHelloInfo {
	h := hello(name)
	h.SignatureSchemes = []tls.SignatureScheme{tls.PSSWithSHA256, tls.PKCS1WithSHA256}
	return h
}

func serialOf(t *testing.T, s *Store, h *tls.ClientHelloInfo) int64 {
	t.Helper()
	c, err := s.GetCertificate(h)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf.SerialNumber.Int64()
}

package policy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/conf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// certificate returns one that signs itself, for localhost and 127.0.0.1.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func get(c tls.Certificate) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &c, nil }
}

// shake makes a handshake over loopback and returns what each side says of it.
func shake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		s := tls.Server(c, server)
		if s.Handshake() == nil {
			_, _ = s.Write([]byte("x")) // carries the session ticket of TLS 1.3
		}
	}()
	defer func() { _ = l.Close(); <-done }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := tls.Client(conn, client)
	if err := c.Handshake(); err != nil {
		return tls.ConnectionState{}, err
	}
	_, err = c.Read(make([]byte, 1))
	return c.ConnectionState(), err
}

func trusting(c tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(c.Leaf)
	return &tls.Config{RootCAs: roots, ServerName: "localhost"}
}

// Invariants 1 to 3, towards clients.
func TestServerSpeaks(t *testing.T) {
	cert := certificate(t)
	for name, c := range map[string]struct {
		min    string
		client func(*tls.Config)
		refuse bool
		check  func(tls.ConnectionState) bool
	}{
		"a current client": {client: func(*tls.Config) {}, check: func(s tls.ConnectionState) bool {
			return s.Version == tls.VersionTLS13 && s.CurveID == tls.X25519MLKEM768
		}},
		"a client without post-quantum": {client: func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} },
			check: func(s tls.ConnectionState) bool { return s.CurveID == tls.CurveP256 }},
		"TLS 1.2": {client: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, check: func(s tls.ConnectionState) bool {
			return s.Version == tls.VersionTLS12 && slices.Contains(suites(), s.CipherSuite)
		}},
		"TLS 1.2 when 1.3 is the least": {min: "1.3", refuse: true, client: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }},
		"TLS 1.1":                       {refuse: true, client: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }},
		"CBC": {refuse: true, client: func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256}
		}},
		"HTTP/2":           {client: func(c *tls.Config) { c.NextProtos = []string{"http/1.1", "h2"} }, check: func(s tls.ConnectionState) bool { return s.NegotiatedProtocol == "h2" }},
		"HTTP/1.1":         {client: func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }, check: func(s tls.ConnectionState) bool { return s.NegotiatedProtocol == "http/1.1" }},
		"another protocol": {refuse: true, client: func(c *tls.Config) { c.NextProtos = []string{"smtp"} }},
		"no ALPN":          {client: func(*tls.Config) {}, check: func(s tls.ConnectionState) bool { return s.NegotiatedProtocol == "" }},
	} {
		client := trusting(cert)
		c.client(client)
		state, err := shake(t, Server(conf.TLS{MinVersion: c.min}, get(cert)), client)
		switch {
		case c.refuse != (err != nil):
			t.Errorf("%s: %v, want refused: %v", name, err, c.refuse)
		case err == nil && !c.check(state):
			t.Errorf("%s: %s %s %s %q", name, tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), state.CurveID, state.NegotiatedProtocol)
		}
	}
}

func TestSessionsAreResumed(t *testing.T) {
	cert := certificate(t)
	server := Server(conf.TLS{}, get(cert))
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, ca, cert)
	client, err := Client(&conf.UpstreamTLS{CA: ca}, "localhost:443")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, true} {
		state, err := shake(t, server, client)
		if err != nil || state.DidResume != want {
			t.Errorf("handshake %d: resumed %v, %v", i, state.DidResume, err)
		}
	}
}

func writePEM(t *testing.T, path string, c tls.Certificate) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Leaf.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Invariants 1, 2 and 4, towards upstreams.
func TestUpstreamsAreVerified(t *testing.T) {
	cert := certificate(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, ca, cert)
	current := Server(conf.TLS{}, get(cert))
	for name, c := range map[string]struct {
		tls    *conf.UpstreamTLS
		host   string
		server *tls.Config
		want   string // in the error; empty: none
	}{
		"by name":             {&conf.UpstreamTLS{CA: ca}, "localhost:8443", current, ""},
		"by address":          {&conf.UpstreamTLS{CA: ca}, "127.0.0.1", current, ""},
		"by another name":     {&conf.UpstreamTLS{CA: ca, ServerName: "localhost"}, "10.0.0.1:8443", current, ""},
		"name does not match": {&conf.UpstreamTLS{CA: ca}, "items.example", current, "items.example"},
		"unknown authority":   {nil, "localhost:8443", current, "unknown authority"},
		"not verified":        {&conf.UpstreamTLS{InsecureSkipVerify: true}, "items.example", current, ""},
		"TLS 1.1 alone": {&conf.UpstreamTLS{CA: ca}, "localhost", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
			"protocol version"},
		"CBC alone": {&conf.UpstreamTLS{CA: ca}, "localhost", &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}},
			"handshake failure"},
	} {
		client, err := Client(c.tls, c.host)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, err = shake(t, c.server, client)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestClientOffersProtocols(t *testing.T) {
	cert := certificate(t)
	client, err := Client(&conf.UpstreamTLS{InsecureSkipVerify: true}, "localhost", "h2", "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	state, err := shake(t, Server(conf.TLS{}, get(cert)), client)
	if err != nil || state.NegotiatedProtocol != "h2" {
		t.Errorf("%q, %v", state.NegotiatedProtocol, err)
	}
}

func TestClientNamesTheHost(t *testing.T) {
	for host, want := range map[string]string{
		"items.example": "items.example", "items.example:8443": "items.example", "127.0.0.1:80": "127.0.0.1",
		"[::1]:443": "::1", "[::1]": "::1", "::1": "::1",
	} {
		c, err := Client(nil, host)
		if err != nil || c.ServerName != want {
			t.Errorf("%s: %v, want %s", host, err, want)
		}
	}
	if _, err := Client(nil, ":443"); err == nil {
		t.Error("no error without a name to verify")
	}
}

func TestAuthoritiesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "missing.pem"), empty} {
		if _, err := Client(&conf.UpstreamTLS{CA: path}, "a"); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want an error that names %s", err, path)
		}
	}
}

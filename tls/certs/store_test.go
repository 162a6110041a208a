package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/conf"
	"sluice/telemetry"
)

// Invariant 3.
func TestChoiceByName(t *testing.T) {
	dir := t.TempDir()
	first := issue("ecdsa", time.Hour, "first.example")
	exact := issue("ecdsa", time.Hour, "API.acme.example", "www.acme.example")
	wild := issue("ecdsa", time.Hour, "*.acme.example")
	s := open(t, put(t, dir, "first", first), put(t, dir, "wild", wild), put(t, dir, "exact", exact))
	for name, want := range map[string]int64{
		"":                       first.serial,
		"first.example":          first.serial,
		"unknown.example":        first.serial,
		"api.acme.example":       exact.serial,
		"Api.Acme.Example":       exact.serial,
		"www.acme.example":       exact.serial,
		"shop.acme.example":      wild.serial,
		"acme.example":           first.serial, // a wildcard stands for one label
		"deep.shop.acme.example": first.serial,
	} {
		if got := serialOf(t, s, hello(name)); got != want {
			t.Errorf("%q: certificate %d, want %d", name, got, want)
		}
	}
}

func TestChoiceByWhatTheClientSupports(t *testing.T) {
	dir := t.TempDir()
	rsaCert := issue("rsa", time.Hour, "api.example")
	ec := issue("ecdsa", 2*time.Hour, "api.example")
	wild := issue("rsa", time.Hour, "*.other.example")
	otherEC := issue("ecdsa", time.Hour, "a.other.example")
	s := open(t, put(t, dir, "rsa", rsaCert), put(t, dir, "ec", ec), put(t, dir, "wild", wild), put(t, dir, "other", otherEC))
	for _, c := range []struct {
		hello *tls.ClientHelloInfo
		want  int64
	}{
		{hello("api.example"), ec.serial},
		{rsaOnly("api.example"), rsaCert.serial},
		{hello(""), ec.serial},
		{rsaOnly(""), rsaCert.serial},
		{rsaOnly("unknown.example"), rsaCert.serial},
		{hello("a.other.example"), otherEC.serial},
		{rsaOnly("a.other.example"), wild.serial}, // the exact one is of no use to this client
	} {
		if got := serialOf(t, s, c.hello); got != c.want {
			t.Errorf("%q %v: certificate %d, want %d", c.hello.ServerName, c.hello.SignatureSchemes, got, c.want)
		}
	}
	expiries := s.NotAfter()
	if len(expiries) != 3 || expiries[2].Name != "api.example" || time.Until(expiries[2].NotAfter) > time.Hour {
		t.Errorf("expiries %v: want the earlier of the two for api.example", expiries)
	}
}

func TestMetricsTellWhenNamesExpire(t *testing.T) {
	s := open(t, put(t, t.TempDir(), "a", issue("ecdsa", time.Hour, "a.example", "*.b.example")))
	m := telemetry.NewMetrics(telemetry.MetricsOptions{})
	m.Collect(s.Collect)
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.example", "*.b.example"} {
		if !strings.Contains(b.String(), `sluice_certificate_not_after_seconds{name="`+name+`"} `) {
			t.Errorf("no expiry for %s", name)
		}
	}
}

func TestErrorsNameTheFileAndTheFault(t *testing.T) {
	dir := t.TempDir()
	good, other := issue("ecdsa", time.Hour, "a.example"), issue("ecdsa", time.Hour, "b.example")
	block, _ := pem.Decode(good.cert)
	keyBlock, _ := pem.Decode(good.key)
	//lint:ignore SA1019 such files are still met with
	legacy, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", keyBlock.Bytes, []byte("x"), x509.PEMCipherAES256)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cert, key []byte
		file      string // which is at fault
		want      string
	}{
		"mismatch":      {good.cert, other.key, "key", "does not match the certificate"},
		"order":         {append(bytes.Clone(other.cert), good.cert...), good.key, "cert", "must come first"},
		"swapped":       {good.key, good.cert, "cert", "are cert and key swapped?"},
		"key is cert":   {good.cert, good.cert, "key", "are cert and key swapped?"},
		"text":          {[]byte("hello"), good.key, "cert", "is not PEM"},
		"empty":         {[]byte("\n"), good.key, "cert", "is empty"},
		"der":           {block.Bytes, good.key, "cert", "looks like DER"},
		"encrypted":     {good.cert, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}}), "key", "is encrypted"},
		"encrypted old": {good.cert, pem.EncodeToMemory(legacy), "key", "is encrypted"},
		"cut key":       {good.cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyBlock.Bytes[:20]}), "key", "asn1"},
		"cut cert":      {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes[:20]}), good.key, "cert", "block 1"},
		"odd key":       {good.cert, pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: []byte{1}}), "key", "no use for"},
		"large":         {bytes.Repeat([]byte{'x'}, maxFile+1), good.key, "cert", "larger than"},
	} {
		files := put(t, dir, "pair", issued{cert: c.cert, key: c.key})
		path := files.Cert
		if c.file == "key" {
			path = files.Key
		}
		_, err := Open([]conf.Certificate{files}, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q and %s", name, err, c.want, path)
		}
	}

	files := put(t, dir, "pair", good)
	files.Key = filepath.Join(dir, "missing.pem")
	missing := files
	missing.Cert = dir
	_, err = Open([]conf.Certificate{files, missing}, Options{})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "missing.pem") || !strings.Contains(err.Error(), dir+" is not a file") {
		t.Errorf("two faults, got %v", err)
	}
	if _, err := Open(nil, Options{}); err == nil {
		t.Error("no error without certificates")
	}
}

func TestKeysOfEveryForm(t *testing.T) {
	dir := t.TempDir()
	for _, kind := range []string{"ecdsa", "rsa", "ed25519"} {
		i := issue(kind, time.Hour, "a.example")
		if got := serialOf(t, open(t, put(t, dir, kind, i)), hello("a.example")); got != i.serial {
			t.Errorf("%s: %d", kind, got)
		}
	}
	// OpenSSL's own forms, with the parameters in front of an EC key.
	for kind, reencode := range map[string]func(key any) []byte{
		"ecdsa": func(key any) []byte {
			params := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 0}})
			der := must(x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey)))
			return append(params, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})...)
		},
		"rsa": func(key any) []byte {
			return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key.(*rsa.PrivateKey))})
		},
	} {
		i := issue(kind, time.Hour, "a.example")
		block, _ := pem.Decode(i.key)
		i.key = reencode(must(x509.ParsePKCS8PrivateKey(block.Bytes)))
		if got := serialOf(t, open(t, put(t, dir, kind, i)), hello("a.example")); got != i.serial {
			t.Errorf("%s in OpenSSL's form: %d", kind, got)
		}
	}
}

// Invariant 2.
func TestAPairThatIsNoGoodDoesNotReplaceOneThatServes(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	old := issue("ecdsa", time.Hour, "a.example")
	files := put(t, dir, "a", old)
	s, err := Open([]conf.Certificate{files}, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	next := issue("ecdsa", 2*time.Hour, "a.example")
	for name, step := range map[string]func(){
		"key not written yet": func() { write(t, files.Cert, next.cert); write(t, files.Key, old.key) },
		"expired":             func() { put(t, dir, "a", issue("ecdsa", -time.Minute, "a.example")) },
		"gone":                func() { _ = os.Remove(files.Cert) },
		"empty":               func() { write(t, files.Cert, nil) },
	} {
		log.Reset()
		step()
		for range 2 { // the second look must not warn again
			if s.Check() {
				t.Errorf("%s: taken", name)
			}
		}
		if got := serialOf(t, s, hello("a.example")); got != old.serial {
			t.Errorf("%s: serves %d, want the old one", name, got)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), files.Cert) {
			t.Errorf("%s: want one warning that names the file, got %s", name, log.String())
		}
	}
	// A reload of the configuration meanwhile keeps it too.
	if err := s.Use([]conf.Certificate{files}); err != nil {
		t.Errorf("Use: %v", err)
	}
	put(t, dir, "a", next)
	if !s.Check() || serialOf(t, s, hello("a.example")) != next.serial {
		t.Error("the good pair was not taken afterwards")
	}
	if s.Check() {
		t.Error("changed again although nothing did")
	}
}

func TestAnExpiredCertificateIsServedWhenThereIsNoOther(t *testing.T) {
	var log bytes.Buffer
	i := issue("ecdsa", -time.Minute, "a.example")
	s, err := Open([]conf.Certificate{put(t, t.TempDir(), "a", i)}, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if got := serialOf(t, s, hello("a.example")); got != i.serial || !strings.Contains(log.String(), "expired at") {
		t.Errorf("serves %d; log: %s", got, log.String())
	}
}

func TestANewListIsTakenWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	a, b := issue("ecdsa", time.Hour, "a.example"), issue("ecdsa", time.Hour, "b.example")
	filesA, filesB := put(t, dir, "a", a), put(t, dir, "b", b)
	s := open(t, filesA)
	if err := s.Use([]conf.Certificate{filesB, {Cert: filepath.Join(dir, "none"), Key: filesB.Key}}); err == nil {
		t.Error("a missing file was taken")
	}
	if got := serialOf(t, s, hello("b.example")); got != a.serial {
		t.Error("half of a refused list is served")
	}
	if err := s.Use([]conf.Certificate{filesB}); err != nil {
		t.Fatal(err)
	}
	if got := serialOf(t, s, hello("a.example")); got != b.serial {
		t.Error("a certificate that is no longer configured is served")
	}
}

// serve completes TLS handshakes on loopback until the test ends.
func serve(t *testing.T, s *Store) (address string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: s.GetCertificate})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake()
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func TestHandshakes(t *testing.T) {
	dir := t.TempDir()
	rsaCert, ec := issue("rsa", time.Hour, "a.example"), issue("ecdsa", time.Hour, "a.example")
	address := serve(t, open(t, put(t, dir, "rsa", rsaCert), put(t, dir, "ec", ec)))
	for name, c := range map[string]struct {
		config *tls.Config
		want   int64
	}{
		"1.3":          {&tls.Config{ServerName: "a.example"}, ec.serial},
		"1.2 with RSA": {&tls.Config{ServerName: "a.example", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}, rsaCert.serial},
		"unknown name": {&tls.Config{ServerName: "x.example"}, ec.serial},
	} {
		c.config.InsecureSkipVerify = true // looked at below
		conn, err := tls.Dial("tcp", address, c.config)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != c.want {
			t.Errorf("%s: certificate %d, want %d", name, got, c.want)
		}
		_ = conn.Close()
	}
}

func FuzzParse(f *testing.F) {
	i := issue("ecdsa", time.Hour, "a.example")
	f.Add(i.cert, i.key)
	f.Add(i.key, i.cert)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte("0"))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		c := &content{files: conf.Certificate{Cert: "c", Key: "k"}, cert: cert, key: key}
		if got, err := c.parse(); (got == nil) == (err == nil) {
			t.Fatalf("certificate %v, error %v", got, err)
		} else if err == nil && (got.Leaf == nil || got.PrivateKey == nil) {
			t.Fatal("half a certificate")
		}
	})
}

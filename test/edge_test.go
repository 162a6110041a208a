//go:build integration

package test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// TestMalformedRequestsNeverReachTheService sends what no client library would.
func TestMalformedRequestsNeverReachTheService(t *testing.T) {
	var reached atomic.Int64
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		io.Copy(io.Discard, r.Body)
	}))
	defer up.Close()
	g := testkit.StartGateway(t, publicConfig, map[string]any{"Upstream": up.URL, "More": "", "Listener": "", "Listeners": ""})
	addr := strings.TrimPrefix(g.URL, "http://")
	for name, c := range map[string]struct{ request, status string }{
		"CL and TE":              {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
		"two lengths":            {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", "400"},
		"length list":            {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 5\r\n\r\nabcde", "400"},
		"negative length":        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "400"},
		"plus length":            {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", "400"},
		"obs-fold":               {"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n", "400"},
		"space before the colon": {"GET / HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n", "400"},
		"NUL in a value":         {"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\x00c\r\n\r\n", "400"},
		"bare CR in a value":     {"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rc\r\n\r\n", "400"},
		"no host":                {"GET / HTTP/1.1\r\n\r\n", "400"},
		"two hosts":              {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"},
		"TE of another kind":     {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "400"},
		"TE twice":               {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
		"asterisk":               {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		"authority form":         {"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		"garbage":                {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"},
		"version":                {"GET / HTTP/3.7\r\nHost: a\r\n\r\n", "505"},
		"encoded NUL":            {"GET /a%00b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "400"},
		"encoded slash":          {"GET /a%2fb HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "400"},
		"malformed escape":       {"GET /a%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "400"},
		"header too large":       {"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + strings.Repeat("a", 80<<10) + "\r\n\r\n", "431"},
	} {
		t.Run(name, func(t *testing.T) {
			before := reached.Load()
			got := testkit.Raw(t, addr, c.request, 3*time.Second)
			if !strings.HasPrefix(got, "HTTP/1.1 "+c.status+" ") && !strings.HasPrefix(got, "HTTP/1.0 "+c.status+" ") {
				t.Errorf("want %s, got %.200q", c.status, got)
			}
			if !strings.Contains(got, "application/problem+json") {
				t.Errorf("no problem+json in %.300q", got)
			}
			if reached.Load() != before {
				t.Error("the service was reached")
			}
		})
	}
	// The head is sound and the body is not: the service may be reached, but what
	// follows the fault is never taken for a request.
	for name, request := range map[string]string{
		"bad chunk size":            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
		"chunk longer than it says": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
		"NUL in a chunk extension":  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a=\x00\r\na\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			got := testkit.Raw(t, addr, request, 3*time.Second)
			if strings.Count(got, "HTTP/1.1 ") != 1 || !strings.HasPrefix(got, "HTTP/1.1 400 ") {
				t.Errorf("got %q", got)
			}
		})
	}
}

// writeCert writes a self-signed certificate for the names; its serial number
// tells one from another.
func writeCert(t *testing.T, dir, base string, serial int64, names ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, filepath.Join(dir, base+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	replace(t, filepath.Join(dir, base+"-key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func replace(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestTLS(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("X-Forwarded-Proto"))
	}))
	defer up.Close()
	dir := t.TempDir()
	writeCert(t, dir, "api", 1, "api.example", "*.api.example")
	writeCert(t, dir, "other", 2, "other.example")
	secure := testkit.FreeAddr(t)
	g := testkit.StartGateway(t, publicConfig, map[string]any{"Upstream": up.URL, "More": "headers: {preset: api}", "Listener": "", "Listeners": `{address: "` + secure + `", tls: {certificates: [
    {cert: "` + dir + `/api.pem", key: "` + dir + `/api-key.pem"}, {cert: "` + dir + `/other.pem", key: "` + dir + `/other-key.pem"}]}}, {address: "` + testkit.FreeAddr(t) + `", redirect: https}`})

	handshake := func(name string, version uint16) (serial int64, err error) {
		c, err := tls.Dial("tcp", secure, &tls.Config{ServerName: name, InsecureSkipVerify: true, MaxVersion: version, MinVersion: tls.VersionTLS10})
		if err != nil {
			return 0, err
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
	}
	for name, want := range map[string]int64{"api.example": 1, "x.api.example": 1, "other.example": 2, "": 1} {
		if got, err := handshake(name, tls.VersionTLS13); err != nil || got != want {
			t.Errorf("%q: certificate %d, %v; want %d", name, got, err, want)
		}
	}
	if _, err := handshake("api.example", tls.VersionTLS12); err != nil {
		t.Errorf("TLS 1.2: %v", err)
	}
	if _, err := handshake("api.example", tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 was accepted")
	}

	for _, h2 := range []bool{true, false} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: h2}}
		resp, err := client.Get("https://" + secure + "/x")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		client.CloseIdleConnections()
		if want := map[bool]int{true: 2, false: 1}[h2]; err != nil || resp.ProtoMajor != want || string(body) != "https" || resp.Header.Get("Strict-Transport-Security") == "" {
			t.Errorf("HTTP/%d: %v %q %v", resp.ProtoMajor, err, body, resp.Header)
		}
	}
	// A real client of another make.
	if out, err := exec.Command("curl", "-sk", "--http2", "-w", " %{http_version}", "https://"+secure+"/x").CombinedOutput(); err != nil || string(out) != "https 2" {
		t.Errorf("curl: %v %q", err, out)
	}

	t.Run("replaced files", func(t *testing.T) {
		writeCert(t, dir, "api", 7, "api.example")
		g.Eventually(20*time.Second, func() error {
			if serial, err := handshake("api.example", tls.VersionTLS13); err != nil || serial != 7 {
				return io.ErrNoProgress
			}
			return nil
		})
		replace(t, filepath.Join(dir, "api.pem"), []byte("broken"))
		g.WaitOutput(`(?i)api\.pem`, 20*time.Second)
		if serial, err := handshake("api.example", tls.VersionTLS13); err != nil || serial != 7 {
			t.Errorf("after a broken file: %d, %v", serial, err)
		}
	})
}

// TestGRPCShapedTraffic sends full-duplex HTTP/2 without TLS through the gateway.
func TestGRPCShapedTraffic(t *testing.T) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		buf := make([]byte, 16)
		for {
			n, err := r.Body.Read(buf)
			if n > 0 {
				w.Write(bytes.ToUpper(buf[:n]))
				w.(http.Flusher).Flush()
			}
			if err != nil {
				break
			}
		}
		w.Header().Set("Grpc-Status", "0")
	}))
	up.Config.Protocols = protocols
	up.Start()
	defer up.Close()
	config := strings.Replace(publicConfig, `{upstreams: ["{{.Upstream}}"]}`, `{upstreams: ["{{.Upstream}}"], protocol: h2c}`, 1)
	g := testkit.StartGateway(t, config, map[string]any{"Upstream": up.URL, "More": "", "Listener": "", "Listeners": ""})

	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	body, feed := io.Pipe()
	r, err := http.NewRequestWithContext(ctx, "POST", g.URL+"/svc/Method", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("TE", "trailers")
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	go io.WriteString(feed, "one")
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got := make([]byte, 3)
	if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != "ONE" {
		t.Fatalf("%q, %v", got, err)
	}
	go func() { io.WriteString(feed, "two"); feed.Close() }()
	rest, err := io.ReadAll(resp.Body)
	if err != nil || string(rest) != "TWO" || resp.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("%q, %v, trailer %v", rest, err, resp.Trailer)
	}
}

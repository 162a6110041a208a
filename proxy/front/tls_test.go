package front

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
)

// certificate is the one of net/http's own test server, good for example.com and 127.0.0.1.
func certificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return s.TLS.Certificates[0], pool
}

// protocol answers with the version of HTTP that the handler sees.
func protocol(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	w.Header().Set("X-Proto", r.Proto)
	w.Header().Set("X-Tls", map[bool]string{true: "yes", false: "no"}[r.TLS != nil])
	_, _ = w.Write(b)
}

func TestTLS(t *testing.T) {
	cert, pool := certificate(t)
	onBoth(t, func(t *testing.T, e engine) {
		r := e.run(t, http.HandlerFunc(protocol), options{tls: &tls.Config{Certificates: []tls.Certificate{cert}}})
		for _, version := range []string{"HTTP/1.1", "HTTP/2.0"} {
			protocols := new(http.Protocols)
			protocols.SetHTTP1(version == "HTTP/1.1")
			protocols.SetHTTP2(version == "HTTP/2.0")
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, Protocols: protocols}
			for _, n := range []int{0, 10, 100_000, 3_000_000} {
				body := bytes.Repeat([]byte("x"), n)
				resp, err := (&http.Client{Transport: transport}).Post("https://"+r.addr+"/", "text/plain", bytes.NewReader(body))
				if err != nil {
					t.Fatalf("%s: %v", version, err)
				}
				got, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || !bytes.Equal(got, body) || resp.Header.Get("X-Proto") != version || resp.Header.Get("X-Tls") != "yes" {
					t.Errorf("%s, %d bytes: got %d bytes, %v, %v", version, n, len(got), err, resp.Header)
				}
			}
			transport.CloseIdleConnections()
		}
		// Plain HTTP where TLS is spoken.
		c := r.dial(t)
		_, _ = io.WriteString(c, get)
		if got := readAll(t, c); !strings.HasPrefix(got, "HTTP/1.0 400 ") {
			t.Errorf("plain request got %q", got)
		}
	})
}

func TestShutdownWithTLS(t *testing.T) {
	cert, pool := certificate(t)
	r := runFront(t, http.HandlerFunc(protocol), options{tls: &tls.Config{Certificates: []tls.Certificate{cert}}})
	for _, http2 := range []bool{false, true} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: http2}
		resp, err := (&http.Client{Transport: transport}).Get("https://" + r.addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		defer transport.CloseIdleConnections()
	}
	if s := r.server.Stats(); s.HTTP2 != 1 || s.Connections != 1 {
		t.Errorf("Stats = %+v, want one connection of each protocol", s)
	}
	if err := r.server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestH2C(t *testing.T) {
	for _, on := range []bool{true, false} {
		s := &Server{Handler: http.HandlerFunc(protocol), H2C: on, Poison: true}
		r := start(t, s)
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		transport := &http.Transport{Protocols: protocols}
		resp, err := (&http.Client{Transport: transport}).Post("http://"+r.addr+"/", "text/plain", strings.NewReader("hello"))
		if !on {
			if err == nil {
				t.Error("HTTP/2 is spoken without being asked for")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(body) != "hello" || resp.Header.Get("X-Proto") != "HTTP/2.0" {
			t.Errorf("got %q, %v, %v", body, err, resp.Header)
		}
		transport.CloseIdleConnections()
		// HTTP/1.1 on the same port.
		if o := exchangeRaw(t, r.addr, get, "GET"); !o.Kept {
			t.Errorf("HTTP/1.1: %+v", o)
		}
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func TestHandshakeTimeout(t *testing.T) {
	t.Parallel()
	cert, _ := certificate(t)
	s := &Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, HeaderTimeout: 1}
	r := start(t, s)
	silent, half := r.dial(t), r.dial(t)
	_, _ = half.Write([]byte{22, 3, 1, 1, 0, 1})
	for _, c := range []net.Conn{silent, half} {
		if got := readAll(t, c); strings.Contains(got, "HTTP") {
			t.Errorf("got %q", got)
		}
	}
}

func TestCurl(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := certificate(t)
	for name, o := range map[string]options{"http": {}, "https": {tls: &tls.Config{Certificates: []tls.Certificate{cert}}}} {
		r := runFront(t, http.HandlerFunc(protocol), o)
		url := name + "://" + r.addr + "/"
		body := strings.Repeat("y", 300_000)
		for _, args := range [][]string{
			{"--http1.1", "--data-binary", "@-"},                                       // asks for 100-continue
			{"--http1.0", "--no-alpn", "--data-binary", "@-", "-H", "Expect:"},         // no chunks
			{"--http1.1", "-T", "-", "-X", "POST", "-H", "Transfer-Encoding: chunked"}, // chunked upload
			{"--http2", "--data-binary", "@-"},                                         // over TLS: HTTP/2
		} {
			cmd := exec.CommandContext(t.Context(), curl, append(args, "-sS", "-k", "--max-time", "15", url, "--next", "-sS", "-k", url)...)
			cmd.Stdin = strings.NewReader(body)
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != body {
				t.Errorf("%s %v: %v, %d bytes: %.200q", name, args, err, len(out), out)
			}
		}
	}
}

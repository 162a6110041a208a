package testkit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"text/template"
	"time"
)

// startGrace is how long a service may take to get ready; generous, because
// several test packages may be sharing two cores.
const startGrace = 30 * time.Second

// Ports are taken from below the range of outgoing connections (32768 up,
// ip_local_port_range), so that no client of another test can come in between.
const (
	firstPort = 20000
	lastPort  = 32000
)

var ports struct {
	sync.Mutex
	given map[int]bool
}

// FreeAddr returns an address on 127.0.0.1 whose port is free for TCP and UDP
// and was not given to another test of this binary.
func FreeAddr(t testing.TB) string {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.given == nil {
		ports.given = make(map[int]bool)
	}
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if !ports.given[port] && isFree(addr) {
			ports.given[port] = true
			return addr
		}
	}
	t.Fatal("testkit: no free port")
	return ""
}

func isFree(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer l.Close()
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	return c.Close() == nil
}

// WaitReady waits until a GET of the URL answers 200, or the process has ended.
func (p *Process) WaitReady(url string) {
	p.t.Helper()
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	p.Eventually(startGrace, func() error {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
			return fmt.Errorf("GET %s: %s: %s", url, resp.Status, body)
		}
		return nil
	})
}

// Service is a process that answers HTTP.
type Service struct {
	*Process
	URL string // base URL, without a closing slash
}

// Client returns a client of the service.
func (s *Service) Client(t testing.TB) *Client { return NewClient(t, s.URL) }

// StartFastAPI starts the FastAPI example on uvicorn and waits until it is
// healthy; args are added to uvicorn's.
func StartFastAPI(t testing.TB, args ...string) *Service {
	t.Helper()
	python := os.Getenv(EnvPython)
	if python == "" {
		python = "/usr/bin/python3"
	}
	addr := FreeAddr(t)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{URL: "http://" + addr}
	s.Process = Start(t, Command{
		Path: python,
		Args: append([]string{"-m", "uvicorn", "app.main:app", "--host", host, "--port", port, "--no-access-log"}, args...),
		Dir:  filepath.Join(Root(t), "examples", "fastapi"),
		Env:  []string{"PYTHONDONTWRITEBYTECODE=1"},
	})
	s.WaitReady(s.URL + "/health")
	return s
}

// Gateway is a running sluice.
type Gateway struct {
	Service
	AdminURL string // base URL of the private listener
	Config   string // path of the configuration file
	vars     map[string]any
}

// StartGateway starts sluice with a configuration and waits until it is ready.
// The configuration is a text/template over vars, to which are added unless
// they are there: Listen and Admin (addresses), Dir (a directory of the test).
func StartGateway(t testing.TB, config string, vars map[string]any) *Gateway {
	t.Helper()
	return StartGatewayFrom(t, Sluice(t), config, vars)
}

// StartGatewayFrom is StartGateway with another binary than [Sluice]'s.
func StartGatewayFrom(t testing.TB, binary, config string, vars map[string]any) *Gateway {
	t.Helper()
	all := map[string]any{"Listen": FreeAddr(t), "Admin": FreeAddr(t), "Dir": t.TempDir()}
	maps.Copy(all, vars)
	g := &Gateway{
		Service:  Service{URL: fmt.Sprintf("http://%v", all["Listen"])},
		AdminURL: fmt.Sprintf("http://%v", all["Admin"]),
		Config:   filepath.Join(fmt.Sprint(all["Dir"]), "sluice.yaml"),
		vars:     all,
	}
	g.WriteConfig(t, config, nil)
	g.Process = Start(t, Command{Path: binary, Args: []string{"serve", "--config", g.Config}, Dir: filepath.Dir(g.Config)})
	g.WaitReady(g.AdminURL + "/readyz")
	return g
}

// WriteConfig replaces the configuration file; vars are added to those that the
// gateway was started with. It does not make sluice read it.
func (g *Gateway) WriteConfig(t testing.TB, config string, vars map[string]any) {
	t.Helper()
	maps.Copy(g.vars, vars)
	WriteTemplate(t, g.Config, config, g.vars)
}

// WriteTemplate writes a text/template to a file, whole or not at all: a reader
// never sees half of it. A variable that is missing fails the test.
func WriteTemplate(t testing.TB, path, text string, vars map[string]any) {
	t.Helper()
	tmpl, err := template.New(filepath.Base(path)).Option("missingkey=error").Parse(text)
	if err != nil {
		t.Fatalf("testkit: %v", err)
	}
	var out bytes.Buffer
	if err := tmpl.Execute(&out, vars); err != nil {
		t.Fatalf("testkit: %v", err)
	}
	if err := os.WriteFile(path+".new", out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

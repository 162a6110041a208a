package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sluice/admin"
	"sluice/auth"
	"sluice/conf"
	"sluice/limiter"
	"sluice/proxy"
	"sluice/proxy/upstream"
	"sluice/telemetry"
	"sluice/tls/policy"
)

// app is the running gateway: every room, built once and introduced to the
// others here.
type app struct {
	started time.Time
	log     *slog.Logger
	level   *slog.LevelVar
	token   conf.Secret

	metrics   *telemetry.Metrics
	health    *telemetry.Health
	access    *telemetry.AccessLog
	keys      *auth.KeyStore
	limits    *limiter.Limiter
	upstreams *upstream.Registry
	gateway   *proxy.Gateway
	listeners *proxy.Listeners
	certs     *certStore
	reloader  *reloader

	adminSocket net.Listener
	adminServer *http.Server
	phases      []phase
}

// newApp builds the rooms for doc, from the ground up. It starts nothing.
func newApp(doc *conf.Document, log *slog.Logger, level *slog.LevelVar) (*app, error) {
	a := &app{started: time.Now(), log: log, level: level}

	// Ground: what happened.
	a.health = new(telemetry.Health)
	a.metrics = telemetry.NewMetrics(telemetry.MetricsOptions{})
	if err := os.MkdirAll(doc.Node.DataDir, 0o755); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	var err error
	a.access, err = telemetry.OpenAccessLog(telemetry.AccessLogOptions{
		File:    doc.Logs.Access.File,
		Keep:    doc.Logs.Access.Keep.Std(),
		MaxSize: int64(doc.Logs.Access.MaxSize),
		Node:    doc.Node.Name,
		Logger:  log,
	})
	if err != nil {
		return nil, fmt.Errorf("open access log: %w", err)
	}
	if a.token, err = operatorToken(doc); err != nil {
		return nil, err
	}

	// Engines.
	a.keys = auth.NewKeyStore(auth.KeyStoreOptions{Logger: log})
	a.limits = limiter.New(limiter.Options{})
	a.certs = newCertStore(log)
	a.upstreams = upstream.NewRegistry(upstream.Options{TLS: upstreamTLS, Log: log})

	// The road.
	a.gateway = proxy.New(proxy.Deps{
		Limiter: a.limits, Keys: a.keys, Upstreams: a.upstreams,
		Metrics: a.metrics, AccessLog: a.access, Health: a.health, Log: log,
	})
	a.listeners = proxy.NewListeners(a.gateway, proxy.Sockets{Listen: listen, TLS: a.certs.config}, log)
	a.reloader = &reloader{path: doc.File(), log: log, apply: a.apply, inForce: doc}
	a.collect()

	a.phases = []phase{
		a.background("access log", a.access.Run, 5*time.Second),
		a.background("limiter", a.limits.Run, time.Second),
		a.background("keys", a.keys.Run, time.Second),
		a.background("upstreams", a.upstreams.Run, time.Second),
		a.background("certificates", a.certs.Run, time.Second),
		{"admin", a.startAdmin, a.stopAdmin, 2 * time.Second},
		{"proxy", a.startProxy, a.drain, doc.Node.DrainTimeout.Std() + 2*time.Second},
		a.background("configuration", a.reloader.Run, time.Second),
	}
	return a, nil
}

// background is the phase of a room that runs in a goroutine of its own.
func (a *app) background(name string, run func(context.Context) error, grace time.Duration) phase {
	var r *runner
	return phase{name,
		func(context.Context) error { r = goRun(run); return nil },
		func(ctx context.Context) error { return r.stop(ctx) },
		grace}
}

// apply puts doc in force, or says why not and changes nothing.
func (a *app) apply(doc *conf.Document) conf.Problems {
	revision, problems := a.gateway.Compile(doc)
	if problems.Err() != nil {
		return problems
	}
	prepared, problems := a.listeners.Prepare(doc)
	if problems.Err() != nil {
		return problems
	}
	a.level.Set(logLevel(doc.Logs.Level))
	a.gateway.Apply(revision)
	a.listeners.Commit(prepared)
	a.certs.retain(doc)
	return a.needRestart(doc)
}

// needRestart warns of changes that only a restart applies.
func (a *app) needRestart(doc *conf.Document) (warnings conf.Problems) {
	was := a.reloader.inForce
	for path, same := range map[string]bool{
		"node.name":     was.Node.Name == doc.Node.Name,
		"node.data_dir": was.Node.DataDir == doc.Node.DataDir,
		"admin.address": was.Admin.Address == doc.Admin.Address,
		"admin.token":   was.Admin.Token == doc.Admin.Token,
		"logs.access":   was.Logs.Access == doc.Logs.Access,
	} {
		if !same {
			warnings = append(warnings, conf.Problem{Position: doc.Pos(path), Path: path, Severity: conf.SeverityWarning,
				Message: "changed, which takes effect with the next start"})
		}
	}
	warnings.Sort()
	return warnings
}

// keyWait is how long the start waits for the issuers' keys: a node that says
// ready should not refuse the first tokens, but an issuer that is down must not
// keep a node down.
const keyWait = 5 * time.Second

func (a *app) startProxy(ctx context.Context) error {
	if problems := a.apply(a.reloader.inForce); problems.Err() != nil {
		return problems.Err()
	}
	wait, cancel := context.WithTimeout(ctx, keyWait)
	defer cancel()
	if err := a.keys.AwaitKeys(wait); err != nil {
		a.log.Warn("not every issuer's keys are there yet; their tokens are refused until then", telemetry.KeyError, err)
	}
	a.health.Set("starting", nil)
	return nil
}

// drain stops taking traffic and lets what is under way finish.
func (a *app) drain(ctx context.Context) error {
	a.health.Set("draining", errors.New("this node is stopping"))
	limit, cancel := context.WithTimeout(ctx, a.reloader.inForce.Node.DrainTimeout.Std())
	defer cancel()
	go func() { // tunnels end by themselves or when the time is up
		<-limit.Done()
		a.gateway.CloseTunnels()
	}()
	return a.listeners.Shutdown(limit)
}

func (a *app) startAdmin(context.Context) error {
	a.health.Set("starting", errors.New("the node is starting"))
	doc := a.reloader.inForce
	socket, err := listen("tcp", doc.Admin.Address)
	if err != nil {
		return fmt.Errorf("%s: %w", doc.Pos("admin.address"), err)
	}
	a.adminSocket = socket
	a.adminServer = &http.Server{
		Handler: admin.New(admin.Deps{
			Token: a.token, Metrics: a.metrics, Health: a.health, Log: a.log,
			Status: a.status, Config: a.effective, Reload: a.reloader.Reload,
		}),
		ReadHeaderTimeout: 5 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := a.adminServer.Serve(socket); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("admin listener failed", telemetry.KeyError, err)
		}
	}()
	return nil
}

func (a *app) stopAdmin(ctx context.Context) error {
	if err := a.adminServer.Shutdown(ctx); err != nil {
		return a.adminServer.Close()
	}
	return nil
}

func (a *app) effective() []byte {
	doc, _ := a.reloader.document()
	text, err := conf.Effective(doc)
	if err != nil {
		panic("BUG: the configuration in force cannot be rendered: " + err.Error())
	}
	return text
}

// upstreamTLS is how https upstreams are spoken to.
func upstreamTLS(c conf.UpstreamTLS, host string) (*tls.Config, error) {
	return policy.Client(&c, host)
}

// operatorToken returns the configured token, or the one kept in the data
// directory, made at the first start.
func operatorToken(doc *conf.Document) (conf.Secret, error) {
	if doc.Admin.Token != "" {
		return doc.Admin.Token, nil
	}
	path := tokenFile(doc)
	if data, err := os.ReadFile(path); err == nil && len(strings.TrimSpace(string(data))) >= 20 {
		return conf.Secret(strings.TrimSpace(string(data))), nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read operator token: %w", err)
	}
	token := rand.Text() + rand.Text()
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep operator token: %w", err)
	}
	return conf.Secret(token), nil
}

func tokenFile(doc *conf.Document) string { return filepath.Join(doc.Node.DataDir, "admin.token") }

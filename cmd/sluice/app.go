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
	"reflect"
	"strings"
	"time"

	"sluice/auth"
	"sluice/cluster/facts"
	"sluice/conf"
	"sluice/limiter"
	"sluice/proxy"
	"sluice/proxy/upstream"
	"sluice/telemetry"
	"sluice/tls/policy"
	"sluice/waf/bans"
	"sluice/waf/detector"
	"sluice/waf/event"
	"sluice/waf/geo"
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
	logs      *logs
	facts     *facts.Store
	bans      *bans.Book
	detector  *detector.Detector
	events    *event.Log
	places    *geo.Files
	keys      *auth.KeyStore
	limits    *limiter.Limiter
	upstreams *upstream.Registry
	gateway   *proxy.Gateway
	listeners *proxy.Listeners
	certs     *certStore
	reloader  *reloader
	gossip    *gossip
	policies  *policies
	staff     *staff
	traffic   *traffic

	adminSocket net.Listener
	adminServer *http.Server

	line     *lineage
	sockets  sockets
	held     *limiter.Handover // under way; nil: none
	upgrader *upgrader
	past     *ledger       // of the predecessor
	joined   chan struct{} // closed when the cluster has been joined, or there is none
	idle     time.Duration // how long idle connections may still send a request

	phases []phase
}

// newApp builds the rooms for doc, from the ground up. It starts nothing.
func newApp(doc *conf.Document, log *slog.Logger, level *slog.LevelVar, line *lineage) (*app, error) {
	a := &app{started: time.Now(), log: log, level: level, line: line, sockets: sockets{line.upgrades.Fds}, idle: stopIdle, joined: make(chan struct{})}

	// Ground: what happened.
	a.health = new(telemetry.Health)
	a.metrics = telemetry.NewMetrics(telemetry.MetricsOptions{})
	if err := os.MkdirAll(doc.Node.DataDir, 0o755); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	var err error
	if a.logs, err = openLogs(doc, line.generation, log); err != nil {
		return nil, err
	}
	if a.token, err = operatorToken(doc); err != nil {
		return nil, err
	}

	// Engines.
	if a.facts, err = openFacts(doc, line, log); err != nil {
		return nil, err
	}
	a.newGuard()
	a.keys = auth.NewKeyStore(auth.KeyStoreOptions{Logger: log})
	a.gossip = newGossip(doc, a.facts, line, log)
	a.traffic = newTraffic(doc.Node.Name, a.metrics.Live().Store(), a.gossip)
	if a.limits, err = a.newLimits(doc); err != nil {
		return nil, err
	}
	a.gossip.books.limits = a.limits
	a.gossip.meta = func() []byte { return nodeMeta(a.limits.Fingerprint(), a.gossip.id) }
	a.certs = newCertStore(log)
	a.upstreams = upstream.NewRegistry(upstream.Options{TLS: upstreamTLS, Log: log})

	// The road.
	a.gateway = proxy.New(proxy.Deps{
		Limiter: a.limits, Keys: a.keys, Upstreams: a.upstreams,
		Metrics: a.metrics, AccessLog: a.logs.access, Payloads: a.logs.captures.recorder, Health: a.health,
		Bans: a.bans, Places: a.places, Detector: a.detector, Events: a.events, Log: log, LimitsRevision: (&limitsRevisions{facts: a.facts, log: log}).of,
	})
	a.listeners = proxy.NewListeners(a.gateway, proxy.Sockets{Listen: a.sockets.listen, TLS: a.certs.config}, log)
	a.reloader = &reloader{path: doc.File(), log: log, apply: a.apply, inForce: doc}
	if err := a.newPolicies(doc); err != nil {
		return nil, err
	}
	if a.staff, err = newStaff(doc.Admin.OIDC, auth.KeyStoreOptions{Logger: log}); err != nil {
		return nil, err
	}
	a.upgrader = newUpgrader(a, ledgerFile(doc))
	line.again = a.upgrader.request
	line.takeEarly(a.parts(), log)
	a.logs.captures.follow(a.facts)
	a.collect()

	a.phases = []phase{
		a.background("logs", a.logs.Run, 5*time.Second),
		a.background("metrics", a.metrics.Run, time.Second),
		a.background("facts", a.facts.Run, 2*time.Second),
		a.background("operators' keys", a.staff.Run, time.Second),
		a.background("policies", a.policies.Run, 3*time.Second),
		a.background("keys", a.keys.Run, time.Second),
		a.background("upstreams", a.upstreams.Run, time.Second),
		a.background("certificates", a.certs.Run, time.Second),
		{"cluster", func(context.Context) error { return a.gossip.bind() }, a.gossip.stop, 6 * time.Second},
		a.background("places", a.places.Run, time.Second),
		a.background("detector", a.detector.Run, time.Second),
		a.background("limiter", a.runLimits, 5*time.Second), // before gossip stops, by which it gives back
		{"limits on disk", a.recoverLimits, nil, 0},
		{"admin", a.startAdmin, a.stopAdmin, 2 * time.Second},
		a.background("predecessor", func(ctx context.Context) error { return line.attend(ctx, a.limits.Answer, log) }, time.Second),
		{"proxy", a.startProxy, a.drain, doc.Node.DrainTimeout.Std() + drainMargin},
		a.background("configuration", a.reloader.Run, time.Second),
		a.background("upgrades", a.upgrader.Run, time.Second),
		a.background("limits' health", a.watchLimits, time.Second),
		a.background("readiness", a.sayReady, time.Second),
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
	a.logs.captures.apply(doc)
	a.listeners.Commit(prepared)
	a.certs.retain(doc)
	return a.needRestart(doc)
}

// needRestart warns of changes that only a restart applies.
func (a *app) needRestart(doc *conf.Document) (warnings conf.Problems) {
	was := a.reloader.inForce
	for path, same := range map[string]bool{
		"node.name":        was.Node.Name == doc.Node.Name,
		"node.data_dir":    was.Node.DataDir == doc.Node.DataDir,
		"admin.address":    was.Admin.Address == doc.Admin.Address,
		"admin.token":      was.Admin.Token == doc.Admin.Token,
		"admin.oidc":       reflect.DeepEqual(was.Admin.OIDC, doc.Admin.OIDC),
		"logs.access":      was.Logs.Access == doc.Logs.Access,
		"logs.security":    was.Logs.Security == doc.Logs.Security,
		"logs.payload":     samePayloadFile(&was.Logs.Payload, &doc.Logs.Payload),
		"logs.redact":      reflect.DeepEqual(was.Logs.Redact, doc.Logs.Redact),
		"logs.outputs":     reflect.DeepEqual(was.Logs.Outputs, doc.Logs.Outputs),
		"cluster":          reflect.DeepEqual(was.Cluster, doc.Cluster),
		"redis":            reflect.DeepEqual(was.Redis, doc.Redis),
		"store":            reflect.DeepEqual(was.Store, doc.Store),
		"limits.durable":   was.Limits.Durable == doc.Limits.Durable,
		"limits.key":       was.Limits.Key == doc.Limits.Key,
		"limits.partition": was.Limits.Partition == doc.Limits.Partition,
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

// startProxy makes this process serve: when it can do everything else, it takes
// the place of its predecessor, if there is one, and then begins to accept.
func (a *app) startProxy(ctx context.Context) error {
	doc := a.reloader.inForce
	revision, problems := a.gateway.Compile(doc)
	if problems.Err() != nil {
		return problems.Err()
	}
	prepared, problems := a.listeners.Prepare(doc)
	if problems.Err() != nil {
		return problems.Err()
	}
	a.gateway.Apply(revision)
	a.logs.captures.apply(doc)
	wait, cancel := context.WithTimeout(ctx, keyWait)
	defer cancel()
	if err := a.keys.AwaitKeys(wait); err != nil {
		a.log.Warn("not every issuer's keys are there yet; their tokens are refused until then", telemetry.KeyError, err)
	}
	if err := a.policies.await(ctx); err != nil {
		prepared.Close()
		return err
	}
	if a.line.wire != nil { // a place is taken in health
		a.health.Set("starting", nil)
	}
	if err := a.takePlace(ctx); err != nil {
		prepared.Close()
		return err
	}
	switch err := a.gossip.join(nil); {
	case err != nil && a.line.wire == nil:
		prepared.Close()
		return err
	case err != nil: // the predecessor is gone: serving alone is better than not at all
		a.log.Error("this node is in no cluster", telemetry.KeyError, err)
		a.health.Set("cluster", err)
	}
	close(a.joined)
	a.listeners.Commit(prepared)
	a.upgrader.begin(a.past)
	a.health.Set("starting", nil) // last: who sees it may send requests, and signals to the pid
	return nil
}

// takePlace takes over from the predecessor, once this process is healthy.
func (a *app) takePlace(ctx context.Context) (err error) {
	if a.line.wire == nil {
		a.sayPID()
		return a.line.upgrades.Ready()
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for said := false; ; { // the predecessor bounds this, by node.upgrade_timeout
		ready, reasons := a.health.Ready()
		if ready {
			break
		}
		if !said {
			said = true
			a.log.Info("taking over has to wait for health", telemetry.KeyReason, fmt.Sprint(reasons))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if a.past, err = a.line.takeOver(a.parts(), a.log); err != nil {
		return err
	}
	a.facts.Thaw()
	a.persistLimits(ctx)
	close(a.line.taken)
	a.sayPID()
	a.serveAdmin()
	return nil
}

// sayPID writes the pid file.
func (a *app) sayPID() {
	path := pidFile(a.reloader.inForce)
	if err := writePID(path); err != nil {
		a.log.Warn("pid file not written", telemetry.KeyFile, path, telemetry.KeyError, err)
	}
}

// Times of a drain.
const (
	// stopIdle and upgradeIdle are how long connections that wait for a request are
	// left to send one, at most half of node.drain_timeout. With a successor, a
	// client that comes late loses nothing by being asked to come again.
	stopIdle    = time.Second
	upgradeIdle = 5 * time.Second
	// drainMargin is what streams have, after node.drain_timeout, to end in the way
	// of their protocol.
	drainMargin = 2 * time.Second
)

// drain stops taking traffic and lets what is under way finish.
func (a *app) drain(ctx context.Context) error {
	limit := a.reloader.inForce.Node.DrainTimeout.Std()
	end := time.AfterFunc(limit, a.gateway.EndStreams)
	defer end.Stop()
	ctx, cancel := context.WithTimeout(ctx, limit+drainMargin*3/4)
	defer cancel()
	err := a.listeners.Drain(ctx, min(a.idle, limit/2))
	a.gateway.AwaitStreams(ctx)
	return err
}

func (a *app) startAdmin(context.Context) error {
	a.health.Set("starting", errors.New("the node is starting"))
	a.limitsPending()
	doc := a.reloader.inForce
	socket, err := a.sockets.listen("tcp", doc.Admin.Address)
	if err != nil {
		return fmt.Errorf("%s: %w", doc.Pos("admin.address"), err)
	}
	a.adminSocket = socket
	a.adminServer = &http.Server{
		Handler:           a.newAdmin(),
		ReadHeaderTimeout: 5 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	if a.line.wire == nil { // else the predecessor still answers
		a.serveAdmin()
	}
	return nil
}

func (a *app) serveAdmin() {
	go func() {
		if err := a.adminServer.Serve(a.adminSocket); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("admin listener failed", telemetry.KeyError, err)
		}
	}()
}

func (a *app) stopAdmin(ctx context.Context) error {
	defer a.adminSocket.Close() // when it was never served
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

package rig

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"text/template"
	"time"

	"sluice/internal/decisionlog"
	"sluice/internal/issuer"
	"sluice/loadtest/compare/proc"
	"sluice/loadtest/compare/responder"
	"sluice/loadtest/limits/oracle"
	"sluice/loadtest/limits/redisd"
	"sluice/loadtest/limits/traffic"
)

// Options describe a cluster.
type Options struct {
	Label   string // its name in tables
	Binary  string // built with the tag drill; see Build
	Dir     string // for configurations, logs and decisions
	Network *Network
	Nodes   int
	Window  time.Duration
	Limits  []int64        // of the tiers: a tenant's limit is the name of its tier
	Redis   *redisd.Server // nil: home nodes keep the quotas
	// Partition is limits.partition. Default: strict
	Partition string
	// Bug is one that the nodes are given, see package limiter; empty: none.
	Bug string
	// Log is the nodes' log level. Default: info
	Log string
}

// Cluster is a running cluster. Ask may be called by many goroutines, the rest by
// one at a time.
type Cluster struct {
	o        Options
	Answers  Answers
	secret   string
	issuer   *issuer.Issuer
	stop     context.CancelFunc
	upstream string
	stopped  chan struct{}

	nodes    []*node
	plan     *traffic.Plan
	requests atomic.Pointer[[][]byte] // by tenant
	read     map[string]int           // decisions taken from each file
	latency  sync.Map                 // of flows: *latencies
}

// node is one gateway.
type node struct {
	name, dir             string
	listen, admin, gossip string
	process               *proc.Process
	client                *client
	down                  atomic.Bool
	gossipBefore          int64 // bytes sent by earlier processes
	gossipSeen            int64 // at the last look
}

// Build builds the gateway with the tag drill into dir and returns its path.
// SLUICE_DRILL_BINARY names one to use instead.
func Build(dir string) (string, error) {
	if path := os.Getenv("SLUICE_DRILL_BINARY"); path != "" {
		return path, nil
	}
	path := filepath.Join(dir, "sluice-drill")
	cmd := exec.Command("go", "build", "-pgo=off", "-tags", "drill", "-o", path, "sluice/cmd/sluice")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return path, nil
}

var config = template.Must(template.New("sluice.yaml").Parse(`node: {name: {{.Name}}, data_dir: {{.Dir}}/data}
listeners: [{address: "{{.Listen}}"}]
admin: {address: "{{.Admin}}", token: rig-operator-token-0123456789}
auth:
  issuers: [{issuer: "{{.Issuer}}", audience: "{{.Audience}}", jwks_url: "file://{{.JWKS}}", tier_claim: "{{.TierClaim}}"}]
tiers:
{{- range .Limits}}
  "{{.}}": {requests: {{.}}, per: {{$.Window}}}
{{- end}}
limits: {default_tier: "{{index .Limits 0}}", partition: {{.Partition}}}
{{- if .Redis}}
redis: {addresses: ["{{.Redis}}"]}
{{- end}}
cluster: {bind: "{{.Gossip}}", join: [{{.Join}}], secret: "{{.Secret}}", nodes: {{.Nodes}}}
services: {app: {upstreams: ["http://{{.Upstream}}"]}}
routes: [{path: /*, service: app}]
logs: {level: {{.Log}}, access: {file: "off"}}
`))

// Start starts a cluster and waits until every node may be sent traffic.
func Start(o Options) (_ *Cluster, err error) {
	if o.Partition == "" {
		o.Partition = "strict"
	}
	if o.Log == "" {
		o.Log = "info"
	}
	c := &Cluster{o: o, read: map[string]int{}, stopped: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	if c.upstream, err = o.Network.HostAddress(); err != nil {
		close(c.stopped)
		return nil, err
	}
	server, err := responder.Listen(c.upstream, map[string][]byte{"/": []byte(`{"ok":true}`)})
	if err != nil {
		close(c.stopped)
		return nil, err
	}
	go func() {
		defer close(c.stopped)
		server.Run(ctx) //nolint:errcheck // then requests fail, and are counted
	}()
	if err := os.MkdirAll(c.decisions(), 0o755); err != nil {
		return nil, err
	}
	private, err := issuer.Generate(issuer.ES256)
	if err != nil {
		return nil, err
	}
	key, err := issuer.NewKey(private)
	if err != nil {
		return nil, err
	}
	if c.issuer, err = issuer.New(issuer.Options{Keys: []issuer.Key{key}}); err != nil {
		return nil, err
	}
	if err := os.WriteFile(c.jwks(), c.issuer.JWKS(), 0o644); err != nil {
		return nil, err
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	c.secret = base64.StdEncoding.EncodeToString(secret)
	for i := range o.Nodes {
		n := &node{name: fmt.Sprintf("gw-%d", i), dir: filepath.Join(o.Dir, fmt.Sprintf("gw-%d", i))}
		for to, port := range map[*string]string{&n.listen: "8080", &n.admin: "9090", &n.gossip: "7946"} {
			if *to, err = o.Network.address(i, port); err != nil {
				return nil, err
			}
		}
		n.client = newClient(n.listen)
		c.nodes = append(c.nodes, n)
	}
	for i := range c.nodes {
		if err := c.launch(i); err != nil {
			return nil, err
		}
	}
	for i := range c.nodes {
		if err := c.ready(i, time.Minute); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Cluster) decisions() string { return filepath.Join(c.o.Dir, "decisions") }
func (c *Cluster) jwks() string      { return filepath.Join(c.o.Dir, "jwks.json") }

// launch starts the process of a node.
func (c *Cluster) launch(i int) error {
	n := c.nodes[i]
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return err
	}
	redis := ""
	if c.o.Redis != nil {
		redis = c.o.Redis.Address
	}
	var join []string
	for _, other := range c.nodes {
		if other != n {
			join = append(join, `"`+other.gossip+`"`)
		}
	}
	var text bytes.Buffer
	err := config.Execute(&text, map[string]any{
		"Name": n.name, "Dir": n.dir, "Listen": n.listen, "Admin": n.admin, "Gossip": n.gossip, "Join": strings.Join(join, ", "),
		"Issuer": c.issuer.URL(), "Audience": c.issuer.Audience(), "JWKS": c.jwks(), "TierClaim": issuer.TierClaim,
		"Limits": c.o.Limits, "Window": c.o.Window, "Partition": c.o.Partition, "Redis": redis, "Secret": c.secret,
		"Nodes": c.o.Nodes, "Upstream": c.upstream, "Log": c.o.Log,
	})
	if err != nil {
		return err
	}
	path := filepath.Join(n.dir, "sluice.yaml")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(n.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	n.process, err = proc.Start(proc.Spec{
		Args: c.o.Network.command(i, c.o.Binary, "serve", "--config", path), Dir: n.dir, Output: log,
		Env: []string{"SLUICE_DRILL_LOG=" + c.decisions(), "SLUICE_DRILL_BUG=" + c.o.Bug},
	})
	return err
}

// ready waits until a node may be sent traffic.
func (c *Cluster) ready(i int, within time.Duration) error {
	n := c.nodes[i]
	end := time.Now().Add(within)
	for {
		body, err := n.get("/readyz")
		if err == nil {
			return nil
		}
		select {
		case <-n.process.Ended():
			return fmt.Errorf("%s has ended (%w); its log:\n%s", n.name, n.process.Err(), n.tail())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s is not ready after %v: %w %s; its log:\n%s", n.name, within, err, body, n.tail())
		}
	}
}

var http1 = &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// get asks the admin listener.
func (n *node) get(path string) (string, error) {
	resp, err := http1.Get("http://" + n.admin + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return string(body), err
}

// tail is the end of the node's log.
func (n *node) tail() string {
	text, err := os.ReadFile(filepath.Join(n.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// Name is the cluster's name.
func (c *Cluster) Name() string { return c.o.Label }

// Begin makes tokens for the tenants of a plan.
func (c *Cluster) Begin(p *traffic.Plan, _ time.Time) error {
	requests := make([][]byte, len(p.Tenants))
	for i, t := range p.Tenants {
		token, err := c.issuer.Token(issuer.Claims{Tenant: t.Name, Tier: fmt.Sprint(t.Limit), TTL: 12 * time.Hour})
		if err != nil {
			return err
		}
		requests[i] = []byte("GET / HTTP/1.1\r\nHost: rig\r\nAuthorization: Bearer " + token + "\r\n\r\n")
	}
	c.plan = p
	c.latency.Clear()
	for i := range p.Flows {
		c.latency.Store(i, &latencies{})
	}
	c.requests.Store(&requests)
	return nil
}

// Ask sends a request to its node, or to the next when that is down, as a load
// balancer would.
func (c *Cluster) Ask(r traffic.Request) {
	i := r.Node
	for range c.nodes {
		if !c.nodes[i].down.Load() {
			break
		}
		i = (i + 1) % len(c.nodes)
	}
	begin := time.Now()
	status, err := c.nodes[i].client.ask((*c.requests.Load())[r.Tenant])
	if err != nil && c.nodes[i].down.Load() {
		return // killed under it
	}
	c.Answers.note(status, err)
	if l, ok := c.latency.Load(c.plan.Tenants[r.Tenant].Flow); ok {
		l.(*latencies).add(time.Since(begin))
	}
}

// Latencies returns how long clients of a flow have waited since Begin, by quantile.
func (c *Cluster) Latencies(flow int, q ...float64) []time.Duration {
	l, _ := c.latency.Load(flow)
	return l.(*latencies).quantiles(q...)
}

// Decisions returns those since it was last called.
func (c *Cluster) Decisions() (all []oracle.Decision, err error) {
	files, err := filepath.Glob(filepath.Join(c.decisions(), "*.decisions"))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		list, slots, lost, err := decisionlog.Read(f, c.read[f])
		if err != nil {
			return nil, err
		}
		if lost > 0 {
			return nil, fmt.Errorf("%d decisions did not fit into %s", lost, f)
		}
		c.read[f] = slots
		all = append(all, list...)
	}
	return all, nil
}

// GossipBytes is what the nodes have sent each other so far.
func (c *Cluster) GossipBytes() (sum int64, err error) {
	for _, n := range c.nodes {
		if !n.down.Load() {
			v, err := n.metric(`sluice_gossip_bytes_total{direction="out"}`)
			if err != nil {
				return 0, err
			}
			n.gossipSeen = int64(v)
		}
		sum += n.gossipBefore + n.gossipSeen
	}
	return sum, nil
}

// metric reads one sample of a node's metrics, 0 when there is none.
func (n *node) metric(name string) (value float64, err error) {
	text, err := n.get("/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			_, err := fmt.Sscanf(rest, "%g", &value)
			return value, err
		}
	}
	return 0, nil
}

// KillNode ends a node at once, as a crash would.
func (c *Cluster) KillNode(i int) error {
	n := c.nodes[i]
	n.down.Store(true)
	err := syscall.Kill(n.process.PID(), syscall.SIGKILL)
	<-n.process.Ended()
	n.client.close()
	n.gossipBefore += n.gossipSeen
	n.gossipSeen = 0
	return err
}

// StartNode starts a node that was killed, and sends it requests once it is ready.
func (c *Cluster) StartNode(i int) error {
	if err := c.launch(i); err != nil {
		return err
	}
	if err := c.ready(i, time.Minute); err != nil {
		return err
	}
	c.nodes[i].down.Store(false)
	return nil
}

// PauseNode stops a node's process where it is. Clients go on sending to it, unless
// away.
func (c *Cluster) PauseNode(i int, away bool) error {
	c.nodes[i].down.Store(away)
	return syscall.Kill(c.nodes[i].process.PID(), syscall.SIGSTOP)
}

// ContinueNode lets it go on, as if it had slept.
func (c *Cluster) ContinueNode(i int) error {
	err := syscall.Kill(c.nodes[i].process.PID(), syscall.SIGCONT)
	c.nodes[i].down.Store(false)
	return err
}

// CutGossip cuts a node off from the others; Redis is in reach of all.
func (c *Cluster) CutGossip(node int) error { return c.o.Network.CutGossip(node) }

// HealGossip ends it.
func (c *Cluster) HealGossip() error { return c.o.Network.Heal() }

// Stop ends everything.
func (c *Cluster) Stop() {
	var all sync.WaitGroup
	for _, n := range c.nodes {
		if n.process != nil {
			all.Go(func() {
				select {
				case <-n.process.Ended():
				default:
					syscall.Kill(n.process.PID(), syscall.SIGCONT) //nolint:errcheck // it may have ended
				}
				n.process.Stop(10 * time.Second)
			})
		}
		n.client.close()
	}
	all.Wait()
	c.stop()
	<-c.stopped
}

// Failures says what clients were told that is neither 200 nor 429, nil for nothing.
func (c *Cluster) Failures() error {
	if n := c.Answers.Other.Load() + c.Answers.Failed.Load(); n > 0 {
		return errors.Join(fmt.Errorf("%d answers were neither 200 nor 429, the last", n), c.Answers.Last())
	}
	return nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"sluice/internal/issuer"
)

// demo is everything that the demo runs and tells.
type demo struct {
	Dir              string
	Issuer, Upstream int // ports
	Nodes            []demoPorts
	Redis            string // host:port; empty: none
	Secret           string // of the gossip
	out              io.Writer
	color            bool
}

// Cluster reports whether there are several nodes.
func (d *demo) Cluster() bool { return len(d.Nodes) > 1 }

// First is the node that the configuration is of when nothing else is said.
func (d *demo) First() demoPorts { return d.Nodes[0] }

// demoFile is demo.json: the demo's addresses and tokens, for scripts.
type demoFile struct {
	Gateway  string            `json:"gateway"`
	Admin    string            `json:"admin"`
	Issuer   string            `json:"issuer"`
	Upstream string            `json:"upstream"`
	Redis    string            `json:"redis,omitempty"`
	Token    string            `json:"admin_token_file"`
	Tokens   map[string]string `json:"tokens"`
	Steps    []demoStep        `json:"steps"`
	Nodes    []demoNode        `json:"nodes"`
}

// demoStep is one thing to try.
type demoStep struct {
	Title   string `json:"title"`
	Command string `json:"command"` // as it stands, tokens included
	Expect  string `json:"expect"`  // what it shows

	short string // Command with a shell variable for the token
}

// tokenLife is how long the printed tokens are good for.
const tokenLife = 24 * time.Hour

const demoAudience = "https://api.sluice.example"

func newDemo() *cobra.Command {
	var d demo
	var base, nodes int
	var redis string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a cluster, a service and a token issuer on this machine, to try sluice",
		Long: `demo needs no other software. It starts a small service that answers with what it
received, a local token issuer with real keys, and three gateway nodes in front of
them, which share quotas; it prints curl lines to copy, and writes its
configuration, addresses and tokens into a directory. A node that ends, or is
killed, is started again. Ctrl-C stops everything.

When a Redis answers on 127.0.0.1:6379 the nodes use it, under keys that begin with
"sluice:demo"; without one they keep the books of quotas themselves.`,
		Example: "  sluice demo\n  sluice demo --nodes 1\n  sluice demo --dir /tmp/demo --port-base 18000",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if nodes < 1 || nodes > maxDemoNodes {
				return usageError{fmt.Errorf("--nodes %d: it is 1 to %d", nodes, maxDemoNodes)}
			}
			if !cmd.Flags().Changed("port-base") {
				base = 0
			} else if n := demoPortCount(nodes); base < 1 || base > 65536-n {
				return usageError{fmt.Errorf("--port-base %d: %d ports from it must lie between 1 and 65535", base, n)}
			}
			d.givePorts(nodes, base)
			d.out, d.color = cmd.OutOrStdout(), isTerminal(os.Stdout)
			if d.Cluster() {
				var err error
				if d.Redis, err = findRedis(cmd.Context(), redis); err != nil {
					return err
				}
			}
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&d.Dir, "dir", "demo-data", "directory for the demo's configuration, tokens and logs")
	cmd.Flags().IntVar(&nodes, "nodes", 3, "how many gateway nodes")
	cmd.Flags().IntVar(&base, "port-base", 0, "use ports from this one on instead of 8080, 9090, 7946 (and those after them), 9099 and 9098")
	cmd.Flags().StringVar(&redis, "redis", "auto", "host:port of a Redis, off, or auto: the one on 127.0.0.1:6379 if it is there")
	return cmd
}

// run starts the parts from the ground up and stops them when a signal comes
// or one of them fails.
func (d *demo) run(ctx context.Context) error {
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := d.portsFree(); err != nil {
		return err
	}
	if err := d.prepare(); err != nil {
		return err
	}
	tokens, err := issuer.New(issuer.Options{URL: d.url(d.Issuer) + "/", Audience: demoAudience})
	if err != nil {
		return fmt.Errorf("make the issuer: %w", err)
	}
	failed := make(chan error, 3) // one for each part
	for port, handler := range map[int]http.Handler{d.Issuer: tokens, d.Upstream: http.HandlerFunc(echo)} {
		stop, err := d.serve(port, handler, failed)
		if err != nil {
			return err
		}
		defer stop()
	}
	nodes := &demoNodes{d: d, failed: failed}
	defer nodes.stop()
	if err := nodes.start(); err != nil {
		return err
	}
	if d.Cluster() {
		fmt.Fprintf(d.out, "Starting %d nodes. They find each other and agree on who keeps the books of quotas; this takes a few seconds.\n", len(d.Nodes))
	}
	for _, n := range d.Nodes {
		if err := d.awaitReady(ctx, n, failed); err != nil {
			return err
		}
	}
	file, err := d.write(tokens)
	if err != nil {
		return err
	}
	d.guide(file)
	select {
	case <-ctx.Done():
		fmt.Fprintln(d.out, "\nStopping.")
		return nil
	case err := <-failed:
		return err
	}
}

func (d *demo) url(port int) string { return "http://127.0.0.1:" + strconv.Itoa(port) }

// portsFree tries every port first, so that the message names all that are taken.
func (d *demo) portsFree() error {
	var taken []string
	for _, port := range d.ports() {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			taken = append(taken, strconv.Itoa(port))
			continue
		}
		l.Close()
	}
	if len(taken) > 0 {
		return fmt.Errorf("in use on 127.0.0.1: port %s; choose others with --port-base, such as: sluice demo --port-base 18000", strings.Join(taken, ", "))
	}
	return nil
}

// serve runs handler on a loopback port until stop is called.
func (d *demo) serve(port int, handler http.Handler, failed chan<- error) (stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	s := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	return func() { s.Close(); <-done }, nil
}

// demoConfig is the configuration that the demo writes and its gateways run:
// an example to start one's own from.
var demoConfig = template.Must(template.New("sluice.yaml").Parse(`# The configuration of sluice demo. Change it while the demo runs: it is applied at once.
{{- if .Cluster}}
# One file for all nodes: variables tell them apart. Without any, it is the first node's;
# node-2.env and so on have those of the others.
node: {name: "demo-${NODE:-1}", data_dir: "{{.Dir}}/node-${NODE:-1}"}
listeners:
  - address: "127.0.0.1:${GATEWAY_PORT:-{{.First.Gateway}}}"
admin:
  address: "127.0.0.1:${ADMIN_PORT:-{{.First.Admin}}}"        # /metrics, /healthz, /readyz, the API
cluster:
  bind: "127.0.0.1:${GOSSIP_PORT:-{{.First.Gossip}}}"
  join: [{{range $i, $n := .Nodes}}{{if $i}}, {{end}}"127.0.0.1:{{$n.Gossip}}"{{end}}]
  secret: "{{.Secret}}"
  label: demo
  nodes: {{len .Nodes}}
{{- if .Redis}}
redis: {addresses: ["{{.Redis}}"]}          # keeps the books of quotas; when it is gone, the nodes do
{{- end}}
{{- else}}
node: {name: demo, data_dir: "{{.Dir}}/data"}
listeners:
  - address: "127.0.0.1:{{.First.Gateway}}"
admin:
  address: "127.0.0.1:{{.First.Admin}}"        # /metrics, /healthz, /readyz, the API
{{- end}}
store: {url: "sqlite://{{.Dir}}/sluice.db"}    # what sluice tenant, tier and key set; nodes on several machines share a PostgreSQL
auth:
  api_keys: {}                              # sluice key create --tenant acme --name try
  issuers:
    - issuer: "http://127.0.0.1:{{.Issuer}}/"
      audience: https://api.sluice.example
      tenant_claim: org_id
      tier_claim: https://sluice.example/tier
  super_admin_permission: platform:admin    # its holders are exempt from limits
tiers:
  standard:   {requests: 1000,  per: 1h}
  premium:    {requests: 5000,  per: 1h}
  enterprise: {requests: 10000, per: 1h}
limits:
  default_tier: standard
  anonymous: {requests: 1000, per: 1h}      # callers without a tenant, by address
services:
  echo:
    upstreams: ["http://127.0.0.1:{{.Upstream}}"]
routes:
  - {path: /api/*, service: echo}
  - {path: /api/admin/*, service: echo, require: [platform:admin]}
  - {path: /public/*, service: echo, auth: none}
logs: {access: {file: "{{if .Cluster}}{{.Dir}}/node-${NODE:-1}/access.log{{else}}{{.Dir}}/access.log{{end}}"}}
`))

func (d *demo) file(name string) string { return filepath.Join(d.Dir, name) }

// awaitReady waits until a gateway says that it may be sent traffic.
func (d *demo) awaitReady(ctx context.Context, n demoPorts, failed <-chan error) error {
	deadline := time.After(demoPatience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if r, err := http.Get(d.url(n.Admin) + "/readyz"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return fmt.Errorf("%s was not ready after %v; its log is %s", n.Name, demoPatience, n.log(d))
		}
	}
}

// demoPatience is for one node to get ready.
const demoPatience = 40 * time.Second

// write makes the tokens and writes demo.json.
func (d *demo) write(tokens *issuer.Issuer) (*demoFile, error) {
	first := d.First()
	f := &demoFile{
		Gateway: d.url(first.Gateway), Admin: d.url(first.Admin), Issuer: d.url(d.Issuer), Upstream: d.url(d.Upstream), Redis: d.Redis,
		Token:  filepath.Join(first.data(d), "admin.token"),
		Tokens: make(map[string]string),
	}
	for _, n := range d.Nodes {
		f.Nodes = append(f.Nodes, demoNode{
			Name: n.Name, Address: d.url(n.Gateway), Admin: d.url(n.Admin), PIDFile: n.pidFile(d), Log: n.log(d), Env: n.env(d),
		})
	}
	for name, c := range map[string]issuer.Claims{
		"standard":   {Tenant: "acme", Tier: "standard", Subject: "auth0|ann", TTL: tokenLife},
		"premium":    {Tenant: "globex", Tier: "premium", Subject: "auth0|bob", TTL: tokenLife},
		"enterprise": {Tenant: "initech", Tier: "enterprise", Subject: "auth0|eve", TTL: tokenLife},
		"admin":      {Tenant: "platform", Subject: "auth0|root", Permissions: []string{"platform:admin"}, TTL: tokenLife},
	} {
		token, err := tokens.Token(c)
		if err != nil {
			return nil, err
		}
		f.Tokens[name] = token
	}
	f.Steps = d.steps(f)
	body, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, err
	}
	return f, os.WriteFile(d.file("demo.json"), append(body, '\n'), 0o600)
}

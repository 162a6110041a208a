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
	"os/exec"
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

// demoPorts are where the parts of the demo listen.
type demoPorts struct{ Gateway, Admin, Issuer, Upstream int }

// defaultDemoPorts are those that the documentation shows.
var defaultDemoPorts = demoPorts{Gateway: 8080, Admin: 9090, Issuer: 9099, Upstream: 9098}

// demo is everything that the demo runs and tells.
type demo struct {
	Dir   string
	Ports demoPorts
	out   io.Writer
	color bool
}

// demoFile is demo.json: the demo's addresses and tokens, for scripts.
type demoFile struct {
	Gateway  string            `json:"gateway"`
	Admin    string            `json:"admin"`
	Issuer   string            `json:"issuer"`
	Upstream string            `json:"upstream"`
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

// demoNode is one gateway process.
type demoNode struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Admin   string `json:"admin"`
	PIDFile string `json:"pid_file"`
}

// tokenLife is how long the printed tokens are good for.
const tokenLife = 24 * time.Hour

const demoAudience = "https://api.sluice.example"

func newDemo() *cobra.Command {
	d := demo{Ports: defaultDemoPorts}
	var base int
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a gateway, a service and a token issuer on this machine, to try sluice",
		Long: `demo needs no other software. It starts a small service that answers with what it
received, a local token issuer with real keys, and a gateway in front of them; it
prints curl lines to copy, and writes its configuration, addresses and tokens into
a directory. Ctrl-C stops everything.`,
		Example: "  sluice demo\n  sluice demo --dir /tmp/demo --port-base 18000",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("port-base") {
				if base < 1 || base > 65532 {
					return usageError{fmt.Errorf("--port-base %d: four ports from it must lie between 1 and 65535", base)}
				}
				d.Ports = demoPorts{Gateway: base, Admin: base + 1, Issuer: base + 2, Upstream: base + 3}
			}
			d.out, d.color = cmd.OutOrStdout(), isTerminal(os.Stdout)
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&d.Dir, "dir", "demo-data", "directory for the demo's configuration, tokens and logs")
	cmd.Flags().IntVar(&base, "port-base", 0, "use the four ports from this one instead of 8080, 9090, 9099 and 9098")
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
	if err := os.MkdirAll(d.Dir, 0o755); err != nil {
		return fmt.Errorf("make the demo's directory: %w", err)
	}
	tokens, err := issuer.New(issuer.Options{URL: d.url(d.Ports.Issuer) + "/", Audience: demoAudience})
	if err != nil {
		return fmt.Errorf("make the issuer: %w", err)
	}
	failed := make(chan error, 3) // one for each part
	for port, handler := range map[int]http.Handler{d.Ports.Issuer: tokens, d.Ports.Upstream: http.HandlerFunc(echo)} {
		stop, err := d.serve(port, handler, failed)
		if err != nil {
			return err
		}
		defer stop()
	}
	gateway, err := d.startGateway(failed)
	if err != nil {
		return err
	}
	defer gateway.stop()
	if err := d.awaitReady(ctx, failed); err != nil {
		return err
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
	for _, port := range []int{d.Ports.Gateway, d.Ports.Admin, d.Ports.Issuer, d.Ports.Upstream} {
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

// demoConfig is the configuration that the demo writes and its gateway runs:
// an example to start one's own from.
var demoConfig = template.Must(template.New("sluice.yaml").Parse(`# The configuration of sluice demo. Change it while the demo runs: it is applied at once.
node: {name: demo, data_dir: "{{.Dir}}/data"}
listeners:
  - address: "127.0.0.1:{{.Ports.Gateway}}"
admin:
  address: "127.0.0.1:{{.Ports.Admin}}"        # /metrics, /healthz, /readyz, the API
auth:
  issuers:
    - issuer: "http://127.0.0.1:{{.Ports.Issuer}}/"
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
    upstreams: ["http://127.0.0.1:{{.Ports.Upstream}}"]
routes:
  - {path: /api/*, service: echo}
  - {path: /api/admin/*, service: echo, require: [platform:admin]}
  - {path: /public/*, service: echo, auth: none}
logs: {access: {file: "{{.Dir}}/access.log"}}
`))

// child is the gateway: a process and, after upgrades, those that took over from
// it. They all have one end of a socket as their standard input; the demo holds the
// other. So the gateway notices the end of the demo, however that comes, and the
// demo the end of the last process, whichever that is.
type child struct {
	life    *net.UnixConn
	ended   chan struct{} // the last process has
	pidFile string        // of the one that serves
}

// stop ends the gateway as its operator would, and by force if it does not end.
func (c *child) stop() {
	c.life.CloseWrite() //nolint:errcheck // it may have ended
	select {
	case <-c.ended:
	case <-time.After(10 * time.Second):
		if pid, err := readPID(c.pidFile); err == nil {
			syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may have ended
		}
	}
	c.life.Close()
}

// startGateway runs this binary as a gateway, in a process of its own, as in
// real life.
func (d *demo) startGateway(failed chan<- error) (*child, error) {
	abs, err := filepath.Abs(d.Dir)
	if err != nil {
		return nil, err
	}
	d.Dir = abs
	var text strings.Builder
	if err := demoConfig.Execute(&text, d); err != nil {
		return nil, err
	}
	path := d.file("sluice.yaml")
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(d.file("gateway.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	life, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := exec.Command(self, "serve", "--config", path, "--stop-with-stdin")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, log, log
	cmd.SysProcAttr = apart()
	if err := cmd.Start(); err != nil {
		life.conn.Close()
		return nil, fmt.Errorf("start the gateway: %w", err)
	}
	c := &child{life: life.conn.(*net.UnixConn), ended: make(chan struct{}), pidFile: d.file("data/sluice.pid")}
	first := make(chan error, 1)
	go func() { first <- cmd.Wait() }()
	go func() {
		defer close(c.ended)
		_, _ = io.Copy(io.Discard, c.life) // until no process has the other end
		if err := <-first; err != nil {
			failed <- fmt.Errorf("the gateway ended (%w); its log is %s", err, log.Name())
			return
		}
		failed <- fmt.Errorf("the gateway ended; its log is %s", log.Name())
	}()
	return c, nil
}

func (d *demo) file(name string) string { return filepath.Join(d.Dir, name) }

// awaitReady waits until the gateway says that it may be sent traffic.
func (d *demo) awaitReady(ctx context.Context, failed <-chan error) error {
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if r, err := http.Get(d.url(d.Ports.Admin) + "/readyz"); err == nil {
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
			return fmt.Errorf("the gateway was not ready after 20 s; its log is %s", d.file("gateway.log"))
		}
	}
}

// write makes the tokens and writes demo.json.
func (d *demo) write(tokens *issuer.Issuer) (*demoFile, error) {
	f := &demoFile{
		Gateway: d.url(d.Ports.Gateway), Admin: d.url(d.Ports.Admin), Issuer: d.url(d.Ports.Issuer), Upstream: d.url(d.Ports.Upstream),
		Token:  d.file("data/admin.token"),
		Tokens: make(map[string]string),
		Nodes: []demoNode{{Name: "demo", Address: d.url(d.Ports.Gateway), Admin: d.url(d.Ports.Admin),
			PIDFile: d.file("data/sluice.pid")}},
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

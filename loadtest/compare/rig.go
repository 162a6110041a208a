package main

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"golang.org/x/sys/unix"

	"sluice/loadtest/compare/proc"
)

//go:embed configs
var configs embed.FS

// quota is the limit of each tenant: counted at every request, never reached.
const quota = 1_000_000_000

// site is what a configuration is rendered with.
type site struct {
	Name        string // the contestant's; what it keeps begins with it
	Dir         string
	Host, Port  string // where it listens
	Address     string // both
	Upstream    string
	Admin       string // sluice's private listener
	AdminToken  string
	Log         string // access log; empty: none
	Verify      bool   // signatures
	Issuer      string
	Audience    string
	JWKS        string // file
	PublicKey   string // file
	Quota       int64
	CacheTokens int // 0: the default
	MaxConns    int

	config string // the rendered file
}

// rig is what every mode of this program stands on: a directory, credentials,
// the upstream, the programs, and what has been started of them.
type rig struct {
	dir         string
	credentials *credentials
	upstream    string
	programs    map[string]program
	proxyCPUs   []int // empty: not pinned
	loadCPUs    []int
	started     []*proc.Process
	reniced     bool // the session's task group outlives this process
}

// running is a contestant that is up.
type running struct {
	contestant
	site    site
	process *proc.Process // nil for the upstream itself
	tokens  []string
}

// machineOptions say how the machine is used; every mode has them as flags.
type machineOptions struct {
	sluice string
	pin    bool
	nice   int
}

func (o *machineOptions) flags(f *flag.FlagSet) {
	f.StringVar(&o.sluice, "sluice", "", "gateway `binary` (default: built from this module)")
	f.BoolVar(&o.pin, "pin", true, "bind the proxies to the first CPU and everything else to others")
	f.IntVar(&o.nice, "nice", 0, "nice `value` of everything measured; a negative one, as root, shields it from other work on the machine")
}

// newRig prepares everything for the contestants; close undoes it. A gateway is
// built when one of them is sluice and no binary is named.
func newRig(ctx context.Context, chosen []contestant, o machineOptions) (_ *rig, err error) {
	dir, err := os.MkdirTemp(scratch(), "compare-")
	if err != nil {
		return nil, err
	}
	r := &rig{dir: dir, programs: map[string]program{}}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	for name := range hints {
		r.programs[name] = findProgram(name)
	}
	if r.programs["wrk"].path == "" {
		return nil, errors.New("wrk makes the load and is missing: " + hints["wrk"])
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r.programs["self"] = program{path: self}
	wanted := slices.ContainsFunc(chosen, func(c contestant) bool { return c.program == "sluice" })
	sluice := o.sluice
	if sluice == "" && wanted {
		if sluice, err = buildSluice(ctx, dir); err != nil {
			return nil, err
		}
	}
	if sluice, err = filepath.Abs(sluice); err != nil {
		return nil, err
	}
	r.programs["sluice"] = program{path: sluice}
	if r.credentials, err = newCredentials(dir); err != nil {
		return nil, err
	}
	if o.pin {
		if err := r.pin(); err != nil {
			return nil, err
		}
	}
	if o.nice != 0 {
		if err := proc.Renice(o.nice); err != nil {
			return nil, err
		}
		r.reniced = true
	}
	return r, r.startUpstream(ctx)
}

// scratch is where the run keeps its files: in memory when there is room, so
// that no log waits for a disk; empty means the system's temporary directory.
func scratch() string {
	const memory, room = "/dev/shm", 2 << 30
	var fs unix.Statfs_t
	if unix.Statfs(memory, &fs) != nil || uint64(fs.Bsize)*fs.Bavail < room || unix.Access(memory, unix.W_OK) != nil {
		return ""
	}
	return memory
}

// pin gives the first CPU to the proxies and up to three others to load and
// upstream. A single CPU is shared by all.
func (r *rig) pin() error {
	cpus, err := proc.CPUs()
	if err != nil {
		return err
	}
	if len(cpus) < 2 {
		return nil
	}
	r.proxyCPUs, r.loadCPUs = cpus[:1], cpus[1:min(len(cpus), 4)]
	return proc.PinSelf(r.loadCPUs)
}

func (r *rig) startUpstream(ctx context.Context) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	r.upstream = address
	_, err = r.launch(ctx, "upstream", address, proc.Spec{Args: []string{r.programs["self"].path, responderCommand, address}, CPUs: r.loadCPUs})
	return err
}

// start renders a contestant's configuration, starts it and waits until it answers.
func (r *rig) start(ctx context.Context, c contestant) (*running, error) {
	run := &running{contestant: c, tokens: r.credentials.known}
	if c.distinct {
		run.tokens = r.credentials.distinct
	}
	if c.program == "" {
		run.site = site{Name: c.name, Address: r.upstream}
		return run, nil
	}
	if p := r.programs[c.program]; p.path == "" {
		return nil, fmt.Errorf("%w: %s", errMissing, p.hint)
	}
	var err error
	if run.site, err = r.site(c); err != nil {
		return nil, err
	}
	if err := run.site.render(c.config); err != nil {
		return nil, err
	}
	spec := proc.Spec{
		Args: append([]string{r.programs[c.program].path}, c.arguments(run.site)...),
		Dir:  r.dir, CPUs: r.proxyCPUs,
		Env: []string{"HOME=" + r.dir, "XDG_DATA_HOME=" + r.dir, "XDG_CONFIG_HOME=" + r.dir},
	}
	if c.program == "haproxy" && c.logs { // it logs to its standard output
		file, err := os.OpenFile(run.site.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) // it is emptied between rounds
		if err != nil {
			return nil, err
		}
		defer file.Close()
		spec.Stdout = file
	}
	if run.process, err = r.launch(ctx, c.name, run.site.Address, spec); err != nil {
		return nil, err
	}
	return run, nil
}

// errMissing is a program that this machine does not have.
var errMissing = errors.New("not installed")

// site fills in what the contestant's configuration needs.
func (r *rig) site(c contestant) (site, error) {
	address, err := freeAddress()
	if err != nil {
		return site{}, err
	}
	admin, err := freeAddress()
	if err != nil {
		return site{}, err
	}
	host, port, _ := strings.Cut(address, ":")
	s := site{
		Name: c.name, Dir: r.dir, Host: host, Port: port, Address: address, Upstream: r.upstream,
		Admin: admin, AdminToken: rand.Text(),
		Verify: c.verifies, Issuer: r.credentials.issuer, Audience: r.credentials.audience,
		JWKS: r.credentials.jwks, PublicKey: r.credentials.publicKey,
		Quota: quota, MaxConns: 9000, // two descriptors each must fit into 20,000
	}
	if c.logs {
		s.Log = filepath.Join(r.dir, c.name+".log")
	}
	if c.distinct {
		s.CacheTokens = cacheTokens
	}
	return s, nil
}

// render writes the configuration to the site's directory.
func (s *site) render(name string) error {
	if name == "" {
		return nil
	}
	t, err := template.ParseFS(configs, "configs/"+name)
	if err != nil {
		return err
	}
	s.config = filepath.Join(s.Dir, s.Name+"-"+name)
	file, err := os.Create(s.config)
	if err != nil {
		return err
	}
	return errors.Join(t.Execute(file, s), file.Close())
}

// launch starts a process and waits until address takes connections.
func (r *rig) launch(ctx context.Context, name, address string, spec proc.Spec) (*proc.Process, error) {
	path := filepath.Join(r.dir, name+".out")
	output, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	spec.Output = output
	p, err := proc.Start(spec)
	if err != nil {
		return nil, err
	}
	r.started = append(r.started, p)
	if err := waitFor(ctx, address, p.Ended(), 15*time.Second); err != nil {
		said, _ := os.ReadFile(path)
		return nil, fmt.Errorf("%s: %w\n%s", name, err, tail(said, 2000))
	}
	return p, nil
}

// waitFor tries to connect until it succeeds, the process ends, or patience ends.
func waitFor(ctx context.Context, address string, ended <-chan struct{}, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ended:
			return errors.New("ended before it took connections")
		case <-ctx.Done():
			return fmt.Errorf("takes no connections: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// close stops what was started, the last first, and removes the directory.
func (r *rig) close() {
	for i := len(r.started) - 1; i >= 0; i-- {
		r.started[i].Stop(5 * time.Second)
	}
	if r.reniced {
		_ = proc.Renice(0)
	}
	_ = os.RemoveAll(r.dir)
}

// freeAddress finds a loopback port that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// tail returns the end of what a process said.
func tail(text []byte, most int) string {
	return strings.TrimSpace(string(text[max(0, len(text)-most):]))
}

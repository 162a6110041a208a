package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxDemoNodes is bounded by the default ports.
const maxDemoNodes = 8

// demoPorts are a node of the demo and where it listens.
type demoPorts struct {
	Number                 int
	Name                   string
	Gateway, Admin, Gossip int
}

// demoNode is one gateway process, in demo.json.
type demoNode struct {
	Name    string            `json:"name"`
	Address string            `json:"address"`
	Admin   string            `json:"admin"`
	PIDFile string            `json:"pid_file"`
	Log     string            `json:"log"`
	Env     map[string]string `json:"env,omitempty"` // what sluice.yaml needs to be this node's
}

// givePorts makes the nodes. base is the first port; 0: those that the
// documentation shows.
func (d *demo) givePorts(nodes, base int) {
	d.Issuer, d.Upstream = 9099, 9098
	if base > 0 {
		d.Issuer, d.Upstream = base+2, base+3
	}
	for i := range nodes {
		n := demoPorts{Number: i + 1, Name: "demo", Gateway: 8080 + i, Admin: 9090 + i, Gossip: 7946 + i}
		if base > 0 {
			// The first four are where they are without a cluster.
			n.Gateway, n.Admin, n.Gossip = base+2+3*i, base+3+3*i, base+4+3*i
			if i == 0 {
				n.Gateway, n.Admin = base, base+1
			}
		}
		if nodes > 1 {
			n.Name = fmt.Sprintf("demo-%d", i+1)
		}
		d.Nodes = append(d.Nodes, n)
	}
}

// demoPortCount is how many ports in a row the demo takes.
func demoPortCount(nodes int) int {
	if nodes == 1 {
		return 4
	}
	return 2 + 3*nodes
}

// ports are all that the demo needs.
func (d *demo) ports() []int {
	list := []int{d.Issuer, d.Upstream}
	for _, n := range d.Nodes {
		list = append(list, n.Gateway, n.Admin)
		if d.Cluster() {
			list = append(list, n.Gossip)
		}
	}
	return list
}

// data is the node's data directory.
func (n demoPorts) data(d *demo) string {
	if d.Cluster() {
		return d.file(fmt.Sprintf("node-%d", n.Number))
	}
	return d.file("data")
}

func (n demoPorts) pidFile(d *demo) string { return filepath.Join(n.data(d), "sluice.pid") }

func (n demoPorts) log(d *demo) string {
	if d.Cluster() {
		return filepath.Join(n.data(d), "gateway.log")
	}
	return d.file("gateway.log")
}

// env are the variables that make the configuration this node's.
func (n demoPorts) env(d *demo) map[string]string {
	if !d.Cluster() {
		return nil
	}
	return map[string]string{
		"NODE": fmt.Sprint(n.Number), "GATEWAY_PORT": fmt.Sprint(n.Gateway), "ADMIN_PORT": fmt.Sprint(n.Admin), "GOSSIP_PORT": fmt.Sprint(n.Gossip),
	}
}

// prepare writes what the nodes find when they start: the configuration, and one
// operator's token for all.
func (d *demo) prepare() error {
	abs, err := filepath.Abs(d.Dir)
	if err != nil {
		return err
	}
	d.Dir = abs
	if err := os.MkdirAll(d.Dir, 0o755); err != nil {
		return fmt.Errorf("make the demo's directory: %w", err)
	}
	token := rand.Text() + rand.Text()
	if text, err := os.ReadFile(filepath.Join(d.First().data(d), "admin.token")); err == nil {
		token = strings.TrimSpace(string(text))
	}
	for _, end := range []string{"", "-wal", "-shm"} { // what was decided in a former demo
		if err := os.Remove(d.file("sluice.db" + end)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	for _, n := range d.Nodes {
		if err := os.MkdirAll(n.data(d), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(n.data(d), "admin.token"), []byte(token+"\n"), 0o600); err != nil {
			return err
		}
		// Another key of limits with each start: quotas begin whole, whatever a Redis
		// remembers.
		if err := os.Remove(filepath.Join(n.data(d), limitsKeyFile)); err != nil && !os.IsNotExist(err) {
			return err
		}
		if !d.Cluster() || n.Number == 1 {
			continue
		}
		var env strings.Builder
		for _, name := range []string{"NODE", "GATEWAY_PORT", "ADMIN_PORT", "GOSSIP_PORT"} {
			fmt.Fprintf(&env, "%s=%s\n", name, n.env(d)[name])
		}
		if err := os.WriteFile(d.file(fmt.Sprintf("node-%d.env", n.Number)), []byte(env.String()), 0o644); err != nil {
			return err
		}
	}
	secret := make([]byte, 32)
	rand.Read(secret) // never fails: the process ends instead
	d.Secret = base64.StdEncoding.EncodeToString(secret)
	var text strings.Builder
	if err := demoConfig.Execute(&text, d); err != nil {
		return err
	}
	return os.WriteFile(d.file("sluice.yaml"), []byte(text.String()), 0o600)
}

// demoNodes are the gateway processes of a demo.
type demoNodes struct {
	d      *demo
	failed chan<- error

	mu       sync.Mutex // guards what follows
	children []*child
	stopping bool
	keepers  sync.WaitGroup
}

// restartAfter is how long a node that has ended is away.
const restartAfter = 5 * time.Second

// start starts all nodes. Of several, one that ends is started again; a lone one
// ends the demo.
func (s *demoNodes) start() error {
	for i, n := range s.d.Nodes {
		c, err := s.d.startNode(n)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.children = append(s.children, c)
		s.mu.Unlock()
		s.keepers.Go(func() { s.keep(i, n, c) })
	}
	return nil
}

// keep waits for the end of a node, and starts it again.
func (s *demoNodes) keep(i int, n demoPorts, c *child) {
	for {
		err := <-c.ended
		s.mu.Lock()
		stopping := s.stopping
		s.mu.Unlock()
		if stopping {
			return
		}
		what := fmt.Errorf("the gateway %s ended; its log is %s", n.Name, n.log(s.d))
		if err != nil {
			what = fmt.Errorf("the gateway %s ended (%w); its log is %s", n.Name, err, n.log(s.d))
		}
		if !s.d.Cluster() {
			s.failed <- what
			return
		}
		fmt.Fprintf(s.d.out, "%v; it is started again in %v\n", what, restartAfter)
		time.Sleep(restartAfter)
		s.mu.Lock()
		if s.stopping {
			s.mu.Unlock()
			return
		}
		c.life.Close()
		if c, err = s.d.startNode(n); err == nil {
			s.children[i] = c
		}
		s.mu.Unlock()
		if err != nil {
			s.failed <- err
			return
		}
	}
}

// stop ends all nodes together.
func (s *demoNodes) stop() {
	s.mu.Lock()
	s.stopping = true
	children := s.children
	s.mu.Unlock()
	var all sync.WaitGroup
	for _, c := range children {
		all.Go(c.stop)
	}
	all.Wait()
	s.keepers.Wait()
}

// child is a gateway: a process and, after upgrades, those that took over from
// it. They all have one end of a socket as their standard input; the demo holds the
// other. So the gateway notices the end of the demo, however that comes, and the
// demo the end of the last process, whichever that is.
type child struct {
	life    *net.UnixConn
	ended   chan error // the last process has; closed after what the first one said
	pidFile string     // of the one that serves
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

// startNode runs this binary as a gateway, in a process of its own, as in real
// life.
func (d *demo) startNode(n demoPorts) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(n.log(d), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	life, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := exec.Command(self, "serve", "--config", d.file("sluice.yaml"), "--stop-with-stdin")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, log, log
	cmd.SysProcAttr = apart()
	cmd.Env = os.Environ()
	for name, value := range n.env(d) {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if err := cmd.Start(); err != nil {
		life.conn.Close()
		return nil, fmt.Errorf("start the gateway %s: %w", n.Name, err)
	}
	c := &child{life: life.conn.(*net.UnixConn), ended: make(chan error, 1), pidFile: n.pidFile(d)}
	first := make(chan error, 1)
	go func() { first <- cmd.Wait() }()
	go func() {
		_, _ = io.Copy(io.Discard, c.life) // until no process has the other end
		c.ended <- <-first
		close(c.ended)
	}()
	return c, nil
}

// findRedis returns the address of a Redis that answers; empty for none.
func findRedis(ctx context.Context, wanted string) (string, error) {
	const usual = "127.0.0.1:6379"
	switch wanted {
	case "off":
		return "", nil
	case "auto":
		if err := pingRedis(ctx, usual); err != nil {
			return "", nil
		}
		return usual, nil
	}
	if err := pingRedis(ctx, wanted); err != nil {
		return "", fmt.Errorf("--redis %s: %w", wanted, err)
	}
	return wanted, nil
}

// pingRedis says whether a Redis answers that may be used without a password.
func pingRedis(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "PING\r\n"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(io.LimitReader(c, 256)).ReadString('\n')
	if err == nil && !strings.HasPrefix(answer, "+PONG") {
		err = fmt.Errorf("no Redis that may be used: it answered %q", strings.TrimSpace(answer))
	}
	return err
}

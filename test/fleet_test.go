//go:build integration

package test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/internal/issuer"
	"sluice/internal/testkit"
	"sluice/limiter/redis/redistest"
)

// fleet is a cluster of real processes, each with a proxy before its gossip, and
// one before the Redis that they share, if they do.
type fleet struct {
	t        *testing.T
	nodes    []*member
	server   *redistest.Server   // nil: none
	redis    *testkit.FaultProxy // nil: none
	issuer   *issuer.Issuer
	upstream string
	secret   string
}

// member is one node of a fleet.
type member struct {
	name, dir, config, admin string
	url                      string
	gossip                   *testkit.FaultProxy
	bind                     string
	process                  *testkit.Process
	down                     atomic.Bool // killed or stopped: clients may be failed
}

const fleetConfig = `
node: {name: "{{.Name}}", data_dir: "{{.Dir}}/data"}
listeners: [{address: "{{.Listen}}"}]
admin: {address: "{{.Admin}}"}
auth:
  issuers: [{issuer: "{{.Issuer}}", audience: https://api.acme.example, tier_claim: https://sluice.example/tier}]
tiers:
  hot:  {requests: {{.Hot}}, per: 10s}
  calm: {requests: {{.Calm}}, per: 10s}
limits: {default_tier: hot, partition: {{.Partition}}}
cluster:
  {bind: "{{.Bind}}", advertise: "{{.Gossip}}", join: [{{.Join}}], secret: "{{.Secret}}", nodes: {{.Nodes}}}
{{- if .Redis}}
redis: {addresses: ["{{.Redis}}"]}
{{- end}}
services: {app: {upstreams: ["{{.Upstream}}"]}}
routes: [{path: /*, service: app}]
logs: {access: {file: "off"}}
`

// Of the tiers, in 10 s.
const (
	fleetWindow = 10 * time.Second
	hotLimit    = 300
	calmLimit   = 600
)

var fleets atomic.Int32

// startFleet starts nodes together and waits until all may be sent traffic.
func startFleet(t *testing.T, nodes int, withRedis bool, partition string) *fleet {
	t.Helper()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	t.Cleanup(up.Close)
	key := make([]byte, 32)
	rand.Read(key)
	f := &fleet{t: t, issuer: newIssuer(t), upstream: up.URL, secret: base64.StdEncoding.EncodeToString(key)}
	if withRedis {
		f.server = redistest.Start(t)
		f.redis = testkit.StartFaultProxy(t, f.server.Address)
	}
	// Each has an address of its own on loopback, so that the proxies can tell who sends.
	subnet := fleets.Add(1)
	for i := range nodes {
		_, port, _ := strings.Cut(testkit.FreeAddr(t), ":")
		m := &member{name: fmt.Sprintf("gw-%d", i+1), dir: t.TempDir(), bind: fmt.Sprintf("127.77.%d.%d:%s", subnet, i+1, port)}
		m.gossip = testkit.StartFaultProxy(t, m.bind)
		f.nodes = append(f.nodes, m)
	}
	for _, m := range f.nodes {
		listen, admin := testkit.FreeAddr(t), testkit.FreeAddr(t)
		m.url, m.admin, m.config = "http://"+listen, "http://"+admin, filepath.Join(m.dir, "sluice.yaml")
		var join []string
		for _, other := range f.nodes {
			if other != m {
				join = append(join, strconv.Quote(other.gossip.Addr))
			}
		}
		redis := ""
		if f.redis != nil {
			redis = f.redis.Addr
		}
		testkit.WriteTemplate(t, m.config, fleetConfig, map[string]any{
			"Name": m.name, "Dir": m.dir, "Listen": listen, "Admin": admin, "Issuer": f.issuer.URL(), "Bind": m.bind, "Gossip": m.gossip.Addr,
			"Join": strings.Join(join, ", "), "Secret": f.secret, "Nodes": nodes, "Redis": redis, "Upstream": up.URL, "Partition": partition,
			"Hot": hotLimit, "Calm": calmLimit,
		})
		f.launch(m)
	}
	for _, m := range f.nodes {
		m.process.WaitReady(m.admin + "/readyz")
	}
	return f
}

// launch starts the process of a node.
func (f *fleet) launch(m *member) {
	f.t.Helper()
	m.process = testkit.Start(f.t, testkit.Command{Path: testkit.Sluice(f.t), Args: []string{"serve", "--config", m.config}, Dir: m.dir})
}

// kill ends a node as a crash would.
func (f *fleet) kill(m *member) {
	f.t.Helper()
	m.down.Store(true)
	m.process.Kill()
}

// restart starts a node that was killed.
func (f *fleet) restart(m *member) {
	f.t.Helper()
	f.launch(m)
	m.process.WaitReady(m.admin + "/readyz")
	m.down.Store(false)
}

// freeze stops a node's process where it is, thaw lets it go on.
func (f *fleet) freeze(m *member) {
	m.down.Store(true)
	m.process.Signal(syscall.SIGSTOP)
	f.t.Cleanup(func() { syscall.Kill(m.process.PID(), syscall.SIGCONT) })
}

func (f *fleet) thaw(m *member) {
	m.process.Signal(syscall.SIGCONT)
	m.down.Store(false)
}

// books is what a node says of the authority.
type booksView struct {
	Authority     string
	Epoch         uint64
	Ready, Fenced bool
	Redis         *struct{ Up bool }
}

func (m *member) books() (v booksView, err error) {
	token, err := os.ReadFile(filepath.Join(m.dir, "data/admin.token"))
	if err != nil {
		return v, err
	}
	req, err := http.NewRequest(http.MethodGet, m.admin+"/api/v1/cluster", nil)
	if err != nil {
		return v, err
	}
	req.Header.Set("Authorization", "Bearer "+string(bytes.TrimSpace(token)))
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	var s struct{ Limits booksView }
	if resp.StatusCode != http.StatusOK {
		return v, fmt.Errorf("GET /api/v1/cluster: %s", resp.Status)
	}
	err = json.NewDecoder(resp.Body).Decode(&s)
	return s.Limits, err
}

// awaitBooks waits until these nodes have an authority that grants.
func (f *fleet) awaitBooks(authority string, within time.Duration, nodes ...*member) {
	f.t.Helper()
	testkit.Eventually(f.t, within, func() error {
		for _, m := range nodes {
			if v, err := m.books(); err != nil || v.Authority != authority || !v.Ready || v.Fenced {
				return fmt.Errorf("%s: %+v, %v; want %s that grants", m.name, v, err, authority)
			}
		}
		return nil
	})
}

// metric sums the samples of a family over all nodes.
func (f *fleet) metric(name string) (sum float64) {
	f.t.Helper()
	for _, m := range f.nodes {
		text := string(testkit.NewClient(f.t, m.admin).Get("/metrics").Want(200).Body)
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(line), name); ok && strings.HasPrefix(rest, " ") {
				v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
				if err != nil {
					f.t.Fatal(err)
				}
				sum += v
			}
		}
	}
	return sum
}

// answer is what a client saw. The decision lies between from and to.
type answer struct {
	tenant   int
	node     *member
	from, to time.Duration // since the load began
	status   int           // 0: none
	down     bool          // the node was, or went meanwhile
	err      error
}

// flow is one tenant's requests, evenly over the nodes.
type flow struct {
	tier  string
	limit int
	rate  float64 // a second
}

// clients send during a drill; they remember what they saw.
type clients struct {
	f     *fleet
	flows []flow
	began time.Time
	stop  chan struct{}
	all   sync.WaitGroup

	mu      sync.Mutex // guards answers
	answers []answer
}

// patience is how long a client waits at most.
const patience = 10 * time.Second

// send begins to send: from each node's clients, each flow's share, one request after the other.
func (f *fleet) send(flows ...flow) *clients {
	f.t.Helper()
	l := &clients{f: f, flows: flows, began: time.Now(), stop: make(chan struct{})}
	for i, w := range flows {
		bearer := "Bearer " + token(f.t, f.issuer, issuer.Claims{Tenant: fmt.Sprintf("%s-%d", w.tier, i), Tier: w.tier, Subject: "s"})
		for _, m := range f.nodes {
			l.all.Go(func() { l.run(i, m, bearer, time.Duration(float64(len(f.nodes))/w.rate*float64(time.Second))) })
		}
	}
	return l
}

func (l *clients) run(tenant int, m *member, bearer string, every time.Duration) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		a := answer{tenant: tenant, node: m, down: m.down.Load(), from: time.Since(l.began)}
		req, err := http.NewRequest(http.MethodGet, m.url+"/", nil)
		if err != nil {
			panic(err)
		}
		req.Header.Set("Authorization", bearer)
		resp, err := client.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			a.status = resp.StatusCode
		}
		a.to, a.err = time.Since(l.began), err
		a.down = a.down || m.down.Load()
		l.mu.Lock()
		l.answers = append(l.answers, a)
		l.mu.Unlock()
	}
}

// since returns the answers to requests that were sent since a moment.
func (l *clients) since(at time.Duration) (list []answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.answers {
		if a.from >= at {
			list = append(list, a)
		}
	}
	return list
}

// now is the moment, as answers count it.
func (l *clients) now() time.Duration { return time.Since(l.began) }

// end stops the clients and returns all answers.
func (l *clients) end() []answer {
	close(l.stop)
	l.all.Wait()
	return l.answers
}

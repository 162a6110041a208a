//go:build integration

package test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sluice/internal/issuer"
	"sluice/internal/testkit"
)

// upgradesOr returns how many upgrades the long tests make: SLUICE_UPGRADES, which
// make upgrade-test sets, or short.
func upgradesOr(short int) int {
	if n, err := strconv.Atoi(os.Getenv("SLUICE_UPGRADES")); err == nil {
		return n
	}
	return short
}

// gatewayPID is the process that serves.
func gatewayPID(t *testing.T, g *testkit.Gateway) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(g.Config), "data/sluice.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// upgrade upgrades and waits; it returns how long the new process took.
func upgrade(t *testing.T, g *testkit.Gateway) time.Duration {
	t.Helper()
	out, code := sluice(t, "upgrade", "-c", g.Config)
	m := regexp.MustCompile(`ready after (\d+) ms`).FindStringSubmatch(out)
	if code != 0 || m == nil {
		t.Fatalf("upgrade: exit %d: %s", code, out)
	}
	ms, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(ms) * time.Millisecond
}

// group lists the living processes of the gateway.
func group(t *testing.T, g *testkit.Gateway) (pids []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if id, err := syscall.Getpgid(pid); err != nil || id != g.PID() {
			continue
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && !strings.Contains(string(stat), ") Z ") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// awaitOne waits until the gateway is one process again.
func awaitOne(t *testing.T, g *testkit.Gateway) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, func() error {
		if pids := group(t, g); len(pids) != 1 || pids[0] != gatewayPID(t, g) {
			return fmt.Errorf("processes %v, serving is %d", pids, gatewayPID(t, g))
		}
		return nil
	})
}

// metric reads one value from the process that serves.
func metric(t *testing.T, g *testkit.Gateway, name string) float64 {
	t.Helper()
	text := string(testkit.NewClient(t, g.AdminURL).Get("/metrics", testkit.Header("Connection", "close")).Want(200).Body)
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// TestUpgradesLoseNothing upgrades again and again at full load: no request may
// fail, no connection be refused or reset, and the last process must be as small as
// the first successor.
func TestUpgradesLoseNothing(t *testing.T) {
	up := everything(t)
	dir, secure, other := t.TempDir(), testkit.FreeAddr(t), testkit.FreeAddr(t)
	writeCert(t, dir, "api", 1, "gateway.example")
	g := testkit.StartGateway(t, publicConfig, map[string]any{"Upstream": up.URL, "More": "", "Listener": "",
		"Listeners": fmt.Sprintf(`{address: %q, engine: nethttp}, {address: %q, tls: {certificates: [{cert: "%[3]s/api.pem", key: "%[3]s/api-key.pem"}]}}`, other, secure, dir)})
	upgrade(t, g) // successors are compared with a successor
	awaitOne(t, g)
	goroutines, memory := metric(t, g, "go_goroutines"), metric(t, g, "process_resident_memory_anon_bytes")
	fds := metric(t, g, "process_open_fds")

	l := startLoad(t, g, secure, other)
	n := upgradesOr(4)
	var at []time.Time
	var slowest time.Duration
	for range n {
		at = append(at, time.Now())
		slowest = max(slowest, upgrade(t, g))
		time.Sleep(time.Until(at[len(at)-1].Add(1100 * time.Millisecond))) // load between two upgrades
	}
	pid := gatewayPID(t, g)
	l.end()
	awaitOne(t, g)
	if pid != gatewayPID(t, g) || pid == g.PID() {
		t.Errorf("process %d serves, %d did, %d was the first", gatewayPID(t, g), pid, g.PID())
	}
	var worst time.Duration
	all := make([]time.Duration, 0, len(l.latencies))
	for _, one := range l.latencies {
		all = append(all, one.took)
	}
	for _, second := range at {
		worst = max(worst, l.p99(second))
	}
	t.Logf("%d upgrades in %v, slowest start %v: %d requests, %d MiB up and down, %d WebSockets, %d event lines; p99 %v, in the worst second of a swap %v, slowest %v",
		n, time.Since(at[0]).Round(time.Second), slowest, l.requests.Load(), l.bytes.Load()>>20, l.sockets.Load(), l.events.Load(),
		percentile(all, 0.99), worst, percentile(all, 1))
	if worst > 2*time.Second { // generous, for machines that are busy with other things
		t.Errorf("p99 in the second of a swap is %v", worst)
	}
	if l.requests.Load() < int64(100*n) || l.bytes.Load() == 0 || l.events.Load() == 0 {
		t.Error("there was no load to speak of")
	}
	// One more upgrade without load, so that like is compared with like.
	upgrade(t, g)
	awaitOne(t, g)
	if got := metric(t, g, "go_goroutines"); got > goroutines+2 {
		t.Errorf("%v goroutines, %v after the first upgrade", got, goroutines)
	}
	if got := metric(t, g, "process_open_fds"); got > fds+2 {
		t.Errorf("%v open files, %v after the first upgrade", got, fds)
	}
	if got := metric(t, g, "process_resident_memory_anon_bytes"); got > 1.5*memory+(4<<20) {
		t.Errorf("%v bytes, %v after the first upgrade", got, memory)
	}
}

func percentile(d []time.Duration, p float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := append([]time.Duration(nil), d...)
	slices.Sort(sorted)
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

// TestUpgradesKeepQuotas drives a limit at ten times its rate over upgrades: in no
// window may more be admitted than the limit, and at most 1 % less.
func TestUpgradesKeepQuotas(t *testing.T) {
	const limit, window = 300, 3 * time.Second
	up := everything(t)
	config := strings.Replace(publicConfig, "requests: 10000000, per: 1h", fmt.Sprintf("requests: %d, per: %v", limit, window), 1)
	config = strings.Replace(config, "drain_timeout: 3s", "drain_timeout: 1s", 1)
	g := testkit.StartGateway(t, config, map[string]any{"Upstream": up.URL, "More": "", "Listener": "", "Listeners": ""})
	var stop atomic.Bool
	var wg sync.WaitGroup
	var mu sync.Mutex
	var admitted []time.Time
	addr := strings.TrimPrefix(g.URL, "http://")
	const clients = 10
	for range clients {
		wg.Go(func() {
			c := strict{addr: addr}
			defer c.close()
			for !stop.Load() {
				began := time.Now()
				resp, _, err := c.do("GET", "/x", "", nil, 0)
				if err != nil || resp.StatusCode != 200 && resp.StatusCode != 429 {
					t.Errorf("%v %v", err, resp)
					return
				}
				if resp.StatusCode == 200 {
					mu.Lock()
					admitted = append(admitted, began)
					mu.Unlock()
				}
				time.Sleep(time.Until(began.Add(clients * window / (10 * limit))))
			}
		})
	}
	for range 5 {
		upgrade(t, g)
		time.Sleep(2 * window / 3) // so that upgrades meet windows at every point
	}
	stop.Store(true)
	wg.Wait()
	slices.SortFunc(admitted, time.Time.Compare)
	// The client's clock is the begin of a request, up to a few milliseconds before
	// the decision: a window that is a little shorter must hold the bound.
	const blur = 100 * time.Millisecond
	worst, first := 0, 0
	for i, at := range admitted {
		for at.Sub(admitted[first]) >= window-blur {
			first++
		}
		worst = max(worst, i-first+1)
	}
	span := admitted[len(admitted)-1].Sub(admitted[0])
	whole := int(span / window)
	want, got := whole*limit, 0
	for _, at := range admitted {
		if at.Sub(admitted[0]) < time.Duration(whole)*window {
			got++
		}
	}
	t.Logf("%d admitted in %v over 5 upgrades; %d in %d windows, that is %.2f %% of the limit; most in one window %d",
		len(admitted), span.Round(time.Millisecond), got, whole, 100*float64(got)/float64(want), worst)
	if worst > limit {
		t.Errorf("%d admitted in one window, the limit is %d", worst, limit)
	}
	if got > want || float64(got) < 0.99*float64(want) {
		t.Errorf("%d admitted in %d windows, want %d, or 1 %% less", got, whole, want)
	}
}

// replaceable starts a gateway whose binary can be replaced.
func replaceable(t *testing.T, config string, vars map[string]any) (g *testkit.Gateway, binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "sluice")
	copyFile(t, testkit.Sluice(t), binary)
	g = testkit.StartGatewayFrom(t, binary, config, vars)
	return g, binary
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	replaceBinary(t, to, string(data))
}

// replaceBinary puts a program in place of a running one.
func replaceBinary(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestFailedUpgradesChangeNothing tries what can be wrong with a new process.
func TestFailedUpgradesChangeNothing(t *testing.T) {
	up := everything(t)
	config := strings.Replace(publicConfig, "drain_timeout: 3s", "drain_timeout: 1s, upgrade_timeout: 1s", 1)
	config = strings.Replace(config, "requests: 10000000", "requests: 1000", 1)
	g, binary := replaceable(t, config, map[string]any{"Upstream": up.URL, "More": "", "Listener": "", "Listeners": ""})
	client := g.Client(t)
	pid, used := gatewayPID(t, g), 0
	good, err := os.ReadFile(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", testkit.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct{ name, program, config, reason string }{
		{name: "crashes", program: "#!/bin/sh\nexit 3\n", reason: "exit status 3"},
		{name: "ends", program: "#!/bin/sh\nexit 0\n", reason: "exited"},
		{name: "hangs", program: "#!/bin/sh\nexec sleep 60\n", reason: "timed out"},
		{name: "is no program", program: "\x7fELFnot", reason: "exec format error"},
		{name: "cannot listen", config: strings.Replace(string(good), "listeners: [", "listeners: [{address: \""+taken.Addr().String()+"\"}, ", 1), reason: "in use by another process"},
		{name: "has errors in its configuration", config: string(good) + "\nroutez: []\n", reason: "routez"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.program != "" {
				replaceBinary(t, binary, c.program)
			}
			if c.config != "" {
				if err := os.WriteFile(g.Config, []byte(c.config), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			out, code := sluice(t, "upgrade", "-c", g.Config)
			if code != 1 || !strings.Contains(out, c.reason) || !strings.Contains(out, "goes on") {
				t.Errorf("exit %d: %s", code, out)
			}
			if c.reason == "routez" { // the command looks first; the signal alone does not
				g.Signal(syscall.SIGHUP)
				g.WaitOutput(`upgrade failed.*routez`, 10*time.Second)
			} else if !strings.Contains(g.Output(), "upgrade failed") {
				t.Error("the log does not say so")
			}
			if gatewayPID(t, g) != pid {
				t.Error("another process serves")
			}
			used++
			r := client.In(t).Get("/x").Want(200)
			if got := r.Header.Get("X-Ratelimit-Remaining"); got != strconv.Itoa(1000-used) {
				t.Errorf("%s left after %d requests", got, used)
			}
			copyFile(t, testkit.Sluice(t), binary)
			if err := os.WriteFile(g.Config, good, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
	upgrade(t, g) // and then all is well
	if r := client.Get("/x").Want(200); r.Header.Get("X-Ratelimit-Remaining") != strconv.Itoa(1000-used-1) {
		t.Errorf("%s left", r.Header.Get("X-Ratelimit-Remaining"))
	}
}

// TestUpgradeDuringADrainIsQueued has a WebSocket hold the drain up.
func TestUpgradeDuringADrainIsQueued(t *testing.T) {
	up := everything(t)
	g := testkit.StartGateway(t, strings.Replace(publicConfig, "drain_timeout: 3s", "drain_timeout: 2s", 1),
		map[string]any{"Upstream": up.URL, "More": "", "Listener": "", "Listeners": ""})
	ws, _, err := websocket.Dial(t.Context(), strings.Replace(g.URL, "http", "ws", 1)+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	upgrade(t, g)
	testkit.Eventually(t, 5*time.Second, func() error {
		if n := metric(t, g, `sluice_streams{kind="websocket",generation="1"}`); n != 1 {
			return fmt.Errorf("%v WebSockets of the first generation", n)
		}
		return nil
	})
	var wg sync.WaitGroup
	for range 2 { // two at once, both during the drain
		wg.Go(func() {
			out, code := sluice(t, "upgrade", "-c", g.Config)
			if code != 0 || !strings.Contains(out, "queued: process "+strconv.Itoa(g.PID())) || !strings.Contains(out, "upgraded") {
				t.Errorf("exit %d: %s", code, out)
			}
		})
	}
	g.WaitOutput("upgrade queued", 5*time.Second)
	_, _, err = ws.Read(t.Context())
	if websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the WebSocket ended with %v", err)
	}
	wg.Wait()
	awaitOne(t, g)
	if text := string(testkit.NewClient(t, g.AdminURL).Get("/metrics").Body); strings.Contains(text, `generation="1"`) {
		t.Error("the first generation has ended and is still shown")
	}
}

// TestUpgradeNeedsNoIssuer has keys handed over while the issuer is down.
func TestUpgradeNeedsNoIssuer(t *testing.T) {
	up := everything(t)
	s := httptest.NewUnstartedServer(nil)
	url := "http://" + s.Listener.Addr().String() + "/"
	keys, err := issuer.New(issuer.Options{URL: url, Audience: audience, Keys: signingKeys(t)})
	if err != nil {
		t.Fatal(err)
	}
	s.Config.Handler = keys
	s.Start()
	config := strings.Replace(publicConfig, "services:", `auth: {issuers: [{issuer: "`+url+`", audience: "`+audience+`", tenant_claim: org_id}]}
services:`, 1)
	g := testkit.StartGateway(t, config, map[string]any{"Upstream": up.URL, "More": "  - {path: /mine, service: app}", "Listener": "", "Listeners": ""})
	bearer := testkit.Bearer(token(t, keys, issuer.Claims{Tenant: "acme", Subject: "ann"}))
	g.Client(t).Get("/mine", bearer).Want(200)
	s.Close()
	began := time.Now()
	upgrade(t, g)
	if d := time.Since(began); d > 4*time.Second {
		t.Errorf("the upgrade took %v: it waited for the issuer", d)
	}
	r := testkit.NewClient(t, g.URL).Get("/mine", bearer).Want(200)
	if left := r.Header.Get("X-Ratelimit-Remaining"); left != "998" {
		t.Errorf("%s left of 1000 after two requests", left)
	}
}

// TestReloadsLeaveStreamsAlone changes the configuration fifty times, with new
// servers among them, while a WebSocket and an event stream are open.
func TestReloadsLeaveStreamsAlone(t *testing.T) {
	up := everything(t)
	g := testkit.StartGateway(t, publicConfig, map[string]any{"Upstream": up.URL, "More": "", "Listener": "", "Listeners": ""})
	ws, _, err := websocket.Dial(t.Context(), strings.Replace(g.URL, "http", "ws", 1)+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	events := bufio.NewScanner(g.Client(t).Stream(t.Context(), "GET", "/events").Body)
	for i := range 50 {
		g.WriteConfig(t, publicConfig, map[string]any{
			"More":     fmt.Sprintf("  - {path: /%d, service: app, auth: none}", i),
			"Listener": []string{"", "timeout: {idle: 60s}"}[i%2],
		})
		if out, code := sluice(t, "reload", "-c", g.Config); code != 0 {
			t.Fatalf("reload %d: exit %d: %s", i, code, out)
		}
		if err := ws.Write(t.Context(), websocket.MessageText, []byte("hi")); err != nil {
			t.Fatalf("after %d reloads: %v", i+1, err)
		}
		if _, got, err := ws.Read(t.Context()); err != nil || string(got) != "hi" {
			t.Fatalf("after %d reloads: %q, %v", i+1, got, err)
		}
		for range 3 {
			if !events.Scan() {
				t.Fatalf("after %d reloads the event stream ended: %v", i+1, events.Err())
			}
		}
	}
}

// TestStopEndsStreamsProperly sends TERM while streams are open.
func TestStopEndsStreamsProperly(t *testing.T) {
	up := everything(t)
	g := testkit.StartGateway(t, strings.Replace(publicConfig, "drain_timeout: 3s", "drain_timeout: 1s", 1),
		map[string]any{"Upstream": up.URL, "More": "", "Listener": "", "Listeners": ""})
	ws, _, err := websocket.Dial(t.Context(), strings.Replace(g.URL, "http", "ws", 1)+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	stream := g.Client(t).Stream(t.Context(), "GET", "/events")
	g.Signal(syscall.SIGTERM)
	admin := testkit.NewClient(t, g.AdminURL)
	testkit.Eventually(t, 5*time.Second, func() error {
		if r, err := admin.Try("GET", "/readyz"); err != nil || r.Status != 503 || !strings.Contains(string(r.Body), "stopping") {
			return errors.Join(errors.New("still ready"), err)
		}
		return nil
	})
	if _, err := io.Copy(io.Discard, stream.Body); err != nil {
		t.Errorf("the event stream ended with %v", err)
	}
	if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the WebSocket ended with %v", err)
	}
	if code := g.Wait(10 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(g.Config), "data/sluice.pid")); !os.IsNotExist(err) {
		t.Errorf("the pid file is left: %v", err)
	}
}

// TestDemoSurvivesUpgrades upgrades the demo's gateway, and ends the demo in two
// ways: neither may leave a process.
func TestDemoSurvivesUpgrades(t *testing.T) {
	for _, how := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(how.String(), func(t *testing.T) {
			dir := t.TempDir()
			demo := testkit.Start(t, testkit.Command{Path: testkit.Sluice(t), Args: []string{"demo", "--nodes", "1", "--dir", dir, "--port-base", strconv.Itoa(freePorts(t, 4))}})
			demo.WaitOutput("Ctrl-C stops everything", 30*time.Second)
			var file struct {
				Gateway string
				Tokens  map[string]string
				Nodes   []struct {
					PIDFile string `json:"pid_file"`
				}
			}
			text, err := os.ReadFile(filepath.Join(dir, "demo.json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, &file); err != nil {
				t.Fatal(err)
			}
			pid := func() int {
				text, err := os.ReadFile(file.Nodes[0].PIDFile)
				if err != nil {
					t.Fatal(err)
				}
				n, err := strconv.Atoi(strings.TrimSpace(string(text)))
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			client := testkit.NewClient(t, file.Gateway)
			client.HTTP.Transport.(*http.Transport).DisableKeepAlives = true
			client.Get("/api/x", testkit.Bearer(file.Tokens["standard"])).Want(200)
			pids := []int{pid()}
			for range 2 {
				if out, code := sluice(t, "upgrade", "-c", filepath.Join(dir, "sluice.yaml")); code != 0 {
					t.Fatalf("exit %d: %s", code, out)
				}
				pids = append(pids, pid())
			}
			r := client.Get("/api/x", testkit.Bearer(file.Tokens["standard"])).Want(200)
			if left := r.Header.Get("X-Ratelimit-Remaining"); left != "998" {
				t.Errorf("%s left of 1000 after two requests", left)
			}
			demo.Signal(how)
			if code := demo.Wait(20 * time.Second); how == syscall.SIGINT && code != 0 {
				t.Errorf("exit code %d", code)
			}
			testkit.Eventually(t, 20*time.Second, func() error {
				for _, pid := range pids {
					if running(pid) {
						return fmt.Errorf("process %d runs on", pid)
					}
				}
				return nil
			})
		})
	}
}

// running reports whether a process lives; one that has ended and that nobody has
// waited for does not.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

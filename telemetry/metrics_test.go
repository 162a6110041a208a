package telemetry

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// scrapeText renders m, checks the format line by line, and returns the values
// by series as they are spelt.
func scrapeText(t *testing.T, m *Metrics) map[string]float64 {
	t.Helper()
	var b bytes.Buffer
	n, err := m.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("WriteTo: %d of %d bytes, %v", n, b.Len(), err)
	}
	var (
		values    = make(map[string]float64)
		described = make(map[string]bool)
		ended     = make(map[string]bool) // families that another has followed
		last      string
	)
	for sc := bufio.NewScanner(&b); sc.Scan(); {
		line := sc.Text()
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, _, _ := strings.Cut(rest, " ")
			if described[name] {
				t.Errorf("family %s is described twice", name)
			}
			described[name] = true
			sc.Scan()
			if f, _ := family(name); sc.Text() != "# TYPE "+name+" "+f.Type {
				t.Errorf("the help of %s is followed by %q", name, sc.Text())
			}
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			t.Errorf("line %q: %v", line, err)
		}
		if _, dup := values[line[:i]]; dup {
			t.Errorf("series %s twice", line[:i])
		}
		values[line[:i]] = v

		name := line[:strings.IndexAny(line, "{ ")]
		if f, ok := familyOfSample(name); ok {
			name = f.Name
		}
		if name != last {
			if ended[name] {
				t.Errorf("family %s comes in two pieces", name)
			}
			ended[last], last = true, name
		}
		if strings.HasPrefix(name, "sluice_") != described[name] {
			t.Errorf("%s: described %v, want that of our own families alone", name, described[name])
		}
	}
	return values
}

func expect(t *testing.T, got map[string]float64, want map[string]float64) {
	t.Helper()
	for series, v := range want {
		if g, ok := got[series]; !ok || math.Abs(g-v) > 1e-9 {
			t.Errorf("%s = %v (there: %v), want %v", series, g, ok, v)
		}
	}
}

func TestARequestCountsInEveryFamilyItBelongsTo(t *testing.T) {
	m := NewMetrics(MetricsOptions{Version: "1.2.3"})
	o := &Observation{
		Route: m.Route("/api/items/*", "items"), Service: m.Service("items"), Listener: m.Listener(":8443"), Tenant: m.Tenant("acme"),
		Method: "GET", Status: 200, Duration: 18 * time.Millisecond, Upstream: 17 * time.Millisecond, Overhead: 200 * time.Microsecond,
		BytesIn: 0, BytesOut: 1024,
	}
	m.Observe(o)
	o.Status, o.Method = 503, "BREW"
	m.Observe(o)
	m.Observe(&Observation{Method: "POST", Status: 404, BytesIn: 300 << 20, Duration: -time.Second})
	expect(t, scrapeText(t, m), map[string]float64{
		`sluice_requests_total{route="/api/items/*",service="items",method="GET",class="2xx"}`:   1,
		`sluice_requests_total{route="/api/items/*",service="items",method="other",class="5xx"}`: 1,
		`sluice_requests_total{route="none",service="none",method="POST",class="4xx"}`:           1,
		`sluice_request_seconds_bucket{route="/api/items/*",le="0.01"}`:                          0,
		`sluice_request_seconds_bucket{route="/api/items/*",le="0.025"}`:                         2,
		`sluice_request_seconds_bucket{route="/api/items/*",le="+Inf"}`:                          2,
		`sluice_request_seconds_sum{route="/api/items/*"}`:                                       0.036,
		`sluice_request_seconds_count{route="/api/items/*"}`:                                     2,
		`sluice_request_seconds_sum{route="none"}`:                                               0,
		`sluice_upstream_seconds_sum{service="items"}`:                                           0.034,
		`sluice_overhead_seconds_bucket{listener=":8443",le="0.0001"}`:                           0,
		`sluice_overhead_seconds_bucket{listener=":8443",le="0.00025"}`:                          2,
		`sluice_response_bytes_bucket{route="/api/items/*",le="256"}`:                            0,
		`sluice_response_bytes_bucket{route="/api/items/*",le="1024"}`:                           2,
		`sluice_request_bytes_bucket{route="none",le="268435456"}`:                               0,
		`sluice_request_bytes_bucket{route="none",le="+Inf"}`:                                    1,
		`sluice_tenant_requests_total{tenant="acme",class="2xx"}`:                                1,
		`sluice_tenant_requests_total{tenant="acme",class="5xx"}`:                                1,
		`sluice_series_capped_total{family="sluice_tenant_requests_total"}`:                      0,
	})
}

func TestDecisionsAndAuthAreCounted(t *testing.T) {
	m := NewMetrics(MetricsOptions{})
	p := m.Policy("tenant-hour")
	p.Decided(LimitAdmit, ZoneGreen)
	p.Decided(LimitAdmit, ZoneGreen)
	p.Decided(LimitRefuse, ZoneRed)
	p.Decided("?", "?")
	m.Authenticated(AuthJWT)
	m.AuthFailed(AuthJWT, "expired")
	m.Service("items").Retried()
	expect(t, scrapeText(t, m), map[string]float64{
		`sluice_limit_decisions_total{policy="tenant-hour",result="admit",zone="green"}`: 2,
		`sluice_limit_decisions_total{policy="tenant-hour",result="refuse",zone="red"}`:  1,
		`sluice_limit_decisions_total{policy="tenant-hour",result="other",zone="none"}`:  1,
		`sluice_auth_total{method="jwt"}`:                                                1,
		`sluice_auth_failures_total{method="jwt",reason="expired"}`:                      1,
		`sluice_retries_total{service="items"}`:                                          1,
	})
}

// Invariant 4: a flood of tenants ends in one series, and says so.
func TestTenantsOverTheCapCountAsOther(t *testing.T) {
	m := NewMetrics(MetricsOptions{MaxTenants: 10})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 1000 {
				m.Observe(&Observation{Tenant: m.Tenant(fmt.Sprintf("t%d", i)), Status: 200})
				_ = w
			}
		})
	}
	wg.Wait()
	m.Observe(&Observation{Tenant: m.Tenant(strings.Repeat("x", 300)), Status: 200})
	m.Observe(&Observation{Tenant: m.Tenant("\xff"), Status: 200})
	m.Observe(&Observation{Tenant: m.Tenant("other"), Status: 200})
	series, total := 0, 0.0
	got := scrapeText(t, m)
	for name, v := range got {
		if strings.HasPrefix(name, "sluice_tenant_requests_total") {
			series++
			total += v
		}
	}
	if series != 11 || total != 4003 {
		t.Errorf("%d series with %v requests, want 11 with 4003", series, total)
	}
	if capped := got[`sluice_series_capped_total{family="sluice_tenant_requests_total"}`]; capped != 4*990+2 {
		t.Errorf("capped %v, want %v", capped, 4*990+2)
	}
}

func TestZerosAreThereFromTheStart(t *testing.T) {
	m := NewMetrics(MetricsOptions{})
	m.Service("items")
	want := map[string]float64{`sluice_retries_total{service="items"}`: 0}
	for _, method := range authMethods {
		want[`sluice_auth_total{method="`+method+`"}`] = 0
	}
	for _, family := range []string{
		"sluice_requests_total", "sluice_request_seconds", "sluice_upstream_seconds", "sluice_overhead_seconds",
		"sluice_tenant_requests_total", "sluice_limit_decisions_total", "sluice_auth_failures_total",
	} {
		want[`sluice_series_capped_total{family="`+family+`"}`] = 0
	}
	expect(t, scrapeText(t, m), want)
}

// Two spellings of one label value are one series, and so one handle.
func TestNamesThatAreNotUTF8AreOneSeries(t *testing.T) {
	m := NewMetrics(MetricsOptions{})
	m.Service("a\xff").Retried()
	m.Service("a\uFFFD").Retried()
	m.AuthFailed(AuthJWT, "\xff")
	m.AuthFailed(AuthJWT, "\xfe")
	for _, bad := range []string{"\xff", "\xfe"} {
		m.Observe(&Observation{Route: m.Route(bad, bad), Service: m.Service(bad), Listener: m.Listener(bad), Status: 200})
		m.Policy(bad).Decided(LimitAdmit, ZoneGreen)
	}
	expect(t, scrapeText(t, m), map[string]float64{
		"sluice_retries_total{service=\"a\uFFFD\"}":                                       2,
		"sluice_auth_failures_total{method=\"jwt\",reason=\"\uFFFD\"}":                    2,
		"sluice_request_seconds_count{route=\"\uFFFD\"}":                                  2,
		"sluice_limit_decisions_total{policy=\"\uFFFD\",result=\"admit\",zone=\"green\"}": 2,
	})
}

func TestHandlesSurviveAReload(t *testing.T) {
	m := NewMetrics(MetricsOptions{})
	route, service, tenant := m.Route("r", "s"), m.Service("s"), m.Tenant("t")
	if m.Route("r", "s") != route || m.Service("s") != service || m.Tenant("t") != tenant {
		t.Error("the same name gave another handle")
	}
	if a, b := m.Route("r", "one"), m.Route("r", "two"); a == b || a.route != b.route {
		t.Error("two services of a route must share its histograms and nothing else")
	}
}

func TestCollectorsAreMerged(t *testing.T) {
	m := NewMetrics(MetricsOptions{})
	m.Collect(func(emit Emit) {
		emit("sluice_connections", 3, ":80", "http/1.1")
		emit("sluice_log_dropped_total", 4, "access")
		emit("sluice_log_dropped_total", 1, "audit")
		emit("sluice_config_last_reload_success", 1)
		emit("sluice_config_last_reload_success", 0)
		emit("sluice_jwks_refreshed_timestamp_seconds", 1795431600.25, `quo"te\back`+"\nline\xff")
	})
	var h Health
	m.Collect(h.Collect)
	a := newAccessLog(AccessLogOptions{}, &memory{})
	a.dropped.Add(2)
	m.Collect(a.Collect)
	expect(t, scrapeText(t, m), map[string]float64{
		`sluice_connections{listener=":80",protocol="http/1.1"}`:                            3,
		`sluice_config_last_reload_success`:                                                 0,
		`sluice_ready`:                                                                      1,
		`sluice_log_dropped_total{sink="access"}`:                                           6,
		`sluice_log_dropped_total{sink="audit"}`:                                            1,
		`sluice_jwks_refreshed_timestamp_seconds{issuer="quo\"te\\back\nline` + "\uFFFD\"}": 1795431600.25,
	})
}

// Invariant 6.
func TestAMetricThatIsNotInTheTableIsABug(t *testing.T) {
	for name, emit := range map[string]func(Emit){
		"unknown": func(e Emit) { e("sluice_unknown_total", 1) },
		"labels":  func(e Emit) { e("sluice_connections", 1, "one") },
		"type":    func(e Emit) { e("sluice_request_seconds", 1, "route") },
		"own":     func(e Emit) { e("sluice_retries_total", 1, "items") },
	} {
		m := NewMetrics(MetricsOptions{})
		m.Collect(emit)
		func() {
			defer func() {
				if r := recover(); !strings.Contains(fmt.Sprint(r), "BUG") {
					t.Errorf("%s: recovered %v", name, r)
				}
			}()
			_, _ = m.WriteTo(&bytes.Buffer{})
		}()
	}
}

func TestProcessAndRuntimeMetricsAreThere(t *testing.T) {
	got := scrapeText(t, NewMetrics(MetricsOptions{Version: "1.2.3"}))
	for _, name := range []string{
		"go_goroutines", "go_gomaxprocs", "go_memstats_heap_alloc_bytes", `go_sched_latencies_seconds_bucket{le="+Inf"}`,
		"process_cpu_seconds_total", "process_open_fds", "process_max_fds", "process_start_time_seconds",
	} {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is not exported", name)
		}
	}
	found := false
	for series := range got {
		found = found || strings.HasPrefix(series, `sluice_build_info{version="1.2.3",revision="`)
	}
	if !found {
		t.Error("no build info")
	}
	if rss := got["process_resident_memory_bytes"]; rss < 1<<20 {
		t.Errorf("resident memory %v", rss)
	}
}

func TestBucketIndexIsTheFirstBoundNotBelow(t *testing.T) {
	for _, b := range []*buckets{requestSeconds, overheadSeconds, bodyBytes} {
		check := func(v uint64) {
			want, _ := slices.BinarySearch(b.bounds, v)
			if got := b.index(v); got != want {
				t.Errorf("index(%d) = %d, want %d", v, got, want)
			}
		}
		for _, bound := range b.bounds {
			check(bound - 1)
			check(bound)
			check(bound + 1)
		}
		for range 10000 {
			check(rand.Uint64() >> rand.IntN(64))
		}
		check(0)
		check(math.MaxUint64)
	}
}

// Invariant 5, and that stripes lose nothing, however many there are.
func TestConcurrentObservationsAddUp(t *testing.T) {
	for _, processors := range []int{1, 2, 3, 100} {
		m := newMetrics(MetricsOptions{}, newStriper(processors))
		route := m.Route("r", "s")
		const workers, each = 8, 2000
		stop := make(chan struct{})
		var scraping, wg sync.WaitGroup
		scraping.Go(func() { // while they count
			for {
				select {
				case <-stop:
					return
				default:
				}
				got := scrapeText(t, m)
				if inf, n := got[`sluice_request_seconds_bucket{route="r",le="+Inf"}`], got[`sluice_request_seconds_count{route="r"}`]; inf != n {
					t.Errorf("count %v, last bucket %v", n, inf)
				}
			}
		})
		for range workers {
			wg.Go(func() {
				for i := range each {
					m.Observe(&Observation{Route: route, Method: "GET", Status: 200, Duration: time.Duration(i) * time.Millisecond})
				}
			})
		}
		wg.Wait()
		close(stop)
		scraping.Wait()
		expect(t, scrapeText(t, m), map[string]float64{
			`sluice_requests_total{route="r",service="s",method="GET",class="2xx"}`: workers * each,
			`sluice_request_seconds_count{route="r"}`:                               workers * each,
			`sluice_request_seconds_sum{route="r"}`:                                 workers * each * (each - 1) / 2 / 1e3,
		})
	}
}

func TestMetricMethodsAndClasses(t *testing.T) {
	for i, name := range methods {
		if got := methodIndex(name); got != i {
			t.Errorf("%s has index %d, want %d", name, got, i)
		}
	}
	for status, want := range map[int]string{101: "1xx", 200: "2xx", 304: "3xx", 499: "4xx", 599: "5xx", 0: other, 99: other, 600: other, -1: other} {
		if got := classes[classIndex(status)]; got != want {
			t.Errorf("status %d is %s, want %s", status, got, want)
		}
	}
}

func TestFamiliesAreSortedAndWellFormed(t *testing.T) {
	if !slices.IsSortedFunc(families, func(a, b Family) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not sorted by name")
	}
	for _, f := range families {
		if f.Help == "" || !strings.HasSuffix(f.Help, ".") {
			t.Errorf("%s: help %q is not a sentence", f.Name, f.Help)
		}
		if (f.Type == typeCounter) != strings.HasSuffix(f.Name, "_total") {
			t.Errorf("%s is a %s", f.Name, f.Type)
		}
	}
}

func TestObserveAllocatesNothing(t *testing.T) {
	if raceEnabled {
		return // sync.Pool drops items at random under the race detector
	}
	m := NewMetrics(MetricsOptions{})
	route, service, listener, policy := m.Route("r", "s"), m.Service("s"), m.Listener("l"), m.Policy("p")
	if n := testing.AllocsPerRun(100, func() {
		m.Observe(&Observation{Route: route, Service: service, Listener: listener, Tenant: m.Tenant("acme"), Method: "GET", Status: 200})
		policy.Decided(LimitAdmit, ZoneGreen)
		m.Authenticated(AuthJWT)
	}); n != 0 {
		t.Errorf("%v allocations a request, want 0", n)
	}
}

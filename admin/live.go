package admin

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"time"

	"sluice/telemetry/series"
)

// Live answers for the traffic of the last day. With cluster, that of every node
// that answers within a second; the others are named as missing.
type Live interface {
	Window(ctx context.Context, d time.Duration, cluster bool) LiveWindow
	History(ctx context.Context, k series.Key, d time.Duration, cluster bool) LiveHistory
}

// LiveWindow is the traffic of a length of time up to now.
type LiveWindow struct {
	Report         *series.Report
	Nodes, Missing []string
}

// LiveHistory is that of one series, step by step; steps without traffic are left out.
type LiveHistory struct {
	Starts         []int64 // Unix seconds
	Points         []*series.Point
	Nodes, Missing []string
}

// liveRoutes are the traffic of the last day.
func (s *Server) liveRoutes() {
	s.viewer("GET /api/v1/live", s.liveWindow)
	s.viewer("GET /api/v1/live/history", s.liveHistory)
}

// Traffic is what /api/v1/live says of a series.
type Traffic struct {
	Name            string            `json:"name,omitempty"`
	Requests        uint64            `json:"requests"`
	Rate            float64           `json:"rate"` // requests per second
	Status          map[string]uint64 `json:"status"`
	ErrorRatio      float64           `json:"error_ratio"` // of 5xx
	Limited         uint64            `json:"limited"`
	Unauthenticated uint64            `json:"unauthenticated"`
	Forbidden       uint64            `json:"forbidden"`
	BytesIn         uint64            `json:"bytes_in"`
	BytesOut        uint64            `json:"bytes_out"`
	P50             float64           `json:"p50_ms"`
	P90             float64           `json:"p90_ms"`
	P95             float64           `json:"p95_ms"`
	P99             float64           `json:"p99_ms"`
}

var classNames = [...]string{"1xx", "2xx", "3xx", "4xx", "5xx", "other"}

func traffic(name string, p *series.Point, covered time.Duration) Traffic {
	n := p.Requests()
	t := Traffic{
		Name: name, Requests: n, Status: map[string]uint64{},
		Limited: p.Limited, Unauthenticated: p.Unauthenticated, Forbidden: p.Forbidden, BytesIn: p.BytesIn, BytesOut: p.BytesOut,
	}
	for i, c := range p.Classes {
		if c > 0 {
			t.Status[classNames[i]] = c
		}
	}
	if n > 0 {
		t.ErrorRatio = float64(p.Classes[series.Class5xx]) / float64(n)
	}
	if covered > 0 {
		t.Rate = rounded(float64(n) / covered.Seconds())
	}
	for q, ms := range map[float64]*float64{.5: &t.P50, .9: &t.P90, .95: &t.P95, .99: &t.P99} {
		*ms = rounded(p.Latency.Quantile(q).Seconds() * 1000)
	}
	return t
}

// rounded keeps three decimals: more would only look exact.
func rounded(x float64) float64 { return math.Round(x*1000) / 1000 }

// Bounds of the questions.
const (
	minLive = time.Second
	maxLive = 24 * time.Hour
	maxTop  = 1000
)

// window reads window and scope.
func (c *call) window(byDefault time.Duration) (d time.Duration, cluster bool, err error) {
	var faults []Fault
	d = byDefault
	if text := c.query("window"); text != "" {
		d, err = time.ParseDuration(text)
		if err != nil || d < minLive || d > maxLive {
			faults = append(faults, Fault{Parameter: "window", Detail: "is not a duration from 1s to 24h, such as 30s or 5m"})
		}
	}
	scope := cmp.Or(c.query("scope"), "cluster")
	if scope != "cluster" && scope != "node" {
		faults = append(faults, Fault{Parameter: "scope", Detail: "is not cluster or node"})
	}
	if len(faults) > 0 {
		return 0, false, invalid(faults...)
	}
	return d, scope == "cluster", nil
}

type liveAnswer struct {
	Time    time.Time `json:"time"`
	Seconds float64   `json:"seconds"` // that the numbers cover
	Nodes   []string  `json:"nodes"`
	Missing []string  `json:"missing"`
	Total   Traffic   `json:"total"`
	Routes  []Traffic `json:"routes"`
	Tenants []Traffic `json:"tenants"`
}

func (s *Server) liveWindow(c *call) error {
	d, cluster, err := c.window(time.Minute)
	if err != nil {
		return err
	}
	top := 20
	if text := c.query("top"); text != "" {
		if top, err = strconv.Atoi(text); err != nil || top < 1 || top > maxTop {
			return invalid(Fault{Parameter: "top", Detail: "is not a number from 1 to 1000"})
		}
	}
	w := s.deps.Live.Window(c.r.Context(), d, cluster)
	a := liveAnswer{
		Time: time.Now().UTC(), Seconds: w.Report.Covered.Seconds(), Nodes: w.Nodes, Missing: notNil(w.Missing),
		Routes: []Traffic{}, Tenants: []Traffic{},
	}
	total := new(series.Point)
	for k, p := range w.Report.Series {
		switch k.Kind {
		case series.Total:
			total = p
		case series.Route:
			a.Routes = append(a.Routes, traffic(k.Name, p, w.Report.Covered))
		case series.Tenant:
			a.Tenants = append(a.Tenants, traffic(k.Name, p, w.Report.Covered))
		}
	}
	a.Total = traffic("", total, w.Report.Covered)
	for _, list := range []*[]Traffic{&a.Routes, &a.Tenants} {
		slices.SortFunc(*list, func(x, y Traffic) int {
			return cmp.Or(cmp.Compare(y.Requests, x.Requests), cmp.Compare(x.Name, y.Name))
		})
		*list = (*list)[:min(top, len(*list))]
	}
	return c.ok(a)
}

func notNil(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}

var liveKinds = map[string]series.Kind{"total": series.Total, "route": series.Route, "tenant": series.Tenant}

type historyAnswer struct {
	Seconds float64  `json:"step_seconds"`
	Nodes   []string `json:"nodes"`
	Missing []string `json:"missing"`
	Steps   []aStep  `json:"steps"`
}

type aStep struct {
	Time time.Time `json:"time"`
	Traffic
}

func (s *Server) liveHistory(c *call) error {
	d, cluster, err := c.window(time.Hour)
	if err != nil {
		return err
	}
	kind, ok := liveKinds[cmp.Or(c.query("kind"), "total")]
	if !ok {
		return invalid(Fault{Parameter: "kind", Detail: "is not total, route or tenant"})
	}
	name := c.query("name")
	if (kind == series.Total) != (name == "") {
		return invalid(Fault{Parameter: "name", Detail: "names the route or the tenant; total has none"})
	}
	h := s.deps.Live.History(c.r.Context(), series.Key{Kind: kind, Name: name}, d, cluster)
	step := series.StepFor(d)
	a := historyAnswer{Seconds: step.Seconds(), Nodes: h.Nodes, Missing: notNil(h.Missing), Steps: []aStep{}}
	for i, p := range h.Points {
		a.Steps = append(a.Steps, aStep{time.Unix(h.Starts[i], 0).UTC(), traffic("", p, step)})
	}
	return c.ok(a)
}

package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/telemetry/series"
)

// quiet is a gateway with two routes, one of them with an error.
type quiet struct{}

func (quiet) Window(_ context.Context, d time.Duration, cluster bool) LiveWindow {
	a, b := new(series.Point), new(series.Point)
	a.Classes[series.Class2xx], a.Latency[series.Index(time.Second)] = 3, 3
	b.Classes[series.Class5xx], b.Latency[series.Index(time.Millisecond)], b.Limited = 1, 1, 1
	total := new(series.Point)
	total.Merge(a)
	total.Merge(b)
	w := LiveWindow{Report: &series.Report{Covered: d, Series: map[series.Key]*series.Point{
		{Kind: series.Total}: total, {Kind: series.Route, Name: "/a"}: a, {Kind: series.Route, Name: "/b"}: b, {Kind: series.Tenant, Name: "acme"}: a,
	}}, Nodes: []string{"gw-1"}}
	if cluster {
		w.Missing = []string{"gw-2"}
	}
	return w
}

func (quiet) History(_ context.Context, k series.Key, _ time.Duration, _ bool) LiveHistory {
	if k.Name == "nobody" {
		return LiveHistory{Nodes: []string{"gw-1"}}
	}
	return LiveHistory{Starts: []int64{1_800_000_000}, Points: []*series.Point{new(series.Point)}, Nodes: []string{"gw-1"}}
}

func TestTrafficIsToldByRouteAndTenant(t *testing.T) {
	s, _ := newServer(t, new(bool))
	for _, c := range []struct {
		path   string
		status int
		want   []string
	}{
		{"/api/v1/live?window=2s", 200, []string{
			`"missing":["gw-2"]`, `"total":{"requests":4,"rate":2,"status":{"2xx":3,"5xx":1},"error_ratio":0.25,"limited":1`,
			`"routes":[{"name":"/a"`, `"tenants":[{"name":"acme"`}},
		{"/api/v1/live?top=1&scope=node", 200, []string{`"missing":[]`, `"seconds":60`, `"routes":[{"name":"/a"`}},
		{"/api/v1/live?window=2d", 422, []string{`"parameter":"window"`}},
		{"/api/v1/live?window=1ms&scope=world", 422, []string{`"parameter":"window"`, `"parameter":"scope"`}},
		{"/api/v1/live?top=0", 422, []string{`"parameter":"top"`}},
		{"/api/v1/live/history", 200, []string{`"step_seconds":60`, `"time":"2027-01-15T08:00:00Z"`}},
		{"/api/v1/live/history?kind=tenant&name=nobody&window=24h", 200, []string{`"step_seconds":600`, `"steps":[]`}},
		{"/api/v1/live/history?kind=tenant", 422, []string{`"parameter":"name"`}},
		{"/api/v1/live/history?kind=moon", 422, []string{`"parameter":"kind"`}},
		{"/api/v1/live/history?window=x", 422, []string{`"parameter":"window"`}},
	} {
		w := ask(t, s, http.MethodGet, c.path, "Bearer oidc-viewer")
		if w.Code != c.status {
			t.Errorf("%s: %d %s", c.path, w.Code, w.Body)
		}
		var body bytes.Buffer
		if err := json.Compact(&body, w.Body.Bytes()); err != nil {
			t.Fatal(err)
		}
		for _, part := range c.want {
			if !strings.Contains(body.String(), part) {
				t.Errorf("%s lacks %s:\n%s", c.path, part, body.String())
			}
		}
	}
	if w := ask(t, s, http.MethodGet, "/api/v1/live?top=1", "Bearer oidc-viewer"); strings.Contains(w.Body.String(), "/b") {
		t.Errorf("more than one route: %s", w.Body)
	}
}

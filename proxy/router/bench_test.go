package router

import (
	"fmt"
	"net/http"
	"testing"
)

// world returns routes as a platform of many services has them: mostly a
// version, a service and a resource, some with parameters, a few by host,
// header or method.
func world(n int) []Spec {
	specs := []Spec{{Path: "/*"}}
	for i := 1; len(specs) < n; i++ {
		service := fmt.Sprintf("/api/v1/service-%d", i/4)
		switch i % 4 {
		case 0:
			specs = append(specs, Spec{Path: service + "/*"})
		case 1:
			specs = append(specs, Spec{Path: service + "/orgs/{org}/items/*", Methods: []string{"GET", "POST"}})
		case 2:
			specs = append(specs, Spec{Path: service + "/export", Methods: []string{"GET"}})
		case 3:
			specs = append(specs, Spec{Host: fmt.Sprintf("tenant-%d.example.com", i), Path: "/api/*"})
		}
	}
	return specs
}

func benchmarkMatch(b *testing.B, n int, host, path string) {
	r := mustCompile(b, world(n))
	h := http.Header{"Accept": {"*/*"}}
	var m Match
	b.ReportAllocs()
	for b.Loop() {
		if r.Match(host, path, "GET", h, &m) != Found {
			b.Fatal("not found")
		}
		if _, ok := m.Select("acme", "standard"); !ok {
			b.Fatal("not selected")
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 1000} {
		for _, tt := range []struct{ name, host, path string }{
			{"prefix", "api.example.com", "/api/v1/service-1/reports/2026"},
			{"params", "api.example.com:8080", "/api/v1/service-1/orgs/acme/items/7"},
			{"fallback", "api.example.com", "/api/v1/service-x/y"},
			{"host", "tenant-3.example.com", "/api/v1/service-1/y"},
			{"escaped", "api.example.com", "/api/v1/service%2D1/orgs/a%20b/items/7"},
		} {
			b.Run(fmt.Sprintf("routes=%d/%s", n, tt.name), func(b *testing.B) { benchmarkMatch(b, n, tt.host, tt.path) })
		}
	}
}

// BenchmarkChildren compares the two ways to find a literal segment; it is
// where fewChildren comes from.
func BenchmarkChildren(b *testing.B) {
	for _, n := range []int{2, 4, 6, 8, 12} {
		var few children
		many := children{many: make(map[string]*node)}
		var last string
		for i := range n {
			last = fmt.Sprintf("segment-%02d", i)
			few.few = append(few.few, child{last, new(node)})
			many.many[last] = new(node)
		}
		b.Run(fmt.Sprintf("few=%d", n), func(b *testing.B) {
			for b.Loop() {
				few.get(last)
			}
		})
		b.Run(fmt.Sprintf("many=%d", n), func(b *testing.B) {
			for b.Loop() {
				many.get(last)
			}
		})
	}
}

func BenchmarkNormalize(b *testing.B) {
	for name, path := range map[string]string{
		"normal":  "/api/v1/service-1/orgs/acme/items/7",
		"escaped": "/api/v1/service-1/orgs/caf%C3%A9/items/7",
		"rewrite": "/api//v1/./service-1/../orgs/%7eacme/items/7",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = Normalize(path)
			}
		})
	}
}

func skipUnderRace(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
}

func TestInvariant3_MatchDoesNotAllocate(t *testing.T) {
	skipUnderRace(t)
	specs := append(world(1000),
		Spec{Path: "/x/*", Tenants: []string{"acme"}}, Spec{Path: "/x/*", Tiers: []string{"premium"}}, Spec{Path: "/x/{a}/{b}"},
		Spec{Path: "/only", Host: "h", Methods: []string{"POST"}}, Spec{Path: "/y", Headers: map[string]string{"X": "1"}})
	specs[0].Methods = []string{"GET"}
	r := mustCompile(t, specs)
	h := http.Header{"X": {"1"}}
	var m Match
	for _, q := range []struct{ host, path, method string }{
		{"API.example.com:443", "/api/v1/service-1/orgs/acme/items/7", "GET"},
		{"tenant-3.example.com", "/api/v1", "GET"},
		{"h", "/%78/%61/b%20c", "GET"},
		{"h", "/y", "PUT"},
		{"h", "/only", "PUT"},
	} {
		run := func() {
			r.Match(q.host, q.path, q.method, h, &m)
			m.Select("acme", "premium")
			m.Params()
		}
		run()
		if n := testing.AllocsPerRun(200, run); n != 0 {
			t.Errorf("%v: %v allocations, want 0", q, n)
		}
	}
}

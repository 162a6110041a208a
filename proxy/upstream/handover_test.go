package upstream

import (
	"testing"
	"time"

	"sluice/conf"
)

func TestSuccessorKnowsWhoIsUnfit(t *testing.T) {
	c := conf.Service{
		Upstreams: []conf.Upstream{{URL: "http://a.example"}, {URL: "http://b.example"}, {URL: "http://c.example"}, {URL: "http://d.example"}},
		Eject:     &conf.Eject{Errors: 2, For: conf.Duration(time.Minute)},
		Health:    &conf.Health{Path: "/health", Unhealthy: 1},
	}
	service := func(r *Registry) *Service {
		t.Helper()
		s, err := r.Service("items", c)
		if err != nil {
			t.Fatal(err)
		}
		r.Use([]*Service{s})
		return s
	}
	old := NewRegistry(Options{})
	was := service(old)
	was.members[1].fail("broken")
	was.members[1].fail("broken")
	was.members[2].noteCheck(*c.Health, 500, nil)

	next := NewRegistry(Options{})
	if err := next.Import(old.Export()); err != nil {
		t.Fatal(err)
	}
	service(next)
	var states []string
	for _, e := range next.Snapshot()[0].Endpoints {
		states = append(states, e.State)
	}
	if want := []string{Healthy, Ejected, Unhealthy, Healthy}; len(states) != 4 || states[1] != want[1] || states[2] != want[2] || states[0] != want[0] || states[3] != want[3] {
		t.Errorf("states %v, want %v", states, want)
	}
	if got := len(service(next).table.Load().members); got != 2 {
		t.Errorf("%d endpoints are chosen from, want 2", got)
	}
	for _, wrong := range []string{"", "{}", `{"version":2}`, "[]"} {
		if NewRegistry(Options{}).Import([]byte(wrong)) == nil {
			t.Errorf("%q was taken in", wrong)
		}
	}
}

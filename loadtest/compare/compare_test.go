package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBodiesHaveTheirSize(t *testing.T) {
	for path, size := range map[string]int{smallPath: 1024, largePath: 102400} {
		if got := len(bodies()[path]); got != size {
			t.Errorf("%s: %d bytes, want %d", path, got, size)
		}
	}
}

func TestChoose(t *testing.T) {
	all := []contestant{{name: "a"}, {name: "b"}, {name: "c", extra: true}}
	for _, c := range []struct {
		only            string
		chosen, unknown []string
	}{
		{"", []string{"a", "b"}, nil},
		{"c,a", []string{"a", "c"}, []string{}},
		{"b,x,y", []string{"b"}, []string{"x", "y"}},
	} {
		got, unknown := choose(all, c.only)
		if diff := cmp.Diff(c.chosen, names(got)); diff != "" {
			t.Errorf("choose %q: %s", c.only, diff)
		}
		if diff := cmp.Diff(c.unknown, unknown); diff != "" {
			t.Errorf("choose %q, unknown: %s", c.only, diff)
		}
	}
}

func TestWithBeforeTwinsSluiceAlone(t *testing.T) {
	all, ratios := withBefore([]contestant{{name: "a", program: "nginx"}, {name: "b", program: "sluice", large: true}})
	if diff := cmp.Diff([]string{"a", "b", "b-before"}, names(all)); diff != "" {
		t.Error(diff)
	}
	if len(ratios) != 2 || ratios[0].Name != "b" || ratios[0].Base != "b-before" || all[2].program != beforeProgram {
		t.Errorf("ratios %+v, twin's program %q", ratios, all[2].program)
	}
}

// Every contestant comes once in a round, and starts some round before it is
// anyone's turn again.
func TestInRoundTurns(t *testing.T) {
	list := []int{0, 1, 2, 3, 4}
	first := map[int]int{}
	for round := range 2 * len(list) {
		order := inRound(list, round)
		first[order[0]]++
		slices.Sort(order)
		if diff := cmp.Diff(list, order); diff != "" {
			t.Fatalf("round %d: %s", round, diff)
		}
	}
	if len(first) != len(list) {
		t.Errorf("first places: %v, want everyone among them", first)
	}
	if got := inRound([]int(nil), 3); len(got) != 0 {
		t.Errorf("of nobody: %v", got)
	}
}

func TestGoalsAndBasesNameContestants(t *testing.T) {
	all := names(contestants)
	wanted := []string{bases.Plain, bases.Full}
	for _, g := range goals {
		wanted = append(wanted, g.Name, g.Base)
	}
	for _, name := range wanted {
		if !slices.Contains(all, name) {
			t.Errorf("%q is no contestant", name)
		}
	}
}

func TestConfigurationsRender(t *testing.T) {
	for _, c := range contestants {
		if c.config == "" {
			continue
		}
		s := site{Name: c.name, Dir: t.TempDir(), Host: "127.0.0.1", Port: "81", Address: "127.0.0.1:81", Upstream: "127.0.0.1:82", Verify: c.verifies}
		if c.logs {
			s.Log = "/tmp/access.log"
		}
		if err := s.render(c.config); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		text, err := os.ReadFile(s.config)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "127.0.0.1:82") || strings.Contains(string(text), "<no value>") {
			t.Errorf("%s: rendered as\n%s", c.name, text)
		}
	}
}

func TestParseMetrics(t *testing.T) {
	text := "# HELP x y\n# TYPE x counter\nx_total{route=\"/a b}\",code=\"200\"} 3\nx_total{code=\"404\"} 4 1700000000\n\ngo_goroutines 12\nsize_bytes 1.5e+06\n"
	got, err := parseMetrics([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]float64{"x_total": 7, "go_goroutines": 12, "size_bytes": 1.5e6}, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"x", "x{a=\"b\" 1", "x one", "x{}"} {
		if m, err := parseMetrics([]byte(bad)); err == nil {
			t.Errorf("parseMetrics(%q) = %v, want an error", bad, m)
		}
	}
}

func FuzzParseMetrics(f *testing.F) {
	f.Add([]byte("a{b=\"c\"} 1\nd 2 3\n# e\n"))
	f.Fuzz(func(t *testing.T, text []byte) { _, _ = parseMetrics(text) })
}

func TestGrowth(t *testing.T) {
	for _, c := range []struct {
		what   string
		series []float64
		grows  bool
	}{
		{"steady", []float64{20, 30, 31, 30, 31, 30, 31, 30}, false},
		{"warming up is no growth", []float64{5, 10, 30, 30, 30, 30, 30, 30}, false},
		{"breathing", []float64{30, 50, 30, 50, 30, 50, 30, 50}, false},
		{"a leak", []float64{20, 30, 40, 50, 60, 70, 80, 90}, true},
	} {
		if err := growth(c.what, c.series, 0.1, 4); (err != nil) != c.grows {
			t.Errorf("%s: %v, want growth: %v", c.what, err, c.grows)
		}
	}
	if err := growth("too few", []float64{1, 2, 3}, 1, 1); err == nil {
		t.Error("three samples were judged")
	}
}

func TestCountLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	long := strings.Repeat("x", 3<<20)
	if err := os.WriteFile(path, []byte("one\n"+long+"\nthree\nunfinished"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := countLines(path); err != nil || n != 3 {
		t.Errorf("got %d, %v; want 3", n, err)
	}
}

func TestParseOptionsRefusesNonsense(t *testing.T) {
	for _, args := range [][]string{{"--rounds", "0"}, {"--slice", "100ms"}, {"--rate", "-1"}, {"more"}} {
		if o, err := parseOptions(args); err == nil {
			t.Errorf("%v: %+v, want an error", args, o)
		}
	}
}

func TestCommandNamesWhatChangesTheMeasurement(t *testing.T) {
	o, err := parseOptions([]string{"--only", "nginx", "--json", "out.json", "--rounds=3", "--profile", "dir"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := o.command(), "go run ./loadtest/compare --only=nginx --rounds=3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

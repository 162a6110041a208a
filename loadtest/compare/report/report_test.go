package report

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden file")

func TestSpreadOf(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Spread
	}{
		{nil, Spread{}},
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{9, 1, 4}, Spread{4, 1, 9}},
		{[]float64{9, 1, 4, 5}, Spread{4.5, 1, 9}},
	} {
		if got := SpreadOf(c.values); got != c.want {
			t.Errorf("SpreadOf(%v) = %v, want %v", c.values, got, c.want)
		}
	}
	values := []float64{3, 1, 2}
	SpreadOf(values)
	if diff := cmp.Diff([]float64{3, 1, 2}, values); diff != "" {
		t.Errorf("SpreadOf reordered its argument: %s", diff)
	}
}

func row(name string, cpu ...float64) Row {
	r := Row{Name: name, Label: strings.ToUpper(name), Proxy: true}
	for i, v := range cpu {
		r.Samples = append(r.Samples, Sample{Round: i, CPU: v, PerSecond: 1e6 / v, Busy: 1, RSS: 20 << 20, P50: 100, P99: 900 + v, Requests: 1000})
	}
	return r
}

// In a slow second round both are slow: the ratio of the round is what it always
// is, while the ratio of the two medians would not be.
func TestRatioIsTakenWithinRounds(t *testing.T) {
	a, b := row("a", 10, 40, 12), row("b", 5, 20, 6)
	got, ok := Ratio(a, b)
	if !ok || got != (Spread{2, 2, 2}) {
		t.Errorf("got %v, %v; want 2 throughout", got, ok)
	}
	b.Samples = b.Samples[1:2] // only the round that both have
	if got, ok := Ratio(a, b); !ok || got != (Spread{2, 2, 2}) {
		t.Errorf("one common round: got %v, %v", got, ok)
	}
	b.Samples = nil
	if got, ok := Ratio(a, b); ok {
		t.Errorf("no common round: got %v", got)
	}
}

func TestInvalidRowIsNotFound(t *testing.T) {
	bad := row("bad", 1, 2)
	bad.Samples[1].Errors = 1
	if _, ok := Find([]Row{row("good", 1), bad}, "bad"); ok {
		t.Error("a row with an error was found")
	}
	bad.Samples[1] = Sample{Round: 1}
	if _, ok := Find([]Row{bad}, "bad"); ok {
		t.Error("a row with a slice without an answer was found")
	}
	if r, ok := Find([]Row{row("good", 1), bad}, "good"); !ok || r.Name != "good" {
		t.Errorf("got %v, %v", r, ok)
	}
}

func TestMarkdown(t *testing.T) {
	direct := row("direct", 4, 4, 4)
	direct.Proxy = false
	failing := row("failing", 9, 9, 9)
	failing.Samples[2].Errors = 17
	fast := row("fast", 9, 10, 8)
	for i := range fast.Samples {
		fast.Samples[i].Busy = 0.5
	}
	fast.Notes = []string{"something of note"}
	rep := Report{
		Command: "go run ./loadtest/compare", Started: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC),
		Machine:  Machine{CPU: "A CPU", Cores: 2, Kernel: "Linux 6.1", Go: "go1.26", Versions: map[string]string{"wrk": "4.1.0", "nginx": "1.22.1"}},
		Settings: Settings{Rounds: 3, Slice: 2 * time.Second, Connections: 64, Rate: 5000, TokenBytes: 600, ProxyCPUs: []int{0}, LoadCPUs: []int{1, 2}},
		Small:    []Row{direct, row("plain", 20, 22, 21), row("full", 60, 66, 50), fast, failing, {Name: "none", Label: "NONE", Proxy: true}},
		Large:    []Row{row("plain", 80, 82, 84), row("fast", 80, 90, 100)},
		Missing:  []string{"caddy (not installed)"},
	}
	var b strings.Builder
	err := rep.Markdown(&b, Bases{"plain", "full"}, []Goal{
		{What: "fast / plain", Rows: "small", Name: "fast", Base: "plain", AtMost: 0.5, Remark: "of note"},
		{What: "fast / plain, large", Rows: "large", Name: "fast", Base: "plain", AtMost: 1},
		{What: "failing / plain", Rows: "small", Name: "failing", Base: "plain", AtMost: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/report.md"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestReplaceSection(t *testing.T) {
	const begin, end = "<!-- a -->", "<!-- b -->"
	doc := "top\n" + begin + "\nold\nolder\n" + end + "\nbottom\n"
	got, err := ReplaceSection(doc, begin, end, "new\n\n")
	if want := "top\n" + begin + "\nnew\n" + end + "\nbottom\n"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if again, err := ReplaceSection(got, begin, end, "new"); err != nil || again != got {
		t.Errorf("replacing by the same: %q, %v", again, err)
	}
	for _, bad := range []string{"", end + "\n" + begin + "\n", begin + "\n"} {
		if _, err := ReplaceSection(bad, begin, end, "new"); err == nil {
			t.Errorf("ReplaceSection(%q): no error", bad)
		}
	}
}

func TestCPUModel(t *testing.T) {
	info := "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9\nprocessor\t: 1\nmodel name\t: other\n"
	if got := cpuModel([]byte(info)); got != "AMD EPYC 9" {
		t.Errorf("got %q", got)
	}
}

func TestFirstVersion(t *testing.T) {
	for out, want := range map[string]string{
		"nginx version: nginx/1.22.1\n":           "1.22.1",
		"HAProxy version 2.6.12-1+deb12u4 2026/1": "2.6.12",
		"wrk debian/4.1.0-3+b2 [epoll]":           "4.1.0",
		"nothing":                                 "",
	} {
		if got := firstVersion([]byte(out)); got != want {
			t.Errorf("firstVersion(%q) = %q, want %q", out, got, want)
		}
	}
}

package telemetry

import (
	"os"
	"os/exec"
	"testing"
)

// TestPrometheusRules has promtool check and run the rules that are shipped, and
// looks up every metric that they name.
func TestPrometheusRules(t *testing.T) {
	const dir = "../deploy/prometheus"
	for _, args := range [][]string{{"check", "rules", "rules.yaml"}, {"test", "rules", "rules_test.yaml"}} {
		promtool := exec.Command("promtool", args...)
		promtool.Dir = dir
		if out, err := promtool.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
	text, err := os.ReadFile(dir + "/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	names := metricName.FindAllString(string(text), -1)
	if len(names) < 12 {
		t.Fatalf("found %d names of metrics in the rules", len(names))
	}
	for _, name := range names {
		if _, ok := familyOfSample(name); !ok {
			t.Errorf("there is no metric %s", name)
		}
	}
}

package telemetry

import (
	"bytes"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPromtoolAcceptsAScrape has Prometheus's own parser and linter (promtool,
// of the Debian package prometheus) read a scrape with every kind of sample.
// The families of the library come without help, and some of its names end in
// _count: the linter may say so of them, and of nothing that is ours.
func TestPromtoolAcceptsAScrape(t *testing.T) {
	m := NewMetrics(MetricsOptions{Version: "1.2.3"})
	m.Observe(&Observation{
		Route: m.Route(`/a/{id}/"b\`+"\n\xff", "s"), Service: m.Service(`{,="}`), Listener: m.Listener("[::]:80"), Tenant: m.Tenant(`ten"ant\`),
		Method: "GET", Status: 200, Duration: time.Second, Upstream: time.Second, BytesOut: 1 << 40,
	})
	m.Policy("p").Decided(LimitAdmit, ZoneGreen)
	m.Service("s").Retried()
	m.AuthFailed(AuthJWT, "expired")
	m.Collect(func(emit Emit) {
		for _, f := range families { // whatever other rooms may emit
			if f.Type != typeHistogram && !slices.Contains(ownFamilies, f.Name) {
				emit(f.Name, 1.5e9, f.Labels...)
			}
		}
	})
	var scrape bytes.Buffer
	if _, err := m.WriteTo(&scrape); err != nil {
		t.Fatal(err)
	}

	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = bytes.NewReader(scrape.Bytes())
	out, err := check.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != promtoolLint) {
		t.Fatalf("promtool: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "go_") && !strings.HasPrefix(line, "process_") {
			t.Errorf("promtool: %s", line)
		}
	}
}

// promtoolLint is promtool's exit code when it can read the metrics but has
// something to say about them.
const promtoolLint = 3

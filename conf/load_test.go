package conf

import (
	"os"
	"testing"
)

// designEnv are the variables that the design's example uses.
func designEnv(name string) (string, bool) {
	value, ok := map[string]string{
		"SLUICE_ADMIN_TOKEN": "an-operator-token-of-some-length",
		"SLUICE_GOSSIP_KEY":  "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
		"ALERT_WEBHOOK":      "https://hooks.example/services/T0/B0/canary",
	}[name]
	return value, ok
}

func TestDesignExampleLoads(t *testing.T) {
	data, err := os.ReadFile("testdata/good/design.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d, ps := Parse("sluice.yaml", data, designEnv)
	if d == nil {
		t.Fatalf("refused:\n%v", ps.Err())
	}
	if got := d.Routes[1].Limit.Requests; got != 10 {
		t.Errorf("routes[1].limit.requests = %d, want 10", got)
	}
}

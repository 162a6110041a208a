package telemetry

import (
	"errors"
	"testing"
)

func TestReadinessNamesWhatIsMissing(t *testing.T) {
	var h Health
	check := func(wantStatus int, want string) {
		t.Helper()
		status, body := h.Readyz()
		if status != wantStatus || string(body) != want+"\n" {
			t.Errorf("got %d %swant %d %s", status, body, wantStatus, want)
		}
	}
	check(200, `{"ready":true}`)
	h.Set("listeners", errors.New("not listening yet"))
	h.Set("config", errors.New(`no "configuration"`))
	h.Set("keys", nil)
	check(503, `{"ready":false,"reasons":[{"name":"config","reason":"no \"configuration\""},{"name":"listeners","reason":"not listening yet"}]}`)
	h.Set("config", nil)
	h.Remove("listeners")
	check(200, `{"ready":true}`)
}

func TestHealthDoesNotDependOnReadiness(t *testing.T) {
	var h Health
	h.Set("draining", errors.New("stopping"))
	if status, _ := h.Healthz(); status != 200 {
		t.Errorf("status %d: a draining node would be killed", status)
	}
}

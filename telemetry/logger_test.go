package telemetry

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLoggerIsJSONUnlessATerminalReadsIt(t *testing.T) {
	var b bytes.Buffer
	NewLogger(LogOptions{}, &b).Info("listening", KeyAddress, ":8080")
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil || line["address"] != ":8080" {
		t.Errorf("%v: %s", err, b.String())
	}
	b.Reset()
	NewLogger(LogOptions{Format: "text"}, &b).Info("listening", KeyAddress, ":8080")
	if !strings.Contains(b.String(), "msg=listening address=:8080") {
		t.Errorf("text: %s", b.String())
	}
}

func TestLevelMayChange(t *testing.T) {
	var (
		b     bytes.Buffer
		level slog.LevelVar
	)
	log := NewLogger(LogOptions{Level: &level}, &b)
	log.Debug("hidden")
	level.Set(slog.LevelDebug)
	log.Debug("shown")
	if got := b.String(); strings.Contains(got, "hidden") || !strings.Contains(got, "shown") {
		t.Errorf("got %s", got)
	}
}

func TestLoggerRedactsCredentials(t *testing.T) {
	const canary = "canary-5ecret"
	for _, format := range []string{"text", "json"} {
		var b bytes.Buffer
		log := NewLogger(LogOptions{Format: format}, &b)
		log.Info("x", "Authorization", "Bearer "+canary, "admin_token", canary, "redis_password", canary,
			slog.Group("request", "cookie", canary, "client_secret", []string{canary}), "cache_tokens", 17)
		if got := b.String(); strings.Contains(got, canary) || !strings.Contains(got, "17") {
			t.Errorf("%s: %s", format, got)
		}
	}
}

func TestThrottleLetsOneThroughAndCountsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			b  bytes.Buffer
			th = Throttle{Every: time.Minute}
		)
		log := NewLogger(LogOptions{}, &b)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { th.Warn(log, "trouble") })
		}
		wg.Wait()
		if n := strings.Count(b.String(), "\n"); n != 1 {
			t.Errorf("%d lines, want 1: %s", n, b.String())
		}
		b.Reset()
		time.Sleep(time.Minute)
		th.Warn(log, "trouble")
		if !strings.Contains(b.String(), `"suppressed":49`) {
			t.Errorf("got %s, want 49 suppressed", b.String())
		}
		b.Reset()
		time.Sleep(time.Hour)
		th.Warn(log, "trouble")
		if b.Len() == 0 || strings.Contains(b.String(), "suppressed") {
			t.Errorf("got %q, want one with none suppressed", b.String())
		}
	})
}

// A clock that was far ahead when it last warned must not keep it silent.
func TestThrottleSurvivesAClockThatIsSetBack(t *testing.T) {
	var th Throttle
	th.next.Store(time.Now().Add(24 * time.Hour).UnixNano())
	if _, ok := th.Allow(); !ok {
		t.Error("silent until the clock has caught up")
	}
}

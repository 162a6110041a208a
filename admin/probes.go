package admin

import (
	"bytes"
	"net/http/pprof"

	"sluice/telemetry"
)

// probeRoutes are what monitoring asks: health, metrics, profiles.
func (s *Server) probeRoutes() {
	s.public("GET /healthz", health(s.deps.Health.Healthz))
	s.public("GET /readyz", health(s.deps.Health.Readyz))
	s.public("GET /metrics", s.metrics)
	// Profiles can hold what is in memory, and cost time.
	s.admin("GET /debug/pprof/", plain(pprof.Index))
	s.admin("GET /debug/pprof/profile", plain(pprof.Profile))
	s.admin("GET /debug/pprof/symbol", plain(pprof.Symbol))
	s.admin("GET /debug/pprof/trace", plain(pprof.Trace))
}

func health(render func() (int, []byte)) handler {
	return func(c *call) error {
		status, body := render()
		c.w.Header().Set("Content-Type", "application/json")
		c.w.WriteHeader(status)
		c.send(body)
		return nil
	}
}

func (s *Server) metrics(c *call) error {
	var text bytes.Buffer
	if _, err := s.deps.Metrics.WriteTo(&text); err != nil {
		return err
	}
	return c.text(telemetry.MetricsContentType, text.Bytes())
}

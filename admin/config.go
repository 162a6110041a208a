package admin

import (
	"net/http"

	"sluice/conf"
)

// Reloaded is the outcome of applying the configuration on disk.
type Reloaded struct {
	Hash     string        `json:"hash"`     // of the configuration now in force
	Changed  bool          `json:"changed"`  // false: the file says what is in force already
	Problems conf.Problems `json:"problems"` // warnings when it was applied, errors too when it was refused
}

// configRoutes are the node itself and its configuration.
func (s *Server) configRoutes() {
	s.viewer("GET /api/v1/status", func(c *call) error { return c.ok(s.deps.Status()) })
	s.viewer("GET /api/v1/config", func(c *call) error { return c.text("application/yaml", s.deps.Config()) })
	s.operator("POST /api/v1/config:reload", s.reload)
}

func (s *Server) reload(c *call) error {
	outcome, ok := s.deps.Reload(c.r.Context())
	c.changed("config", outcome.Hash, nil, outcome)
	if !ok {
		return c.answer(http.StatusUnprocessableEntity, outcome)
	}
	return c.ok(outcome)
}

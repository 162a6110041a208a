package admin

import (
	"net/http"
	"time"
)

// Capture is a rule by which the payloads of requests are logged, redacted.
type Capture struct {
	Name   string    `json:"name"`
	Route  string    `json:"route,omitempty"`
	Tenant string    `json:"tenant,omitempty"`
	Status string    `json:"status,omitempty"`
	Sample float64   `json:"sample"`
	Until  time.Time `json:"until"`
	Source string    `json:"source"` // file or api
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Captures answers for the payload log. All methods are safe for concurrent use.
type Captures interface {
	// Captures returns the rules that are in force.
	Captures() []Capture
	// StartCapture makes a rule, on every node, or replaces the one of that name.
	StartCapture(Capture) error
	// StopCapture ends a rule that StartCapture made; false: there is none.
	StopCapture(name string) (bool, error)
}

// captureRoutes are the rules of the payload log.
func (s *Server) captureRoutes() {
	s.viewer("GET /api/v1/captures", s.listCaptures)
	s.operator("POST /api/v1/captures", s.startCapture)
	s.operator("DELETE /api/v1/captures/{name}", s.stopCapture)
}

func (s *Server) listCaptures(c *call) error {
	p, err := c.page("name")
	if err != nil {
		return err
	}
	return c.ok(cut(s.deps.Captures.Captures(), p, func(r Capture) []string { return []string{r.Name, r.Source} }))
}

// maxCapture is how long a rule lasts at most: what logs bodies must end by itself.
const maxCapture = 7 * 24 * time.Hour

func (s *Server) startCapture(c *call) error {
	body := struct {
		Name, Route, Tenant, Status, For, Reason string
		Sample                                   *float64
	}{}
	if err := c.decode(&body); err != nil {
		return err
	}
	lasts, err := time.ParseDuration(body.For)
	if err != nil || lasts <= 0 || lasts > maxCapture {
		return invalid(Fault{Pointer: "#/for", Detail: "Write a duration of at most 168h, such as 15m or 2h."})
	}
	rule := Capture{
		Name: body.Name, Route: body.Route, Tenant: body.Tenant, Status: body.Status, Sample: 1,
		Until: time.Now().Add(lasts).UTC().Truncate(time.Second), Source: "api", By: c.by.Name, Reason: body.Reason,
	}
	if body.Sample != nil {
		rule.Sample = *body.Sample
	}
	c.entry.Reason = body.Reason
	if err := s.deps.Captures.StartCapture(rule); err != nil {
		return unavailable(err.Error())
	}
	c.changed("capture", rule.Name, nil, rule)
	return c.answer(http.StatusCreated, rule)
}

func (s *Server) stopCapture(c *call) error {
	name := c.path("name")
	c.about("capture", name)
	switch was, err := s.deps.Captures.StopCapture(name); {
	case err != nil:
		return unavailable(err.Error())
	case !was:
		return notFound("capture", name)
	}
	return c.nothing()
}

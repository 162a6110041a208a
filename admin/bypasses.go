package admin

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"time"

	"sluice/auth"
)

// Bypass is an emergency exemption from limits: of a tenant, of a route, of a
// tenant on a route, or of everybody.
type Bypass struct {
	ID     string    `json:"id"`
	Tenant string    `json:"tenant,omitempty"`
	Route  string    `json:"route,omitempty"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
}

// maxBypass is how long one lasts at most: an emergency ends, or a limit is wrong.
const maxBypass = 24 * time.Hour

// bypassRoutes are the emergency exemptions. They are facts of the cluster, not of
// the database: an emergency may be that it is down.
func (s *Server) bypassRoutes() {
	s.viewer("GET /api/v1/bypasses", s.listBypasses)
	s.operator("POST /api/v1/bypasses", s.startBypass)
	s.operator("DELETE /api/v1/bypasses/{id}", s.endBypass)
}

func (s *Server) listBypasses(c *call) error {
	p, err := c.page("until")
	if err != nil {
		return err
	}
	return c.ok(cut(s.deps.Policies.Bypasses(), p, func(b Bypass) []string { return []string{sortable(b.Until), b.ID} }))
}

func (s *Server) startBypass(c *call) error {
	var body struct {
		Tenant, Route, For, Reason string
		All                        bool
		Until                      *time.Time
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	c.entry.Reason = body.Reason
	until, faults := ends(body.For, body.Until, maxBypass)
	switch routes := s.deps.Policies.Routes(); {
	case body.All == (body.Tenant+body.Route != ""):
		faults = append(faults, Fault{Pointer: "#/all", Detail: "Name a tenant, a route or both; or say all: true for everybody."})
	case body.Tenant != "" && !auth.ValidTenant(body.Tenant):
		faults = append(faults, Fault{Pointer: "#/tenant", Detail: "No credential can name such a tenant."})
	case body.Route != "" && !slices.Contains(routes, body.Route):
		faults = append(faults, Fault{Pointer: "#/route", Detail: "There is no such route; there are " + strings.Join(routes, ", ") + "."})
	}
	if len(faults) > 0 {
		return invalid(faults...)
	}
	b := Bypass{
		ID: strings.ToLower(rand.Text()[:10]), Tenant: body.Tenant, Route: body.Route, Reason: body.Reason, By: c.by.Name,
		Since: time.Now().UTC().Truncate(time.Second), Until: until,
	}
	if err := s.deps.Policies.StartBypass(b); err != nil {
		return unavailable(sentence(err))
	}
	c.changed("bypass", b.ID, nil, b)
	return c.answer(http.StatusCreated, b)
}

func (s *Server) endBypass(c *call) error {
	id := c.path("id")
	c.about("bypass", id)
	c.entry.Reason = c.query("reason")
	var before any
	for _, b := range s.deps.Policies.Bypasses() {
		if b.ID == id {
			before = b
		}
	}
	switch was, err := s.deps.Policies.EndBypass(id); {
	case err != nil:
		return unavailable(sentence(err))
	case !was:
		return notFound("bypass", id)
	}
	c.changed("bypass", id, before, nil)
	return c.nothing()
}

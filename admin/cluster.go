package admin

import (
	"context"

	"sluice/conf"
)

// KeyChange is a step of a change of the gossip key; the zero value only asks.
type KeyChange struct {
	Action      string      // install, use or remove
	Secret      conf.Secret // of install
	Fingerprint string      // of use and remove
}

// Cluster answers for the cluster. Its errors are the operator's to read.
type Cluster interface {
	// Status returns what is rendered as JSON.
	Status() (any, error)
	// Keys makes the change on every member, and returns each one's keys.
	Keys(ctx context.Context, change KeyChange) (any, error)
	// Quota returns who has what of a tenant's quota, or of a route's limit when the
	// name of a route is given, rendered as JSON.
	Quota(ctx context.Context, tenant, route string) (any, error)
}

// clusterRoutes are the members and their gossip keys.
func (s *Server) clusterRoutes() {
	s.viewer("GET /api/v1/cluster", func(c *call) error { return c.said(s.deps.Cluster.Status()) })
	s.viewer("GET /api/v1/cluster/quotas/{tenant}", func(c *call) error {
		return c.said(s.deps.Cluster.Quota(c.r.Context(), c.path("tenant"), c.query("route")))
	})
	s.viewer("GET /api/v1/cluster/keys", func(c *call) error { return c.said(s.deps.Cluster.Keys(c.r.Context(), KeyChange{})) })
	s.admin("POST /api/v1/cluster/keys:install", s.installKey)
	s.admin("POST /api/v1/cluster/keys:use", s.changeKey("use"))
	s.admin("POST /api/v1/cluster/keys:remove", s.changeKey("remove"))
}

func (s *Server) installKey(c *call) error {
	var body struct {
		Secret conf.Secret `json:"secret"`
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	return c.said(s.deps.Cluster.Keys(c.r.Context(), KeyChange{Action: "install", Secret: body.Secret}))
}

func (s *Server) changeKey(action string) handler {
	return func(c *call) error {
		var body struct {
			Fingerprint string `json:"fingerprint"`
		}
		if err := c.decode(&body); err != nil {
			return err
		}
		c.about("gossip-key", body.Fingerprint)
		return c.said(s.deps.Cluster.Keys(c.r.Context(), KeyChange{Action: action, Fingerprint: body.Fingerprint}))
	}
}

// said renders what a room said, or why it could not.
func (c *call) said(value any, err error) error {
	if err != nil {
		return conflict(err.Error())
	}
	return c.ok(value)
}

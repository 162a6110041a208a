package admin

import (
	"cmp"
	"errors"
	"fmt"

	"sluice/conf"
	"sluice/store"
)

// Tier is a tier as the API shows it.
type Tier struct {
	store.Tier
	Source string `json:"source"` // file or api
}

// tierRoutes are the quotas by name.
func (s *Server) tierRoutes() {
	s.viewer("GET /api/v1/tiers", s.listTiers)
	s.viewer("GET /api/v1/tiers/{name}", s.getTier)
	s.admin("PUT /api/v1/tiers/{name}", s.putTier)
	s.admin("DELETE /api/v1/tiers/{name}", s.deleteTier)
}

// tiersNow are the decided tiers, and those of the file that nobody has decided
// otherwise.
func (c *call) tiersNow() (map[string]Tier, error) {
	out := map[string]Tier{}
	for name, l := range c.s.deps.Policies.Tiers() {
		t := Tier{Source: "file"}
		t.Name, t.Limit = name, limitOf(l)
		out[name] = t
	}
	for q := (store.Query{Kind: store.KindTier, Limit: maxPage}); ; {
		batch, err := c.s.deps.Policies.List(c.r.Context(), q)
		if errors.Is(err, ErrNoStore) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		for _, o := range batch {
			t, err := store.ParseTier(o)
			if err != nil {
				return nil, err
			}
			out[o.ID] = Tier{t, "api"}
			q.AfterID = o.ID
		}
		if len(batch) < q.Limit {
			return out, nil
		}
	}
}

func limitOf(l conf.Limit) store.Limit {
	out := store.Limit{Requests: l.Requests, Per: l.Per, Window: l.Window}
	if l.Burst != nil {
		out.Burst = &store.Burst{Rate: l.Burst.Rate, Size: l.Burst.Size}
	}
	return out
}

func (s *Server) listTiers(c *call) error {
	p, err := c.page("name")
	if err != nil {
		return err
	}
	all, err := c.tiersNow()
	if err != nil {
		return storeRefusal(store.KindTier, store.Object{}, "", err)
	}
	items := make([]Tier, 0, len(all))
	for _, t := range all {
		items = append(items, t)
	}
	return c.ok(cut(items, p, func(t Tier) []string { return []string{t.Name} }))
}

func (s *Server) getTier(c *call) error {
	all, err := c.tiersNow()
	if err != nil {
		return storeRefusal(store.KindTier, store.Object{}, "", err)
	}
	t, ok := all[c.path("name")]
	if !ok {
		return notFound("tier", c.path("name"))
	}
	if t.Revision > 0 {
		c.etag(t.Revision)
	}
	return c.ok(t)
}

func (s *Server) putTier(c *call) error {
	name, err := c.objectName(store.KindTier)
	if err != nil {
		return err
	}
	var body Tier
	if err := c.decode(&body); err != nil {
		return err
	}
	if faults := limitFault(nil, "#", &body.Limit); len(faults) > 0 {
		return invalid(faults...)
	}
	match, status, err := c.replacing(store.KindTier, name)
	if err != nil {
		return err
	}
	body.Per = cmp.Or(body.Per, conf.Duration(3600e9))
	if c.query("dry_run") == "true" {
		body.Name, body.Source = name, "api"
		return c.ok(body)
	}
	o, err := c.put(store.KindTier, name, match, status, store.Tier{Limit: body.Limit, Notes: body.Notes})
	if err != nil {
		return err
	}
	t, err := store.ParseTier(o)
	if err != nil {
		return err
	}
	c.etag(o.Revision)
	return c.answer(status, Tier{t, "api"})
}

// deleteTier gives a tier back to the configuration; one that is not there may not
// have tenants any more.
func (s *Server) deleteTier(c *call) error {
	name := c.path("name")
	match, err := c.amending()
	if err != nil {
		return err
	}
	c.about(store.KindTier, name)
	if o, err := c.s.deps.Policies.Get(c.r.Context(), store.KindTier, name); errors.Is(err, store.ErrAbsent) {
		if _, inFile := s.deps.Policies.Tiers()[name]; inFile {
			return conflict("That tier stands in the configuration file: take it out there, and reload.")
		}
	} else if err != nil {
		return storeRefusal(store.KindTier, o, name, err)
	}
	user, err := c.tenantOf(name)
	if err != nil {
		return err
	}
	if user != "" {
		return conflict(fmt.Sprintf("The tenant %s has that tier; give it and others another one first.", user))
	}
	if err := c.remove(store.KindTier, name, match); err != nil {
		return err
	}
	return c.nothing()
}

// tenantOf is the first tenant with that tier; "": none.
func (c *call) tenantOf(tier string) (string, error) {
	for q := (store.Query{Kind: store.KindTenant, Limit: maxPage}); ; {
		batch, err := c.s.deps.Policies.List(c.r.Context(), q)
		if err != nil {
			return "", storeRefusal(store.KindTenant, store.Object{}, "", err)
		}
		for _, o := range batch {
			if t, err := store.ParseTenant(o); err == nil && t.Tier == tier {
				return t.ID, nil
			}
			q.AfterID = o.ID
		}
		if len(batch) < q.Limit {
			return "", nil
		}
	}
}

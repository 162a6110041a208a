package admin

import (
	"encoding/json"
	"strconv"

	"sluice/store"
)

// trailRoutes are what operators did.
func (s *Server) trailRoutes() { s.viewer("GET /api/v1/audit", s.trail) }

// trail lists the audit, the newest first.
func (s *Server) trail(c *call) error {
	p, err := c.page("-n")
	if err != nil {
		return err
	}
	before := int64(0)
	if p.after != nil {
		if before, err = strconv.ParseInt(p.after[0], 10, 64); err != nil || before < 1 {
			return invalid(Fault{Parameter: "after", Detail: "is not the next of a page with this order"})
		}
	}
	entries, err := s.deps.Policies.Entries(c.r.Context(), before, p.limit+1, store.Filter{Kind: c.query("kind"), ID: c.query("id"), Operator: c.query("operator")})
	if err != nil {
		return storeRefusal("audit", store.Object{}, "", err)
	}
	out := list[store.Entry]{Items: entries[:min(len(entries), p.limit)]}
	if out.Items == nil {
		out.Items = []store.Entry{}
	}
	for i := range out.Items {
		if e := &out.Items[i]; e.Kind == store.KindKey {
			e.Before, e.After = withoutHash(e.Before), withoutHash(e.After)
		}
	}
	if len(entries) > p.limit {
		out.Next = p.next(strconv.FormatInt(out.Items[p.limit-1].N, 10))
	}
	return c.ok(out)
}

// withoutHash takes out what proves a key, which nobody has to see.
func withoutHash(body json.RawMessage) json.RawMessage {
	var k map[string]any
	if body == nil || json.Unmarshal(body, &k) != nil {
		return nil
	}
	delete(k, "hash")
	if r, ok := k["rotated"].(map[string]any); ok {
		delete(r, "hash")
	}
	return asJSON(k)
}

package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"sluice/auth"
	"sluice/conf"
	"sluice/store"
)

// Usage is where one limit of a tenant stands, in the view of the node that answers.
type Usage struct {
	Policy    string        `json:"policy"` // tenant, or route:NAME
	Tier      string        `json:"tier,omitempty"`
	Limit     int64         `json:"limit"`
	Used      int64         `json:"used"`
	Remaining int64         `json:"remaining"`
	Window    conf.Duration `json:"window"`
	Reset     time.Time     `json:"reset,omitzero"` // when some of it comes back; absent: nothing is used
}

// tenantRoutes are what operators decide of tenants.
func (s *Server) tenantRoutes() {
	s.viewer("GET /api/v1/tenants", s.listTenants)
	s.viewer("GET /api/v1/tenants/{id}", s.getTenant)
	s.operator("PUT /api/v1/tenants/{id}", s.putTenant)
	s.operator("PATCH /api/v1/tenants/{id}", s.patchTenant)
	s.admin("DELETE /api/v1/tenants/{id}", s.deleteTenant)
	s.operator("POST /api/v1/tenants/{id}/suspend", s.suspendTenant)
	s.operator("POST /api/v1/tenants/{id}/resume", s.resumeTenant)
	s.operator("POST /api/v1/tenants/{id}/raise", s.raiseTenant)
	s.viewer("GET /api/v1/tenants/{id}/usage", s.tenantUsage)
}

func (s *Server) listTenants(c *call) error {
	q, tier, suspended := strings.ToLower(c.query("q")), c.query("tier"), c.query("suspended")
	// Most of many objects need not be parsed to know that they are not wanted.
	var parts [][]byte
	if plainWord(q) {
		parts = append(parts, []byte(q))
	}
	if plainWord(tier) {
		parts = append(parts, []byte(`"tier":"`+strings.ToLower(tier)+`"`))
	}
	if suspended == "true" {
		parts = append(parts, []byte(`"suspended":`))
	}
	page, err := objects(c, store.KindTenant, func(o store.Object) (store.Tenant, bool, error) {
		if len(parts) > 0 {
			text := bytes.ToLower(append([]byte(o.ID), o.Body...))
			for _, part := range parts {
				if !bytes.Contains(text, part) {
					return store.Tenant{}, false, nil
				}
			}
		}
		t, err := store.ParseTenant(o)
		wanted := (q == "" || strings.Contains(strings.ToLower(t.ID+"\n"+t.Name), q)) && (tier == "" || t.Tier == tier) &&
			(suspended == "" || (suspended == "true") == (t.Suspended != ""))
		return t, wanted, err
	})
	if err != nil {
		return err
	}
	return c.ok(page)
}

// plainWord reports whether JSON writes s as it is.
func plainWord(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._- ", r))
	})
}

func (s *Server) getTenant(c *call) error {
	o, err := c.get(store.KindTenant, c.path("id"))
	if err != nil {
		return err
	}
	return c.tenant(http.StatusOK, o)
}

// tenant answers with one.
func (c *call) tenant(status int, o store.Object) error {
	t, err := store.ParseTenant(o)
	if err != nil {
		return err
	}
	c.etag(o.Revision)
	return c.answer(status, t)
}

// tenantID is the path's, when it can be one.
func (c *call) tenantID() (string, error) {
	id := c.path("id")
	c.about(store.KindTenant, id)
	if !auth.ValidTenant(id) {
		return "", invalid(Fault{Parameter: "id", Detail: "is not 1 to 128 visible ASCII characters without quotes, commas, semicolons and brackets; no credential can name such a tenant"})
	}
	return id, nil
}

func (s *Server) putTenant(c *call) error {
	id, err := c.tenantID()
	if err != nil {
		return err
	}
	var body store.Tenant
	if err := c.decode(&body); err != nil {
		return err
	}
	match, status, err := c.replacing(store.KindTenant, id)
	if err != nil {
		return err
	}
	return c.writeTenant(id, match, status, &body)
}

// writeTenant checks what the document cannot, and writes.
func (c *call) writeTenant(id string, match int64, status int, t *store.Tenant) error {
	p := c.s.deps.Policies
	faults := limitFault(nil, "#/limit", t.Limit)
	if tiers := p.Tiers(); t.Tier != "" {
		if _, ok := tiers[t.Tier]; !ok {
			faults = append(faults, Fault{Pointer: "#/tier", Detail: fmt.Sprintf("There is no tier %q; there are %s.", t.Tier, strings.Join(slices.Sorted(maps.Keys(tiers)), ", "))})
		}
	}
	routes := p.Routes()
	for name, l := range t.Routes {
		at := pointer("routes", name)
		if !slices.Contains(routes, name) {
			faults = append(faults, Fault{Pointer: at, Detail: fmt.Sprintf("There is no route %q; there are %s.", name, strings.Join(routes, ", "))})
		}
		faults = limitFault(faults, at, &l)
	}
	if r := t.Raise; r != nil {
		faults = limitFault(faults, "#/raise/limit", &r.Limit)
	}
	if len(faults) > 0 {
		return invalid(faults...)
	}
	c.about(store.KindTenant, id)
	if c.query("dry_run") == "true" {
		t.ID = id
		return c.ok(t)
	}
	// What the object itself says is not in its body.
	t.ID, t.Revision, t.UpdatedAt, t.UpdatedBy = "", 0, time.Time{}, ""
	o, err := c.put(store.KindTenant, id, match, status, t)
	if err != nil {
		return err
	}
	return c.tenant(status, o)
}

// patchTenant changes the members that the body names, as a merge patch (RFC 7396)
// does: null takes one away.
func (s *Server) patchTenant(c *call) error {
	id, err := c.tenantID()
	if err != nil {
		return err
	}
	match, err := c.amending()
	if err != nil {
		return err
	}
	var patch map[string]any
	if err := c.decode(&patch); err != nil {
		return err
	}
	return c.amend(id, match, func(t *store.Tenant) error {
		text, err := json.Marshal(t)
		if err != nil {
			return err
		}
		var whole map[string]any
		if err := json.Unmarshal(text, &whole); err != nil {
			return err
		}
		mergePatch(whole, patch)
		if text, err = json.Marshal(whole); err != nil {
			return err
		}
		*t = store.Tenant{}
		return c.decodeAs("PUT /api/v1/tenants/{id}", text, t)
	})
}

// mergePatch applies patch to target (RFC 7396).
func mergePatch(target, patch map[string]any) {
	for name, value := range patch {
		inner, isMap := value.(map[string]any)
		switch was, had := target[name].(map[string]any); {
		case value == nil:
			delete(target, name)
		case isMap && had:
			mergePatch(was, inner)
		case isMap:
			fresh := map[string]any{}
			mergePatch(fresh, inner)
			target[name] = fresh
		default:
			target[name] = value
		}
	}
}

// amend reads a tenant, has it changed and writes it, once more when somebody
// else was faster and the caller does not mind which revision is changed. A tenant
// of whom nothing was decided yet begins empty.
func (c *call) amend(id string, match int64, change func(*store.Tenant) error) error {
	for try := 0; ; try++ {
		o, err := c.s.deps.Policies.Get(c.r.Context(), store.KindTenant, id)
		t, at, status := store.Tenant{}, int64(store.NoRevision), http.StatusCreated
		switch {
		case err == nil:
			if t, err = store.ParseTenant(o); err != nil {
				return err
			}
			t.ID, t.Revision, t.UpdatedAt, t.UpdatedBy = "", 0, time.Time{}, ""
			at, status = o.Revision, http.StatusOK
		case !errors.Is(err, store.ErrAbsent):
			return storeRefusal(store.KindTenant, o, id, err)
		}
		if match != anyRevision {
			at = match
		}
		if err := change(&t); err != nil {
			return err
		}
		err = c.writeTenant(id, at, status, &t)
		refused, ok := errors.AsType[*Refusal](err)
		if !ok || refused.Status != http.StatusPreconditionFailed || match != anyRevision || try == 5 {
			return err
		}
	}
}

func (s *Server) deleteTenant(c *call) error {
	c.about(store.KindTenant, c.path("id"))
	c.entry.Reason = c.query("reason")
	match, err := c.amending()
	if err != nil {
		return err
	}
	if err := c.remove(store.KindTenant, c.path("id"), match); err != nil {
		return err
	}
	return c.nothing()
}

func (s *Server) suspendTenant(c *call) error {
	id, err := c.tenantID()
	if err != nil {
		return err
	}
	var body struct{ Reason string }
	if err := c.decode(&body); err != nil {
		return err
	}
	c.entry.Reason = body.Reason
	match, err := c.amending()
	if err != nil {
		return err
	}
	return c.amend(id, match, func(t *store.Tenant) error { t.Suspended = body.Reason; return nil })
}

func (s *Server) resumeTenant(c *call) error {
	id, err := c.tenantID()
	if err != nil {
		return err
	}
	if o, err := c.get(store.KindTenant, id); err != nil {
		return err
	} else if t, err := store.ParseTenant(o); err != nil {
		return err
	} else if t.Suspended == "" {
		c.about(store.KindTenant, id)
		return conflict("The tenant is not suspended.")
	}
	match, err := c.amending()
	if err != nil {
		return err
	}
	return c.amend(id, match, func(t *store.Tenant) error { t.Suspended = ""; return nil })
}

// maxRaise is how long a raise lasts at most; longer is a limit of its own.
const maxRaise = 90 * 24 * time.Hour

func (s *Server) raiseTenant(c *call) error {
	id, err := c.tenantID()
	if err != nil {
		return err
	}
	var body struct {
		Limit       store.Limit
		For, Reason string
		Until       *time.Time
	}
	if err := c.decode(&body); err != nil {
		return err
	}
	c.entry.Reason = body.Reason
	until, faults := ends(body.For, body.Until, maxRaise)
	if faults = limitFault(faults, "#/limit", &body.Limit); len(faults) > 0 {
		return invalid(faults...)
	}
	match, err := c.amending()
	if err != nil {
		return err
	}
	return c.amend(id, match, func(t *store.Tenant) error {
		t.Raise = &store.Raise{Limit: body.Limit, Until: until, Reason: body.Reason}
		return nil
	})
}

func (s *Server) tenantUsage(c *call) error {
	id, err := c.tenantID()
	if err != nil {
		return err
	}
	answer := map[string]any{"tenant": id, "items": s.deps.Policies.Usage(id, c.query("tier"))}
	if each, err := s.deps.Cluster.Quota(c.r.Context(), id, ""); err == nil { // else this node is alone
		answer["cluster"] = each
	}
	return c.ok(answer)
}

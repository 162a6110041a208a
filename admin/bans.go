package admin

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/conf"
	"sluice/waf/bans"
)

// Bans answers for who is shut out and who is always let in; *bans.Book is one.
// All methods are safe for concurrent use.
type Bans interface {
	Entries(bans.List) []*bans.Entry
	Find(bans.List, bans.Target) *bans.Entry
	Check(bans.Entry) (bans.Entry, error)
	Add(bans.Entry) (bans.Entry, error)
	Remove(bans.List, bans.Target) (bool, error)
}

// Ban is a ban or an allowance as the API shows it.
type Ban struct {
	Target  string    `json:"target"`
	Kind    bans.Kind `json:"kind"`
	Action  string    `json:"action,omitempty"`
	Reason  string    `json:"reason"`
	By      string    `json:"by,omitempty"`
	Source  string    `json:"source"` // operator, detector or file
	Since   time.Time `json:"since,omitzero"`
	Until   time.Time `json:"until"`
	Strikes int       `json:"strikes,omitempty"`
	Hits    uint64    `json:"hits"` // on this node
}

func banOf(e *bans.Entry) Ban {
	b := Ban{
		Target: e.Target.String(), Kind: e.Kind, Action: e.Action.String(), Reason: e.Reason, By: e.By, Source: e.List.Source(),
		Since: e.Since, Until: e.Until, Strikes: e.Strikes, Hits: e.Count(),
	}
	if e.List == bans.Allowed {
		b.Action = ""
	}
	return b
}

// banRoutes are who is shut out, and who never is.
func (s *Server) banRoutes() {
	s.viewer("GET /api/v1/bans", s.listBans)
	s.operator("POST /api/v1/bans", s.add("ban", bans.Banned))
	s.operator("DELETE /api/v1/bans/{target}", s.remove("ban", bans.Banned, bans.Detected, bans.Struck)) // its strikes are forgiven, too
	s.viewer("GET /api/v1/allowances", s.listAllowances)
	s.operator("POST /api/v1/allowances", s.add("allowance", bans.Allowed))
	s.operator("DELETE /api/v1/allowances/{target}", s.remove("allowance", bans.Allowed))
}

func (s *Server) listBans(c *call) error {
	entries := slices.Concat(s.deps.Bans.Entries(bans.Banned), s.deps.Bans.Entries(bans.Detected), s.deps.FileBans())
	return c.listEntries(entries)
}

func (s *Server) listAllowances(c *call) error {
	return c.listEntries(s.deps.Bans.Entries(bans.Allowed))
}

func (c *call) listEntries(entries []*bans.Entry) error {
	p, err := c.page("target", "until", "since", "hits")
	if err != nil {
		return err
	}
	kind, source := c.query("kind"), c.query("source")
	if _, err := bans.ParseKind(kind); kind != "" && err != nil {
		return invalid(Fault{Parameter: "kind", Detail: err.Error() + "."})
	}
	items := make([]Ban, 0, len(entries))
	now := time.Now()
	for _, e := range entries {
		b := banOf(e)
		if (kind == "" || b.Kind.String() == kind) && (source == "" || b.Source == source) && b.Until.After(now) {
			items = append(items, b)
		}
	}
	return c.ok(cut(items, p, func(b Ban) []string {
		var key string
		switch p.sort {
		case "until":
			key = sortable(b.Until)
		case "since":
			key = sortable(b.Since)
		case "hits":
			key = strconv.FormatUint(1<<63+b.Hits, 16) // of one width, so that it sorts as text
		}
		return []string{cmp.Or(key, b.Target), b.Target, b.Source}
	}))
}

// sortable is a time as text that sorts.
func sortable(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// add writes an entry on a list, on every node, in place of what stood there.
func (s *Server) add(kind string, l bans.List) handler {
	return func(c *call) error {
		var body struct {
			Target, Action, Reason, For string
			Until                       *time.Time
		}
		if err := c.decode(&body); err != nil {
			return err
		}
		c.entry.Reason = body.Reason
		e := bans.Entry{Reason: body.Reason, By: c.by.Name, List: l}
		var faults []Fault
		fault := func(pointer string, err error) {
			if err != nil {
				faults = append(faults, Fault{Pointer: "#/" + pointer, Detail: sentence(err)})
			}
		}
		var err error
		e.Target, err = bans.ParseTarget(body.Target)
		fault("target", err)
		e.Action, err = bans.ParseAction(body.Action)
		fault("action", err)
		switch lasts, err := conf.ParseDuration(body.For); {
		case body.Until != nil && body.For != "":
			fault("until", errors.New("give either for or until, not both"))
		case body.Until != nil:
			e.Until = *body.Until
		case body.For == "":
			fault("for", errors.New("an end is needed: say for how long, such as 30m, 12h or 7d, or until when"))
		case err != nil:
			fault("for", err)
		case lasts <= 0:
			fault("for", errors.New("it has to be longer than nothing"))
		default:
			e.Until = time.Now().Add(lasts.Std())
		}
		if len(faults) > 0 {
			return invalid(faults...)
		}
		var before any
		if was := s.deps.Bans.Find(l, e.Target); was != nil {
			before = banOf(was)
		}
		write, status := s.deps.Bans.Add, http.StatusCreated
		if c.query("dry_run") == "true" {
			write, status = s.deps.Bans.Check, http.StatusOK
		}
		e, err = write(e)
		switch _, bad := errors.AsType[*bans.BadEntry](err); {
		case bad:
			return invalid(Fault{Pointer: "#/target", Detail: sentence(err)})
		case errors.Is(err, bans.ErrFull):
			return conflict(sentence(err))
		case err != nil:
			return unavailable(sentence(err))
		}
		answer := banOf(&e)
		if status == http.StatusCreated {
			c.changed(kind, e.Target.String(), before, answer)
		}
		return c.answer(status, answer)
	}
}

// remove takes a target off lists, on every node.
func (s *Server) remove(kind string, lists ...bans.List) handler {
	return func(c *call) error {
		t, err := bans.ParseTarget(c.path("target"))
		if err != nil {
			return invalid(Fault{Parameter: "target", Detail: sentence(err)})
		}
		c.about(kind, t.String())
		c.entry.Reason = c.query("reason")
		var before any
		for _, l := range lists {
			if was := s.deps.Bans.Find(l, t); was != nil && l != bans.Struck {
				before = banOf(was)
			}
			if _, err := s.deps.Bans.Remove(l, t); err != nil {
				return unavailable(sentence(err))
			}
		}
		if before == nil {
			for _, e := range s.deps.FileBans() {
				if e.Target == t && kind == "ban" {
					return conflict("That ban stands in the configuration file: take it out there, and reload.")
				}
			}
			return notFound(kind, t.String())
		}
		c.changed(kind, t.String(), before, nil)
		return c.nothing()
	}
}

// sentence makes one of an error's text.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

package admin

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"sluice/store"
)

// named are objects of one kind that are read and written whole, by their name.
type named[T any] struct {
	kind  string // of the store
	path  string // of the collection, as address-lists
	most  int    // how many there may be
	parse func(store.Object) (T, error)
	// body makes of what a caller said what is kept: without what the object itself
	// says. check says what the document cannot.
	body  func(T) T
	check func(*T) []Fault
}

// namedRoutes adds the resource; admins write it.
func namedRoutes[T any](s *Server, n named[T]) {
	item := "/api/v1/" + n.path + "/{name}"
	s.viewer("GET /api/v1/"+n.path, n.list)
	s.viewer("GET "+item, n.get)
	s.admin("PUT "+item, n.put)
	s.admin("DELETE "+item, n.remove)
}

func (n named[T]) list(c *call) error {
	q := strings.ToLower(c.query("q"))
	page, err := objects(c, n.kind, func(o store.Object) (T, bool, error) {
		if q != "" && !strings.Contains(strings.ToLower(o.ID+"\n"+string(o.Body)), q) {
			var none T
			return none, false, nil
		}
		v, err := n.parse(o)
		return v, err == nil, err
	})
	if err != nil {
		return err
	}
	return c.ok(page)
}

func (n named[T]) get(c *call) error {
	o, err := c.get(n.kind, c.path("name"))
	if err != nil {
		return err
	}
	return n.answer(c, http.StatusOK, o)
}

func (n named[T]) answer(c *call, status int, o store.Object) error {
	v, err := n.parse(o)
	if err != nil {
		return err
	}
	c.etag(o.Revision)
	return c.answer(status, v)
}

func (n named[T]) put(c *call) error {
	name, err := c.objectName(n.kind)
	if err != nil {
		return err
	}
	var given T
	if err := c.decode(&given); err != nil {
		return err
	}
	if faults := n.check(&given); len(faults) > 0 {
		return invalid(faults...)
	}
	match, status, err := c.replacing(n.kind, name)
	if err != nil {
		return err
	}
	if status == http.StatusCreated {
		all, err := c.s.deps.Policies.List(c.r.Context(), store.Query{Kind: n.kind, Limit: n.most})
		if err == nil && len(all) == n.most {
			return conflict(fmt.Sprintf("There are %d already, which is as many as there may be.", n.most))
		}
	}
	kept := n.body(given)
	if c.query("dry_run") == "true" {
		return c.ok(kept)
	}
	o, err := c.put(n.kind, name, match, status, kept)
	if err != nil {
		return err
	}
	return n.answer(c, status, o)
}

func (n named[T]) remove(c *call) error {
	c.about(n.kind, c.path("name"))
	c.entry.Reason = c.query("reason")
	match, err := c.amending()
	if err != nil {
		return err
	}
	if err := c.remove(n.kind, c.path("name"), match); err != nil {
		return err
	}
	return c.nothing()
}

// objectName is the path's name, when it can be one.
func (c *call) objectName(kind string) (string, error) {
	name := c.path("name")
	c.about(kind, name)
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	}) {
		return "", invalid(Fault{Parameter: "name", Detail: "is not 1 to 64 letters, digits, dots, dashes and underscores"})
	}
	return name, nil
}

// replacing is the revision that a PUT is meant for, and the status of its success.
// PUT says the whole of a thing: what is there is replaced only by who has said
// which revision of it, or, with *, that any is meant.
func (c *call) replacing(kind, id string) (match int64, status int, err error) {
	if match, err = c.ifMatch(); err != nil {
		return 0, 0, err
	}
	now, err := c.s.deps.Policies.Get(c.r.Context(), kind, id)
	switch there := err == nil; {
	case err != nil && !errors.Is(err, store.ErrAbsent):
		return 0, 0, storeRefusal(kind, now, id, err)
	case there && c.mustNotExist():
		return 0, 0, stale(kind, id, now.Revision)
	case !there && (match == unsaid || c.mustNotExist()):
		return store.NoRevision, http.StatusCreated, nil
	case match == unsaid:
		return 0, 0, preconditionRequired(kind, id, now.Revision)
	case !there: // RFC 9110 §13.1.1: * asks for something that is there
		return 0, 0, changedMeanwhile(fmt.Sprintf("There is no %s %q.", kind, id))
	case match == anyRevision:
		return store.AnyRevision, http.StatusOK, nil
	}
	return match, http.StatusOK, nil
}

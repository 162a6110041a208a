package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"sluice/conf"
	"sluice/limiter"
	"sluice/store"
)

// ErrNoStore is what Policies says when there is no database.
var ErrNoStore = errors.New("no database is configured")

// Policies answers for what operators decide of tenants, tiers, keys and bypasses.
// All methods are safe for concurrent use.
type Policies interface {
	// Get, List, Put, Delete and Entries are those of store.Store; without a database
	// they fail with ErrNoStore.
	Get(ctx context.Context, kind, id string) (store.Object, error)
	List(context.Context, store.Query) ([]store.Object, error)
	Put(ctx context.Context, by store.Entry, match int64, kind, id string, body json.RawMessage) (store.Object, error)
	Delete(ctx context.Context, by store.Entry, match int64, kind, id string) (store.Object, error)
	Entries(ctx context.Context, before int64, limit int, f store.Filter) ([]store.Entry, error)
	// Used is when keys were used last, those that were.
	Used(ctx context.Context, ids []string) (map[string]time.Time, error)

	Tiers() map[string]conf.Limit // in force, by name
	Routes() []string             // names of those in force
	KeyPrefix() string            // of API keys; "": none are accepted
	Usage(tenant, tier string) []Usage
	// CheckExclusion says why the firewall has no such rule, or none with the tag.
	CheckExclusion(rule int, tag string) error

	Bypasses() []Bypass
	StartBypass(Bypass) error
	EndBypass(id string) (bool, error) // false: there is none
}

// Stored is the entry as the store has it.
func (e *Entry) Stored() store.Entry {
	return store.Entry{
		Time: e.Time, Operator: e.Operator, Role: e.Role.String(), Method: e.Method, Address: e.Address.String(), RequestID: e.RequestID,
		Action: e.Action, Kind: e.Kind, ID: e.ID, Status: e.Status, Reason: e.Reason, Before: e.Before, After: e.After,
	}
}

// put writes an object and the call's entry in the audit, both or none. status is
// what the call will answer.
func (c *call) put(kind, id string, match int64, status int, body any) (store.Object, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return store.Object{}, err
	}
	c.about(kind, id)
	o, err := c.s.deps.Policies.Put(c.r.Context(), c.signed(status), match, kind, id, text)
	c.audited = err == nil
	return o, storeRefusal(kind, o, id, err)
}

// remove deletes an object, and writes the call's entry in the audit.
func (c *call) remove(kind, id string, match int64) error {
	c.about(kind, id)
	o, err := c.s.deps.Policies.Delete(c.r.Context(), c.signed(http.StatusNoContent), match, kind, id)
	c.audited = err == nil
	return storeRefusal(kind, o, id, err)
}

// get reads an object.
func (c *call) get(kind, id string) (store.Object, error) {
	o, err := c.s.deps.Policies.Get(c.r.Context(), kind, id)
	return o, storeRefusal(kind, o, id, err)
}

// signed is the call's entry before its end.
func (c *call) signed(status int) store.Entry {
	c.sign(time.Now(), status)
	return c.entry.Stored()
}

// storeRefusal says in the API's words what the store said.
func storeRefusal(kind string, now store.Object, id string, err error) error {
	switch {
	case errors.Is(err, store.ErrAbsent):
		return notFound(kind, id)
	case errors.Is(err, store.ErrChanged) && now.Body == nil:
		return changedMeanwhile("The " + kind + " " + strconv.Quote(id) + " is not there any more.")
	case errors.Is(err, store.ErrChanged):
		return stale(kind, id, now.Revision)
	case errors.Is(err, store.ErrDown):
		return unavailable("The database does not answer. What was decided stays in force; nothing was changed.")
	case errors.Is(err, ErrNoStore):
		return unavailable("This node has no database: name one that all nodes of the cluster share in store.url, such as a PostgreSQL.")
	}
	return err
}

// limitFault says what is wrong with a limit.
func limitFault(faults []Fault, pointer string, l *store.Limit) []Fault {
	if l == nil {
		return faults
	}
	if _, err := limiter.Compile("limit", l.Conf()); err != nil {
		for _, e := range unjoin(errors.Unwrap(err)) {
			faults = append(faults, Fault{Pointer: pointer, Detail: sentence(e)})
		}
	}
	return faults
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // it is the joined one itself
		return joined.Unwrap()
	}
	return []error{err}
}

// ends is the time that a body gives by for or until.
func ends(lasts string, until *time.Time, most time.Duration) (time.Time, []Fault) {
	now := time.Now()
	fault := func(pointer, detail string) (time.Time, []Fault) {
		return time.Time{}, []Fault{{Pointer: pointer, Detail: detail}}
	}
	at := time.Time{}
	switch d, err := conf.ParseDuration(lasts); {
	case until != nil && lasts != "":
		return fault("#/until", "Give either for or until, not both.")
	case until != nil:
		at = *until
	case lasts == "":
		return fault("#/for", "An end is needed: say for how long, such as 30m, 12h or 7d, or until when.")
	case err != nil:
		return fault("#/for", sentence(err))
	default:
		at = now.Add(d.Std())
	}
	pointer := "#/for"
	if until != nil {
		pointer = "#/until"
	}
	if !at.After(now) || at.After(now.Add(most)) {
		return fault(pointer, "It has to end later than now, and within "+conf.Duration(most).String()+".")
	}
	return at.UTC().Truncate(time.Second), nil
}

// objects makes a page of a list in the store, of those that keep takes.
func objects[T any](c *call, kind string, keep func(store.Object) (T, bool, error)) (*list[T], error) {
	p, err := c.page("id", "updated")
	if err != nil {
		return nil, err
	}
	q := store.Query{Kind: kind, ByRevision: p.sort == "updated", Descending: p.descending}
	if p.after != nil {
		if q.ByRevision {
			if q.AfterRevision, err = strconv.ParseInt(p.after[0], 10, 64); err != nil {
				return nil, invalid(Fault{Parameter: "after", Detail: "is not the next of a page with this order"})
			}
		} else {
			q.AfterID = p.after[0]
		}
	}
	out := &list[T]{Items: []T{}}
	var last store.Object
	for q.Limit = p.limit + 1; ; q.Limit = maxPage { // more are needed only where some are left out
		batch, err := c.s.deps.Policies.List(c.r.Context(), q)
		if err != nil {
			return nil, storeRefusal(kind, store.Object{}, "", err)
		}
		for _, o := range batch {
			item, wanted, err := keep(o)
			if err != nil {
				return nil, err
			}
			if wanted {
				if len(out.Items) == p.limit {
					if q.ByRevision {
						out.Next = p.next(strconv.FormatInt(last.Revision, 10), last.ID)
					} else {
						out.Next = p.next(last.ID)
					}
					return out, nil
				}
				out.Items, last = append(out.Items, item), o
			}
			q.AfterID, q.AfterRevision = o.ID, o.Revision
		}
		if len(batch) < q.Limit {
			return out, nil
		}
	}
}

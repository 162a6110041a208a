package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Query is which objects are wanted, and in which order.
type Query struct {
	Kind       string
	ByRevision bool // in order of their last change; else of their ids
	Descending bool
	// After are the id and the revision of the last object before those wanted; the
	// zero values are before all.
	AfterID       string
	AfterRevision int64
	Limit         int
}

// List returns objects as they are now. While the database is down it returns
// them as they were last known.
func (s *Store) List(ctx context.Context, q Query) (list []Object, err error) {
	column, after, compare, order := "id", any(q.AfterID), ">", "ASC"
	if q.ByRevision {
		column, after = "revision", any(q.AfterRevision)
	}
	if q.Descending {
		compare, order = "<", "DESC"
	}
	first := q.AfterID == "" && q.AfterRevision == 0
	where := "kind = $1 AND body IS NOT NULL"
	args := []any{q.Kind, q.Limit}
	if !first {
		where += " AND " + column + " " + compare + " $3"
		args = append(args, after)
	}
	err = s.query(ctx, func(rows *sql.Rows) error {
		o, err := scan(rows)
		list = append(list, o)
		return err
	}, func() { list = nil }, "SELECT kind, id, revision, body, updated_ms, updated_by FROM objects WHERE "+where+
		" ORDER BY "+column+" "+order+" LIMIT $2", args...)
	if errors.Is(err, ErrDown) {
		return s.recall(q, first), nil
	}
	return list, err
}

// Get returns an object as it is now, or as it was last known while the database is
// down. The error is ErrAbsent when there is none.
func (s *Store) Get(ctx context.Context, kind, id string) (o Object, err error) {
	err = s.query(ctx, func(rows *sql.Rows) (err error) {
		o, err = scan(rows)
		return err
	}, func() { o = Object{} }, "SELECT kind, id, revision, body, updated_ms, updated_by FROM objects WHERE kind = $1 AND id = $2", kind, id)
	if errors.Is(err, ErrDown) {
		s.mu.RLock()
		o, err = s.known[[2]string{kind, id}], nil
		s.mu.RUnlock()
	}
	if err == nil && o.Body == nil {
		err = ErrAbsent
	}
	return o, err
}

func scan(rows *sql.Rows) (o Object, err error) {
	var body sql.NullString
	err = rows.Scan(&o.Kind, &o.ID, &o.Revision, &body, &o.UpdatedMS, &o.UpdatedBy)
	o.Body = raw(body)
	return o, err
}

// recall is List by memory.
func (s *Store) recall(q Query, first bool) []Object {
	list := slices.DeleteFunc(s.remembered(), func(o Object) bool { return o.Kind != q.Kind })
	order := func(a, b Object) int {
		c := cmp.Compare(a.ID, b.ID)
		if q.ByRevision {
			c = cmp.Compare(a.Revision, b.Revision)
		}
		if q.Descending {
			c = -c
		}
		return c
	}
	slices.SortFunc(list, order)
	if !first {
		at := Object{ID: q.AfterID, Revision: q.AfterRevision}
		list = slices.DeleteFunc(list, func(o Object) bool { return order(o, at) <= 0 })
	}
	return list[:min(len(list), q.Limit)]
}

// Touch keeps when keys were used last, where that is later than what is kept.
func (s *Store) Touch(ctx context.Context, used map[string]time.Time) error {
	if len(used) == 0 {
		return nil
	}
	ids := make([]string, 0, len(used))
	for id := range used {
		ids = append(ids, id)
	}
	slices.Sort(ids) // nodes that do it at once take the rows in one order
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.note(caller, again(ctx, func() error {
		if err := s.migrate(ctx); err != nil {
			return err
		}
		tx, err := s.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
		for _, id := range ids {
			if _, err := tx.ExecContext(ctx, `INSERT INTO key_use (id, used_ms) VALUES ($1, $2)
				ON CONFLICT (id) DO UPDATE SET used_ms = excluded.used_ms WHERE key_use.used_ms < excluded.used_ms`, id, used[id].UnixMilli()); err != nil {
				return fmt.Errorf("keep the last use of a key: %w", err)
			}
		}
		return tx.Commit()
	}))
}

// Used returns when keys were used last at any node, those that were.
func (s *Store) Used(ctx context.Context, ids []string) (map[string]time.Time, error) {
	used := make(map[string]time.Time, len(ids))
	if len(ids) == 0 {
		return used, nil
	}
	var places strings.Builder
	args := make([]any, len(ids))
	for i, id := range ids {
		if args[i] = id; i > 0 {
			places.WriteByte(',')
		}
		fmt.Fprintf(&places, "$%d", i+1)
	}
	err := s.query(ctx, func(rows *sql.Rows) error {
		var id string
		var ms int64
		err := rows.Scan(&id, &ms)
		used[id] = time.UnixMilli(ms).UTC()
		return err
	}, func() { clear(used) }, "SELECT id, used_ms FROM key_use WHERE id IN ("+places.String()+")", args...)
	return used, err
}

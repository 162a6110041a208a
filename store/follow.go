package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// pollEvery is how often the database is asked whether something has changed:
// what is written on another node is seen within it.
const pollEvery = 250 * time.Millisecond

// snapshotEvery is how often the snapshot is written at most.
const snapshotEvery = time.Second

// saved is the file of a snapshot.
type saved struct {
	Revision int64    `json:"revision"`
	Objects  []Object `json:"objects"`
}

// Follow calls f with all objects that are there, then with those that change,
// deleted ones with a nil body, until ctx ends; it then returns nil. Calls come one
// at a time. While the database cannot be reached f first gets the objects of
// the last snapshot; when it can, all of them again.
func (s *Store) Follow(ctx context.Context, f func(objects []Object, all bool)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	known := map[[2]string]Object{}
	revision, first, written, dirty := int64(0), true, time.Time{}, false
	for {
		fresh, err := s.since(ctx, revision)
		switch {
		case err != nil && first && ctx.Err() == nil:
			f(s.load(), true)
		case err == nil && (revision == 0 || len(fresh) > 0):
			f(fresh, revision == 0)
			for _, o := range fresh {
				revision = max(revision, o.Revision)
				if key := [2]string{o.Kind, o.ID}; o.Body == nil {
					delete(known, key)
				} else {
					known[key] = o
				}
			}
			dirty = len(fresh) > 0
			revision = max(revision, 1)
		}
		first = false
		ended := ctx.Err() != nil
		if dirty && (ended || time.Since(written) >= snapshotEvery) {
			written, dirty = time.Now(), false
			if err := s.save(revision, known); err != nil {
				s.log.Warn("policies not kept for a start without the database", "error", err.Error())
			}
		}
		select {
		case <-ctx.Done():
			if ended || !dirty {
				return nil
			}
		case <-tick.C:
		case <-s.poke:
		}
	}
}

func (s *Store) wake() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// since returns what has changed after a revision, in order.
func (s *Store) since(ctx context.Context, revision int64) (list []Object, err error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = s.down(func() error {
		if err := s.migrate(ctx); err != nil {
			return err
		}
		rows, err := s.db.QueryContext(ctx, "SELECT kind, id, revision, body, updated_ms, updated_by FROM objects WHERE revision > $1 ORDER BY revision", revision)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var o Object
			var body sql.NullString
			if err := rows.Scan(&o.Kind, &o.ID, &o.Revision, &body, &o.UpdatedMS, &o.UpdatedBy); err != nil {
				return err
			}
			o.Body = raw(body)
			list = append(list, o)
		}
		return rows.Err()
	}())
	return list, err
}

// save writes the snapshot, whole or not at all.
func (s *Store) save(revision int64, known map[[2]string]Object) error {
	if s.snapshot == "" {
		return nil
	}
	out := saved{Revision: revision, Objects: make([]Object, 0, len(known))}
	for _, o := range known {
		out.Objects = append(out.Objects, o)
	}
	body, err := json.Marshal(out)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.snapshot+".new", body, 0o600); err != nil {
		return err
	}
	return os.Rename(s.snapshot+".new", s.snapshot)
}

// load reads the snapshot; without a good one there are no objects.
func (s *Store) load() []Object {
	if s.snapshot == "" {
		return nil
	}
	body, err := os.ReadFile(s.snapshot)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var in saved
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	if err != nil {
		s.log.Error("the snapshot of policies cannot be read", "error", fmt.Sprint(err))
		return nil
	}
	return in.Objects
}

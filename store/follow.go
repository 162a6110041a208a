package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// pollEvery is how often the database is asked whether something has changed.
// What is written in this process wakes Follow at once, and so does PostgreSQL
// what is written on another node; the poll bounds the time when that is lost.
const pollEvery = 500 * time.Millisecond

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
	var helpers sync.WaitGroup
	defer helpers.Wait()
	if s.postgres {
		helpers.Go(func() { s.listen(ctx) })
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var keep keeper
	for first := true; ; first = false {
		fresh, all, n, err := s.since(ctx, keep.n)
		switch {
		case err != nil && first && ctx.Err() == nil:
			f(s.load(), true)
		case err == nil && (all || len(fresh) > 0):
			f(fresh, all)
			keep.take(fresh, all)
		}
		if err == nil {
			keep.n = n
		}
		ended := ctx.Err() != nil
		if keep.dirty && (ended || time.Since(keep.written) >= snapshotEvery) {
			keep.written, keep.dirty = time.Now(), false
			if err := s.save(&keep); err != nil {
				s.log.Warn("policies not kept for a start without the database", "error", err.Error())
			}
		}
		if ended {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-s.poke:
		}
	}
}

// keeper is what Follow knows.
type keeper struct {
	n       int64 // read up to this number; 0: nothing yet
	objects map[[2]string]Object
	written time.Time
	dirty   bool
}

func (k *keeper) take(fresh []Object, all bool) {
	if all {
		k.objects = make(map[[2]string]Object, len(fresh))
	}
	for _, o := range fresh {
		if key := [2]string{o.Kind, o.ID}; o.Body == nil {
			delete(k.objects, key)
		} else {
			k.objects[key] = o
		}
	}
	k.dirty = true
}

// channel is what changes are announced on.
const channel = "sluice_changes"

// listen wakes Follow when a node announces a change, until ctx ends.
func (s *Store) listen(ctx context.Context) {
	for ctx.Err() == nil {
		s.heard(ctx) //nolint:errcheck // the poll tells of a database that is down
		select {
		case <-ctx.Done():
		case <-time.After(pollEvery):
		}
	}
}

func (s *Store) heard(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it is over
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	for {
		s.wake() // also at first: what was announced before is not heard
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
	}
}

func (s *Store) wake() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// since returns what has changed after number n, in order, and the number up to
// which that is all. A database whose numbers have gone back is another one, such
// as a restored backup: all of it is returned.
func (s *Store) since(ctx context.Context, n int64) (list []Object, all bool, now int64, err error) {
	// The number first: whatever has it or a lower one is visible from here on.
	err = s.query(ctx, func(rows *sql.Rows) error { return rows.Scan(&now) }, func() {}, "SELECT n FROM sequence")
	if err != nil {
		return nil, false, 0, err
	}
	if now == n {
		return nil, false, n, nil
	}
	if all = n == 0 || now < n; all {
		n = 0
	}
	err = s.query(ctx, func(rows *sql.Rows) error {
		var o Object
		var body sql.NullString
		if err := rows.Scan(&o.Kind, &o.ID, &o.Revision, &body, &o.UpdatedMS, &o.UpdatedBy); err != nil {
			return err
		}
		if o.Body = raw(body); o.Body != nil || !all {
			list = append(list, o)
		}
		return nil
	}, func() { list = nil }, "SELECT kind, id, revision, body, updated_ms, updated_by FROM objects WHERE revision > $1 ORDER BY revision", n)
	return list, all, now, err
}

// save writes the snapshot, whole or not at all.
func (s *Store) save(k *keeper) error {
	if s.snapshot == "" {
		return nil
	}
	out := saved{Revision: k.n, Objects: slices.Collect(maps.Values(k.objects))}
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

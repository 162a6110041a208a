package store

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// snapshotEvery is how often the snapshot is written at most; a large one less
// often, so that it takes a twentieth of the time at most.
const snapshotEvery = time.Second

// Follow calls f with all objects that are there, then with those that change,
// those that were deleted with a nil body, until ctx ends; it then returns nil. Calls come one
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
			objects := s.load()
			s.remember(objects, true)
			f(objects, true)
		case err == nil && (all || len(fresh) > 0):
			f(fresh, all)
			s.remember(fresh, all)
			keep.dirty = true
		}
		if err == nil {
			keep.n = n
		}
		ended := ctx.Err() != nil
		if keep.dirty && (ended || time.Since(keep.written) >= max(snapshotEvery, 20*keep.took)) {
			began := time.Now()
			if err := s.save(&keep); err != nil {
				s.log.Warn("policies not kept for a start without the database", "error", err.Error())
			}
			keep.written, keep.took, keep.dirty = time.Now(), time.Since(began), false
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
	written time.Time
	took    time.Duration // to write it
	dirty   bool
}

// remember keeps what is known for when the database is down.
func (s *Store) remember(fresh []Object, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all || s.known == nil {
		s.known = make(map[[2]string]Object, len(fresh))
	}
	for _, o := range fresh {
		if key := [2]string{o.Kind, o.ID}; o.Body == nil {
			delete(s.known, key)
		} else {
			s.known[key] = o
		}
	}
}

func (s *Store) remembered() []Object {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Collect(maps.Values(s.known))
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
		s.Wake() // also at first: what was announced before is not heard
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
	}
}

// Wake has Follow look at once, when somebody has said that there is something new.
func (s *Store) Wake() {
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
		o, err := scan(rows)
		list = append(list, o)
		return err
	}, func() { list = nil }, "SELECT kind, id, revision, body, updated_ms, updated_by FROM objects WHERE revision > $1 AND (body IS NOT NULL OR updated_ms > $2) ORDER BY revision",
		n, time.Now().Add(-goneFor).UnixMilli())
	return list, all, now, err
}

// goneFor is how long an object that was deleted is still told of as such to nodes
// that start: limits that were changed by it are newer than the configuration's
// for as long as a window that began before may last.
const goneFor = 32 * 24 * time.Hour

// A snapshot is a file of lines: the head, then an object each.
type head struct {
	Revision int64 `json:"revision"`
	Objects  int   `json:"objects"`
}

// save writes the snapshot, whole or not at all. It goes line by line: a large one
// as one text would take more memory than all that it holds.
func (s *Store) save(k *keeper) (err error) {
	if s.snapshot == "" {
		return nil
	}
	file, err := os.OpenFile(s.snapshot+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	objects := s.remembered()
	w := bufio.NewWriterSize(file, 64<<10)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	err = enc.Encode(head{k.n, len(objects)})
	for i := 0; i < len(objects) && err == nil; i++ {
		err = enc.Encode(&objects[i])
	}
	if err = errors.Join(err, w.Flush(), file.Close()); err != nil {
		return err
	}
	return os.Rename(s.snapshot+".new", s.snapshot)
}

// load reads the snapshot; without a good one there are no objects.
func (s *Store) load() []Object {
	if s.snapshot == "" {
		return nil
	}
	file, err := os.Open(s.snapshot)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var objects []Object
	if err == nil {
		objects, err = readSnapshot(bufio.NewReaderSize(file, 64<<10))
		file.Close()
	}
	if err != nil {
		s.log.Error("the snapshot of policies cannot be read", "error", fmt.Sprint(err))
		return nil
	}
	return objects
}

// readSnapshot reads a whole snapshot, or fails.
func readSnapshot(r io.Reader) ([]Object, error) {
	dec := json.NewDecoder(r)
	var h head
	if err := dec.Decode(&h); err != nil {
		return nil, err
	}
	var objects []Object
	for range h.Objects {
		var o Object
		if err := dec.Decode(&o); err != nil {
			return nil, err
		}
		if o.Kind == "" || o.ID == "" || o.Body == nil {
			return nil, errors.New("an object has no kind, no id or no body")
		}
		objects = append(objects, o)
	}
	return objects, nil
}

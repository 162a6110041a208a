package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Object is one thing that is kept, in its present revision.
type Object struct {
	Kind      string          `json:"kind"`
	ID        string          `json:"id"`
	Revision  int64           `json:"revision"`
	Body      json.RawMessage `json:"body,omitempty"` // nil: deleted
	UpdatedMS int64           `json:"updated_ms"`     // Unix milliseconds
	UpdatedBy string          `json:"updated_by"`
}

// Entry is one line of the audit.
type Entry struct {
	N         int64           `json:"n"`
	Time      time.Time       `json:"time"`
	Operator  string          `json:"operator"`
	Role      string          `json:"role"`
	Method    string          `json:"method"`
	Address   string          `json:"address"`
	RequestID string          `json:"request_id"`
	Action    string          `json:"action"`
	Kind      string          `json:"kind,omitempty"`
	ID        string          `json:"id,omitempty"`
	Status    int             `json:"status"`
	Reason    string          `json:"reason,omitempty"`
	Before    json.RawMessage `json:"before,omitempty"`
	After     json.RawMessage `json:"after,omitempty"`
}

// Revisions that a change may be meant for, beside a number.
const (
	AnyRevision = 0  // whatever is there, or nothing
	NoRevision  = -1 // nothing may be there
)

// Put makes body the object's, if it is at revision match, and returns it as it
// is now. by is the audit's entry: who, when and from where; what was there
// before, and what is now, are filled in. Errors: ErrChanged with the object
// as it is, ErrDown.
func (s *Store) Put(ctx context.Context, by Entry, match int64, kind, id string, body json.RawMessage) (Object, error) {
	return s.change(ctx, by, match, kind, id, body)
}

// Delete removes the object, if it is at revision match. Errors: ErrAbsent,
// ErrChanged with the object as it is, ErrDown.
func (s *Store) Delete(ctx context.Context, by Entry, match int64, kind, id string) (Object, error) {
	return s.change(ctx, by, match, kind, id, nil)
}

func (s *Store) change(ctx context.Context, by Entry, match int64, kind, id string, body json.RawMessage) (Object, error) {
	var now Object
	err := s.transact(ctx, func(tx *sql.Tx, n int64) error {
		var err error
		if now, err = read(ctx, tx, kind, id); err != nil {
			return err
		}
		there := now.Body != nil
		switch {
		case body == nil && !there:
			return ErrAbsent
		case match == NoRevision && there, match > 0 && (!there || match != now.Revision):
			return ErrChanged
		}
		by.N, by.Kind, by.ID, by.Before, by.After = n, kind, id, now.Body, body
		now = Object{kind, id, n, body, by.Time.UnixMilli(), by.Operator}
		_, err = tx.ExecContext(ctx, `INSERT INTO objects (kind, id, revision, body, updated_ms, updated_by) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (kind, id) DO UPDATE SET revision = excluded.revision, body = excluded.body,
				updated_ms = excluded.updated_ms, updated_by = excluded.updated_by`,
			kind, id, n, text(body), now.UpdatedMS, now.UpdatedBy)
		if err != nil {
			return err
		}
		if s.postgres {
			if _, err := tx.ExecContext(ctx, "SELECT pg_notify($1, '')", channel); err != nil {
				return err
			}
		}
		return insert(ctx, tx, &by)
	})
	if err == nil {
		s.Wake()
	}
	return now, err
}

// Record adds an entry of a call that changed no object to the audit.
func (s *Store) Record(ctx context.Context, e Entry) error {
	return s.transact(ctx, func(tx *sql.Tx, n int64) error {
		e.N = n
		return insert(ctx, tx, &e)
	})
}

// transact calls f in a transaction with the next number. Taking the number is
// what makes writers queue, so that they commit in the order of their numbers.
func (s *Store) transact(caller context.Context, f func(tx *sql.Tx, n int64) error) error {
	ctx, cancel := context.WithTimeout(caller, callTimeout)
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
		var n int64
		if err := tx.QueryRowContext(ctx, "UPDATE sequence SET n = n + 1 RETURNING n").Scan(&n); err != nil {
			return err
		}
		if err := f(tx, n); err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return fmt.Errorf("%w: %w", errUncertain, err)
		}
		return nil
	}))
}

// query calls each for every row of a question.
func (s *Store) query(caller context.Context, each func(*sql.Rows) error, begin func(), text string, args ...any) error {
	ctx, cancel := context.WithTimeout(caller, callTimeout)
	defer cancel()
	return s.note(caller, again(ctx, func() error {
		if err := s.migrate(ctx); err != nil {
			return err
		}
		begin()
		rows, err := s.db.QueryContext(ctx, text, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := each(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	}))
}

func read(ctx context.Context, tx *sql.Tx, kind, id string) (Object, error) {
	o := Object{Kind: kind, ID: id}
	var body sql.NullString
	err := tx.QueryRowContext(ctx, "SELECT revision, body, updated_ms, updated_by FROM objects WHERE kind = $1 AND id = $2", kind, id).
		Scan(&o.Revision, &body, &o.UpdatedMS, &o.UpdatedBy)
	if errors.Is(err, sql.ErrNoRows) {
		return o, nil
	}
	o.Body = raw(body)
	return o, err
}

func insert(ctx context.Context, tx *sql.Tx, e *Entry) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO audit (n, time_ms, operator, role, method, address, request_id, action, kind, id, status, reason, before, after)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		e.N, e.Time.UnixMilli(), clean(e.Operator), e.Role, e.Method, e.Address, e.RequestID, e.Action, e.Kind, clean(e.ID), e.Status, clean(e.Reason), text(e.Before), text(e.After))
	return err
}

// Audit returns up to limit entries, the newest first, that are older than
// entry before (0: all). Fields of f that are not empty narrow them down.
func (s *Store) Audit(ctx context.Context, before int64, limit int, f Filter) (list []Entry, err error) {
	err = s.query(ctx, func(rows *sql.Rows) error {
		var e Entry
		var ms int64
		var was, is sql.NullString
		if err := rows.Scan(&e.N, &ms, &e.Operator, &e.Role, &e.Method, &e.Address, &e.RequestID, &e.Action, &e.Kind, &e.ID, &e.Status, &e.Reason, &was, &is); err != nil {
			return err
		}
		e.Time, e.Before, e.After = time.UnixMilli(ms).UTC(), raw(was), raw(is)
		list = append(list, e)
		return nil
	}, func() { list = nil }, `SELECT n, time_ms, operator, role, method, address, request_id, action, kind, id, status, reason, before, after
		FROM audit WHERE ($1 = 0 OR n < $1) AND ($2 = '' OR kind = $2) AND ($3 = '' OR id = $3) AND ($4 = '' OR operator = $4) ORDER BY n DESC LIMIT $5`,
		before, f.Kind, f.ID, f.Operator, limit)
	return list, err
}

// Filter narrows the audit down.
type Filter struct{ Kind, ID, Operator string }

func text(body json.RawMessage) sql.NullString {
	return sql.NullString{String: string(body), Valid: body != nil}
}

// clean makes a text one that every engine takes: PostgreSQL refuses NUL and what
// is not UTF-8.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func raw(s sql.NullString) json.RawMessage {
	if !s.Valid {
		return nil
	}
	return json.RawMessage(s.String)
}

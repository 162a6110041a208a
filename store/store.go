package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver pgx
	_ "modernc.org/sqlite"             // driver sqlite
)

// Errors of changes.
var (
	ErrDown    = errors.New("store: the database cannot be reached")
	ErrChanged = errors.New("store: it has another revision by now")
	ErrAbsent  = errors.New("store: there is no such object")
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is a database of objects. It is safe for concurrent use.
type Store struct {
	db       *sql.DB
	postgres bool
	log      *slog.Logger
	url      string        // of PostgreSQL, for listening
	snapshot string        // file; "": none
	poke     chan struct{} // one place: something was written here
	state    func(error)
	up, said atomic.Bool

	mu       sync.RWMutex
	known    map[[2]string]Object // by kind and id, as Follow knows them; guarded by mu
	migrated atomic.Bool
}

// Options of [Open].
type Options struct {
	// URL is sqlite://FILE or postgres://….
	URL string
	// Snapshot is the file that the objects are kept in for a start without the
	// database. Empty: none.
	Snapshot string
	// State is told nil when the database answers, and why when it does not. It must
	// not block. Nil: nobody.
	State func(error)
	Log   *slog.Logger
}

// maxConns bounds the pool: people's changes and one poll need no more.
const maxConns = 4

// callTimeout bounds one call of the database.
const callTimeout = 5 * time.Second

// Open prepares a store; it connects to nothing yet, so that a database that is
// down keeps no node from starting. Close ends it.
func Open(o Options) (*Store, error) {
	s := &Store{log: o.Log, snapshot: o.Snapshot, state: o.State, poke: make(chan struct{}, 1)}
	if s.state == nil {
		s.state = func(error) {}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	scheme, rest, _ := strings.Cut(o.URL, "://")
	var err error
	switch scheme {
	case "sqlite":
		if err := os.MkdirAll(filepath.Dir(rest), 0o755); err != nil {
			return nil, fmt.Errorf("make the database's directory: %w", err)
		}
		// Its owner's alone; SQLite gives its other files the same mode.
		if err := touch(rest); err != nil {
			return nil, fmt.Errorf("make the database's file: %w", err)
		}
		query := url.Values{
			"_pragma": {"journal_mode(WAL)", "busy_timeout(5000)", "synchronous(NORMAL)"},
			"_txlock": {"immediate"}, // a writer waits at its beginning, never half-way
		}
		s.db, err = sql.Open("sqlite", "file:"+(&url.URL{Path: rest}).EscapedPath()+"?"+query.Encode())
	case "postgres", "postgresql":
		s.postgres, s.url = true, o.URL
		s.db, err = sql.Open("pgx", o.URL)
	default:
		return nil, fmt.Errorf("store: %q is neither sqlite://FILE nor postgres://…", scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("store: the URL is not understood") // the cause would name the password
	}
	s.db.SetMaxOpenConns(maxConns)
	s.db.SetConnMaxIdleTime(5 * time.Minute)
	return s, nil
}

// touch makes a file for its owner alone, unless it is there.
func touch(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

// Close ends the connections.
func (s *Store) Close() error { return s.db.Close() }

// Up reports whether the database answered when it was last asked.
func (s *Store) Up() bool { return s.up.Load() }

// Engine is sqlite or postgres.
func (s *Store) Engine() string {
	if s.postgres {
		return "postgres"
	}
	return "sqlite"
}

// migrationLock is the key of PostgreSQL's advisory lock: "sluice".
const migrationLock = 0x736c75696365

// migrate brings the schema up to date, one node at a time.
func (s *Store) migrate(ctx context.Context) error {
	if s.migrated.Load() {
		return nil
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	if s.postgres {
		if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", migrationLock); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS sluice_schema (version BIGINT NOT NULL)"); err != nil {
		return err
	}
	var have int
	if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(version), 0) FROM sluice_schema").Scan(&have); err != nil {
		return err
	}
	for next := have + 1; ; next++ {
		text, err := fs.ReadFile(migrations, fmt.Sprintf("migrations/%d.sql", next))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		for statement := range strings.SplitSeq(string(text), ";\n") {
			if strings.TrimSpace(statement) == "" {
				continue
			}
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("migration %d: %w", next, err)
			}
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO sluice_schema (version) VALUES ($1)", next); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.migrated.Store(true)
	return nil
}

// note notes whether the database could be reached, and makes ErrDown of what
// is not the caller's fault. A caller who has gone says nothing of the database.
func (s *Store) note(caller context.Context, err error) error {
	switch {
	case err == nil, errors.Is(err, ErrChanged), errors.Is(err, ErrAbsent):
		if !s.up.Swap(true) {
			s.log.Info("the database answers", "engine", s.Engine())
			s.state(nil)
		}
		return err
	case caller.Err() != nil:
		return caller.Err()
	}
	if s.up.Swap(false) || !s.said.Swap(true) {
		s.state(errors.New("the database does not answer; the policies in force stay, changes are refused"))
		s.log.Warn("the database does not answer; policies in force stay, changes are refused", "error", err.Error())
	}
	return fmt.Errorf("%w: %w", ErrDown, err)
}

// tries is how often work that has left no trace is begun again: each connection
// of the pool may have died with the database's last process.
const tries = maxConns + 1

// again calls f until it succeeds, has an answer, or has been tried often. f
// leaves no trace when it fails.
func again(ctx context.Context, f func() error) (err error) {
	for range tries {
		if err = f(); err == nil || errors.Is(err, ErrChanged) || errors.Is(err, ErrAbsent) || errors.Is(err, errUncertain) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// errUncertain marks the failure of a commit, which may have happened.
var errUncertain = errors.New("the commit was not confirmed")

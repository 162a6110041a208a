package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sluice/internal/testkit/pgtest"
)

func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// engines runs the test on SQLite and on a real PostgreSQL. Each call of another
// opens one more store on the same database.
func engines(t *testing.T, test func(t *testing.T, another func() *Store)) {
	t.Run("sqlite", func(t *testing.T) {
		url := "sqlite://" + filepath.Join(t.TempDir(), "a b", "store?x#y.db")
		test(t, func() *Store { return open(t, Options{URL: url}) })
	})
	t.Run("postgres", func(t *testing.T) {
		url := pgtest.Start(t).URL
		test(t, func() *Store { return open(t, Options{URL: url}) })
	})
}

var by = Entry{Time: time.UnixMilli(1_800_000_000_000), Operator: "ann", Role: "admin", Method: "token", Address: "192.0.2.1", RequestID: "r", Action: "PUT /x", Status: 200, Reason: "why"}

func put(t testing.TB, s *Store, id, body string) Object {
	t.Helper()
	o, err := s.Put(t.Context(), by, AnyRevision, KindTenant, id, json.RawMessage(body))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// Invariants 1 to 3.
func TestChangesAreForTheRevisionTheyWereMeantFor(t *testing.T) {
	engines(t, func(t *testing.T, another func() *Store) {
		s, ctx := another(), t.Context()
		a := put(t, s, "acme", `{"tier":"premium"}`)
		if _, err := s.Put(ctx, by, NoRevision, KindTenant, "acme", json.RawMessage(`{}`)); !errors.Is(err, ErrChanged) {
			t.Errorf("creating it twice: %v", err)
		}
		b, err := s.Put(ctx, by, a.Revision, KindTenant, "acme", json.RawMessage(`{"tier":"standard"}`))
		if err != nil || b.Revision <= a.Revision {
			t.Fatalf("%+v %v", b, err)
		}
		now, err := s.Put(ctx, by, a.Revision, KindTenant, "acme", json.RawMessage(`{}`))
		if !errors.Is(err, ErrChanged) || now.Revision != b.Revision || string(now.Body) != `{"tier":"standard"}` {
			t.Errorf("a stale change: %+v %v", now, err)
		}
		if _, err := s.Delete(ctx, by, a.Revision, KindTenant, "acme"); !errors.Is(err, ErrChanged) {
			t.Errorf("a stale deletion: %v", err)
		}
		if _, err := s.Delete(ctx, by, b.Revision, KindTenant, "acme"); err != nil {
			t.Error(err)
		}
		if _, err := s.Delete(ctx, by, b.Revision, KindTenant, "acme"); !errors.Is(err, ErrAbsent) {
			t.Errorf("a replayed deletion: %v", err)
		}
		if _, err := s.Put(ctx, by, b.Revision, KindTenant, "acme", json.RawMessage(`{}`)); !errors.Is(err, ErrChanged) {
			t.Errorf("a change of what was deleted: %v", err)
		}
		again := put(t, s, "acme", `{}`)
		if again.Revision <= b.Revision+1 {
			t.Errorf("made anew it has revision %d, after %d", again.Revision, b.Revision)
		}
	})
}

func TestTheAuditHasWhatWasBeforeAndAfter(t *testing.T) {
	engines(t, func(t *testing.T, another func() *Store) {
		s, ctx := another(), t.Context()
		put(t, s, "acme", `{"a":1}`)
		put(t, s, "acme", `{"a":2}`)
		put(t, s, "other", `{}`)
		if err := s.Record(ctx, by); err != nil {
			t.Fatal(err)
		}
		all, err := s.Audit(ctx, 0, 100, Filter{})
		if err != nil || len(all) != 4 || all[0].Kind != "" || all[3].Before != nil {
			t.Fatalf("%+v %v", all, err)
		}
		of, err := s.Audit(ctx, 0, 1, Filter{Kind: KindTenant, ID: "acme"})
		want := by
		want.N, want.Kind, want.ID, want.Before, want.After, want.Time = of[0].N, KindTenant, "acme", json.RawMessage(`{"a":1}`), json.RawMessage(`{"a":2}`), by.Time.UTC()
		if err != nil || len(of) != 1 || fmt.Sprintf("%+v", of[0]) != fmt.Sprintf("%+v", want) {
			t.Errorf("got  %+v %v\nwant %+v", of, err, want)
		}
		if older, err := s.Audit(ctx, of[0].N, 100, Filter{Kind: KindTenant, ID: "acme"}); err != nil || len(older) != 1 {
			t.Errorf("the page behind: %+v %v", older, err)
		}
	})
}

func TestNamesAreDataWhateverTheyLookLike(t *testing.T) {
	engines(t, func(t *testing.T, another func() *Store) {
		s := another()
		for _, id := range []string{"'; DROP TABLE objects; --", `"x"`, "%_", "Zoë 🚀", "$1", "a/b", ".."} {
			put(t, s, id, `{"name":"'; DELETE FROM audit; --"}`)
			if _, err := s.Delete(t.Context(), by, AnyRevision, KindTenant, id); err != nil {
				t.Errorf("%q: %v", id, err)
			}
		}
	})
}

// follower keeps what Follow tells.
type follower struct {
	sync.Mutex
	objects map[string]string
	calls   int
}

func (f *follower) take(objects []Object, all bool) {
	f.Lock()
	defer f.Unlock()
	f.calls++
	if all {
		f.objects = map[string]string{}
	}
	for _, o := range objects {
		if f.objects[o.ID] = string(o.Body); o.Body == nil {
			delete(f.objects, o.ID)
		}
	}
}

func (f *follower) await(t *testing.T, want string) {
	t.Helper()
	got := ""
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		f.Lock()
		got = fmt.Sprint(f.objects)
		f.Unlock()
		if got == want {
			return
		}
	}
	t.Fatalf("got %s, want %s", got, want)
}

func follow(t *testing.T, s *Store) *follower {
	t.Helper()
	f := new(follower)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Follow(ctx, f.take) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f
}

func TestEveryNodeSeesEveryChange(t *testing.T) {
	engines(t, func(t *testing.T, another func() *Store) {
		a, b := another(), another()
		put(t, a, "one", `1`)
		fa, fb := follow(t, a), follow(t, b)
		fa.await(t, "map[one:1]")
		var writers sync.WaitGroup
		for i, s := range []*Store{a, b} { // at once, so that their numbers mix
			writers.Go(func() {
				for k := range 20 {
					put(t, s, fmt.Sprint(i, "-", k%3), fmt.Sprint(k))
				}
			})
		}
		writers.Wait()
		want := "map[0-0:18 0-1:19 0-2:17 1-0:18 1-1:19 1-2:17 one:1]"
		fa.await(t, want)
		fb.await(t, want)
		if _, err := a.Delete(t.Context(), by, AnyRevision, KindTenant, "one"); err != nil {
			t.Fatal(err)
		}
		fb.await(t, "map[0-0:18 0-1:19 0-2:17 1-0:18 1-1:19 1-2:17]")
	})
}

// Invariant 4.
func TestADatabaseThatIsDownRefusesChangesAndTheSnapshotServes(t *testing.T) {
	server := pgtest.Start(t)
	file := filepath.Join(t.TempDir(), "policies.json")
	first := open(t, Options{URL: server.URL, Snapshot: file})
	ctx, cancel := context.WithCancel(context.Background())
	f, done := new(follower), make(chan error, 1)
	go func() { done <- first.Follow(ctx, f.take) }()
	put(t, first, "acme", `{"tier":"premium"}`)
	f.await(t, `map[acme:{"tier":"premium"}]`)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if _, err := first.Put(t.Context(), by, AnyRevision, KindTenant, "acme", json.RawMessage(`{}`)); !errors.Is(err, ErrDown) || first.Up() {
		t.Errorf("a change without the database: %v, up %v", err, first.Up())
	}
	second := open(t, Options{URL: server.URL, Snapshot: file})
	g := follow(t, second)
	g.await(t, `map[acme:{"tier":"premium"}]`)
	server.Run()
	put(t, first, "acme", `{}`)
	g.await(t, `map[acme:{}]`)
	if !first.Up() || !second.Up() {
		t.Error("it is up again, and they do not say so")
	}
}

func TestNodesThatStartAtOnceMigrateOnce(t *testing.T) {
	engines(t, func(t *testing.T, another func() *Store) {
		var nodes sync.WaitGroup
		for i := range 5 {
			s := another()
			nodes.Go(func() { put(t, s, fmt.Sprint(i), `{}`) })
		}
		nodes.Wait()
	})
}

func TestListsComeInPages(t *testing.T) {
	engines(t, func(t *testing.T, another func() *Store) {
		s, ctx := another(), t.Context()
		for _, id := range []string{"c", "a", "d", "b"} {
			put(t, s, id, `{}`)
		}
		put(t, s, "gone", `{}`)
		if _, err := s.Delete(ctx, by, AnyRevision, KindTenant, "gone"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(ctx, by, AnyRevision, KindTier, "b2", json.RawMessage(`{}`)); err != nil {
			t.Fatal(err)
		}
		follow(t, s).await(t, "map[a:{} b:{} b2:{} c:{} d:{}]") // what is recalled is known
		for _, c := range []struct {
			q    Query
			want string
		}{
			{Query{}, "abcd"}, {Query{Descending: true}, "dcba"}, {Query{ByRevision: true}, "cadb"}, {Query{ByRevision: true, Descending: true}, "bdac"},
		} {
			for name, list := range map[string]func(Query) ([]Object, error){
				"asked":    func(q Query) ([]Object, error) { return s.List(ctx, q) },
				"recalled": func(q Query) ([]Object, error) { return s.recall(q, q.AfterID == "" && q.AfterRevision == 0), nil },
			} {
				q, got := c.q, ""
				for q.Kind, q.Limit = KindTenant, 3; ; {
					page, err := list(q)
					if err != nil {
						t.Fatal(err)
					}
					for _, o := range page {
						got += o.ID
						q.AfterID, q.AfterRevision = o.ID, o.Revision
					}
					if len(page) < 3 {
						break
					}
				}
				if got != c.want {
					t.Errorf("%s %+v: %s, want %s", name, c.q, got, c.want)
				}
			}
		}
		if o, err := s.Get(ctx, KindTenant, "a"); err != nil || o.ID != "a" {
			t.Errorf("%+v %v", o, err)
		}
		for _, id := range []string{"gone", "never"} {
			if _, err := s.Get(ctx, KindTenant, id); !errors.Is(err, ErrAbsent) {
				t.Errorf("%s: %v", id, err)
			}
		}
	})
}

func TestTheLastUseOfAKeyIsTheLatestOfAllNodes(t *testing.T) {
	engines(t, func(t *testing.T, another func() *Store) {
		a, b, ctx := another(), another(), t.Context()
		early, late := by.Time, by.Time.Add(time.Hour)
		for _, step := range []struct {
			s    *Store
			used map[string]time.Time
		}{{a, nil}, {a, map[string]time.Time{"k": late}}, {b, map[string]time.Time{"k": early, "l": early}}} {
			if err := step.s.Touch(ctx, step.used); err != nil {
				t.Fatal(err)
			}
		}
		used, err := a.Used(ctx, []string{"k", "l", "m"})
		if want := map[string]time.Time{"k": late.UTC(), "l": early.UTC()}; err != nil || fmt.Sprint(used) != fmt.Sprint(want) {
			t.Errorf("%v %v", used, err)
		}
	})
}

// A database that is restored from a backup is behind what was read from it.
func TestARestoredBackupIsReadAnew(t *testing.T) {
	engines(t, func(t *testing.T, another func() *Store) {
		s := another()
		put(t, s, "old", `1`)
		f := follow(t, s)
		put(t, s, "new", `2`)
		f.await(t, "map[new:2 old:1]")
		for _, statement := range []string{"DELETE FROM objects WHERE id = 'new'", "UPDATE sequence SET n = n - 1"} {
			if _, err := s.db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		f.await(t, "map[old:1]")
	})
}

func TestTheDatabaseIsItsOwnersAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sub", "s.db")
	s := open(t, Options{URL: "sqlite://" + file})
	put(t, s, "acme", `{}`)
	files, err := filepath.Glob(file + "*")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

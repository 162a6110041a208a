package facts

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// fakeClock is a wall clock that tests move.
type fakeClock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *fakeClock { return &fakeClock{t: time.UnixMilli(1_700_000_000_000)} }

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *fakeClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func set(t testing.TB, s *Store, kind, key, value string, expires time.Time) {
	t.Helper()
	if err := s.Set(kind, key, []byte(value), expires); err != nil {
		t.Fatal(err)
	}
}

func value(s *Store, kind, key string) string {
	f, ok := s.Get(kind, key)
	if !ok {
		return "-"
	}
	return string(f.Value)
}

func (s *Store) all() []*Entry {
	var every RangeSet
	for i := range every {
		every[i] = 0xff
	}
	return s.In(&every)
}

func TestWhatWasWrittenIsReadUntilItExpires(t *testing.T) {
	c := newClock()
	s := open(t, Options{Node: 1, Now: c.now})
	set(t, s, "ban", "a", "1", c.now().Add(time.Minute))
	set(t, s, "ban", "b", "2", time.Time{})
	set(t, s, "ban", "a", "3", c.now().Add(time.Minute)) // within one millisecond
	if got := value(s, "ban", "a") + value(s, "ban", "b") + value(s, "other", "a"); got != "32-" {
		t.Errorf("read %s", got)
	}
	if all := s.Snapshot("ban"); len(all) != 2 || all[0].Key != "a" || all[1].Key != "b" || all[0].Node != 1 || !all[0].Written.Equal(c.now()) {
		t.Errorf("snapshot: %+v", all)
	}
	c.add(time.Minute)
	if got := value(s, "ban", "a") + value(s, "ban", "b"); got != "-2" {
		t.Errorf("a minute later: %s", got)
	}
	if err := s.Delete("ban", "b"); err != nil || value(s, "ban", "b") != "-" {
		t.Errorf("deleted: %v, %s", err, value(s, "ban", "b"))
	}
}

func TestALocalWriteWinsEvenWhenTheClockGoesBack(t *testing.T) {
	for _, back := range []time.Duration{time.Second, 10 * time.Minute} {
		c := newClock()
		s := open(t, Options{Node: 1, Now: c.now})
		set(t, s, "ban", "a", "1", time.Time{})
		c.add(-back)
		set(t, s, "ban", "a", "2", time.Time{})
		if got := value(s, "ban", "a"); got != "2" {
			t.Errorf("clock %v back: %s", back, got)
		}
		peer := open(t, Options{Node: 2, Now: c.now})
		peer.Merge(s.all())
		if got := value(peer, "ban", "a"); got != "2" {
			t.Errorf("clock %v back: a peer reads %s", back, got)
		}
	}
}

// Invariant 1.
func TestMergeIsCommutativeAssociativeAndIdempotent(t *testing.T) {
	for seed := range uint64(400) {
		ended := seed%2 == 1 // some entries are over before they are merged
		r := rand.New(rand.NewPCG(seed, 0))
		c := newClock()
		now := c.now().UnixMilli()
		var entries []*Entry
		for range 60 {
			e := &Entry{
				Kind: "k", Key: fmt.Sprint(r.IntN(5)),
				// Few stamps, so that ties happen, of whole entries too.
				Stamp:   Stamp{uint64(now-int64(r.IntN(5))) << logicalBits, uint64(r.IntN(2))},
				Deleted: r.IntN(3) == 0,
				expires: never, guard: never,
			}
			if !e.Deleted {
				e.Value = []byte{byte(r.IntN(3))}
				if r.IntN(2) == 0 {
					e.expires = now + int64(r.IntN(4))*1000 + 1
					if ended {
						e.expires -= 2000
					}
				}
			}
			e.guard = e.expires
			if r.IntN(2) == 0 && e.guard != never {
				e.guard += int64(r.IntN(5000))
			}
			entries = append(entries, e)
		}
		merged := func(order []int, batch int) *Store {
			s := open(t, Options{Now: c.now})
			for len(order) > 0 {
				n := min(batch, len(order))
				var part []*Entry
				for _, i := range order[:n] {
					part = append(part, entries[i])
				}
				s.Merge(part)
				order = order[n:]
			}
			return s
		}
		one := merged(r.Perm(len(entries)), 60)
		two := merged(append(r.Perm(len(entries)), r.Perm(len(entries))...), 1+r.IntN(7))
		half := merged(r.Perm(len(entries))[:30], 1)
		half.Merge(one.all())
		if ended {
			// One that is over is not remembered where nothing is known of it, so order
			// matters until both sides have told each other.
			for _, other := range []*Store{two, half} {
				one.Merge(other.all())
			}
			two.Merge(one.all())
			half.Merge(one.all())
		}
		for name, other := range map[string]*Store{"another order, twice": two, "through a third": half} {
			if one.Root() != other.Root() || *one.Digest() != *other.Digest() {
				t.Fatalf("seed %d, %s: digests differ", seed, name)
			}
			if !slices.EqualFunc(one.Snapshot("k"), other.Snapshot("k"), func(a, b Fact) bool {
				return a.Key == b.Key && bytes.Equal(a.Value, b.Value) && a.Expires.Equal(b.Expires)
			}) {
				t.Fatalf("seed %d, %s: %v and %v", seed, name, one.Snapshot("k"), other.Snapshot("k"))
			}
		}
		if news := one.Merge(one.all()); len(news) != 0 {
			t.Fatalf("seed %d: %d entries are news to their owner", seed, len(news))
		}
	}
}

// Invariant 4: v1 is valid long, v2 replaces it and ends soon.
func TestALoserDoesNotComeBackWhenTheWinnerHasEnded(t *testing.T) {
	c := newClock()
	apart, s := open(t, Options{Node: 1, Now: c.now}), open(t, Options{Node: 2, Now: c.now})
	set(t, apart, "ban", "expired", "1", c.now().Add(10*time.Hour))
	set(t, apart, "ban", "deleted", "1", c.now().Add(10*time.Hour))
	set(t, apart, "ban", "unseen", "1", c.now().Add(10*time.Hour))
	s.Merge(apart.all()[:0])
	for _, e := range apart.all() {
		if e.Key != "unseen" {
			s.Merge([]*Entry{e})
		}
	}
	c.add(time.Second)
	set(t, s, "ban", "expired", "2", c.now().Add(time.Hour))
	s.Delete("ban", "deleted")
	s.Delete("ban", "unseen")
	for range 9 {
		c.add(time.Hour)
		s.Sweep()
		s.Merge(apart.all())
		if got := len(s.Snapshot("ban")); got != 0 && c.now().Sub(newClock().t) > time.Hour+time.Second {
			t.Fatalf("after %v %d facts are back", c.now().Sub(newClock().t), got)
		}
	}
	c.add(25 * time.Hour)
	s.Sweep()
	if st := s.Stats(); st.Tombstones != 0 {
		t.Errorf("%d tombstones stay", st.Tombstones)
	}
	if s.Root() != 0 {
		t.Error("an empty store has a digest")
	}
}

// Invariant 5.
func TestStampsFromTheFutureAreRefused(t *testing.T) {
	c, ahead := newClock(), newClock()
	ahead.add(2 * MaxAhead)
	s, wrong := open(t, Options{Node: 1, Now: c.now}), open(t, Options{Node: 2, Now: ahead.now})
	set(t, wrong, "ban", "a", "1", time.Time{})
	if news := s.Merge(wrong.all()); len(news) != 0 || s.Stats().Refused["ahead"] != 1 {
		t.Errorf("%d taken, refused %v", len(news), s.Stats().Refused)
	}
	set(t, s, "ban", "b", "1", time.Time{})
	if f, _ := s.Get("ban", "b"); f.Written.After(c.now()) {
		t.Errorf("our clock was dragged to %v", f.Written)
	}
	c.add(MaxAhead)
	if news := s.Merge(wrong.all()); len(news) != 1 {
		t.Error("a minute ahead is allowed")
	}
}

// Invariant 6.
func TestMemoryIsBounded(t *testing.T) {
	c := newClock()
	s := open(t, Options{Node: 1, Now: c.now, MaxPerKind: 3, MaxKinds: 2})
	for i := range 3 {
		set(t, s, "a", fmt.Sprint(i), "", time.Time{})
	}
	if err := s.Set("a", "3", nil, time.Time{}); !errors.Is(err, ErrFull) {
		t.Errorf("a fourth: %v", err)
	}
	set(t, s, "a", "2", "new", time.Time{}) // replacing is no growth
	set(t, s, "b", "0", "", time.Time{})
	if err := s.Set("c", "0", nil, time.Time{}); !errors.Is(err, ErrFull) {
		t.Errorf("a third kind: %v", err)
	}
	for _, bad := range []error{
		s.Set("", "k", nil, time.Time{}),
		s.Set(string(make([]byte, MaxKindLen+1)), "k", nil, time.Time{}),
		s.Set("a", string(make([]byte, MaxKeyLen+1)), nil, time.Time{}),
		s.Set("a", "k", make([]byte, MaxValueLen+1), time.Time{}),
		s.Delete("", "k"),
	} {
		if !errors.Is(bad, ErrSize) {
			t.Errorf("got %v, want ErrSize", bad)
		}
	}
	other := open(t, Options{Node: 2, Now: c.now})
	for i := range 20 {
		set(t, other, "a", fmt.Sprint("x", i), "", time.Time{})
	}
	if news := s.Merge(other.all()); len(news) != 3 || s.Stats().Refused["full"] == 0 {
		t.Errorf("%d of 20 taken beside three, refused %v; twice the bound is 6", len(news), s.Stats().Refused)
	}
}

func TestWatchersHearEveryChangeOnceAndInOrder(t *testing.T) {
	c := newClock()
	s := open(t, Options{Node: 1, Now: c.now})
	set(t, s, "ban", "there", "0", time.Time{})
	var got []string
	stop := s.Watch("ban", func(changes []Change) {
		for _, ch := range changes {
			got = append(got, fmt.Sprintf("%s=%s %v", ch.Key, ch.Value, ch.Gone))
			if ch.Key == "a" && !ch.Gone {
				set(t, s, "ban", "nested", "1", time.Time{}) // a watcher may write
			}
		}
	})
	set(t, s, "other", "x", "1", time.Time{})
	set(t, s, "ban", "a", "1", c.now().Add(time.Second))
	s.Merge(s.all()) // nothing new
	c.add(time.Second)
	s.Sweep()
	s.Sweep()
	s.Delete("ban", "nested")
	s.Delete("ban", "nested")
	stop()
	set(t, s, "ban", "b", "1", time.Time{})
	want := []string{"there=0 false", "a=1 false", "nested=1 false", "a=1 true", "nested= true"}
	if !slices.Equal(got, want) {
		t.Errorf("heard %q\n want %q", got, want)
	}
}

func TestWatchersAndWritersMayMeet(t *testing.T) {
	s := open(t, Options{Node: 1})
	var mu sync.Mutex
	seen := map[string]string{}
	s.Watch("k", func(changes []Change) {
		mu.Lock()
		defer mu.Unlock()
		for _, ch := range changes {
			if ch.Gone {
				delete(seen, ch.Key)
			} else {
				seen[ch.Key] = string(ch.Value)
			}
		}
	})
	var wait sync.WaitGroup
	for w := range 8 {
		wait.Go(func() {
			for i := range 200 {
				key := fmt.Sprint(i % 10)
				if i%7 == 0 {
					s.Delete("k", key)
				} else {
					s.Set("k", key, fmt.Append(nil, w, i), time.Time{})
				}
				s.Get("k", key)
				s.Sweep()
			}
		})
	}
	wait.Wait()
	mu.Lock()
	defer mu.Unlock()
	for i := range 10 {
		key := fmt.Sprint(i)
		if f, ok := s.Get("k", key); ok != (seen[key] != "") || ok && seen[key] != string(f.Value) {
			t.Errorf("%s: watchers believe %q, it is %q", key, seen[key], f.Value)
		}
	}
}

func TestDigestsTellWhereStoresDiffer(t *testing.T) {
	c := newClock()
	a, b := open(t, Options{Node: 1, Now: c.now}), open(t, Options{Node: 2, Now: c.now})
	for i := range 2000 {
		set(t, a, "ban", fmt.Sprint(i), "x", time.Time{})
	}
	b.Merge(a.all())
	if _, n := a.Digest().Differ(b.Digest()); n != 0 || a.Root() != b.Root() {
		t.Fatalf("%d ranges differ between equal stores", n)
	}
	c.add(time.Second)
	set(t, a, "ban", "7", "y", time.Time{})
	b.Delete("ban", "8")
	set(t, b, "ban", "new", "z", time.Time{})
	d, err := ParseDigest(b.Digest().Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	ranges, n := a.Digest().Differ(d)
	if n == 0 || n > 3 || a.Root() == b.Root() {
		t.Fatalf("%d ranges differ, want up to three", n)
	}
	fromA, fromB := a.In(&ranges), b.In(&ranges)
	if len(fromA) > 30 {
		t.Errorf("%d entries to send for three differences", len(fromA))
	}
	a.Merge(fromB)
	b.Merge(fromA)
	if a.Root() != b.Root() || value(a, "ban", "7") != "y" || value(b, "ban", "7") != "y" || value(a, "ban", "8") != "-" || value(a, "ban", "new") != "z" {
		t.Error("not repaired")
	}
}

// Invariant 7.
func TestFactsSurviveARestart(t *testing.T) {
	c := newClock()
	path := filepath.Join(t.TempDir(), "facts.snap")
	o := Options{Node: 1, Now: c.now, Path: path}
	s := open(t, o)
	set(t, s, "ban", "a", "1", c.now().Add(time.Hour))
	set(t, s, "ban", "b", "2", time.Time{})
	set(t, s, "ban", "soon", "3", c.now().Add(time.Second))
	s.Delete("ban", "b")
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(path)
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(path); !os.SameFile(before, after) {
		t.Error("written again although nothing changed")
	}
	if before.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", before.Mode())
	}
	c.add(2 * time.Second)
	r := open(t, Options{Node: 2, Now: c.now, Path: path})
	if got := value(r, "ban", "a") + value(r, "ban", "b") + value(r, "ban", "soon"); got != "1--" {
		t.Errorf("after the restart: %s", got)
	}
	if st := r.Stats(); st.Live != 1 || st.Tombstones != 1 {
		t.Errorf("%+v", st)
	}
	// The clock was put back by an hour: what was said stays said, and is said
	// anew with a stamp that others accept.
	c.add(-time.Hour)
	r = open(t, Options{Node: 3, Now: c.now, Path: path})
	peer := open(t, Options{Node: 4, Now: c.now})
	peer.Merge(r.all())
	if value(r, "ban", "a") != "1" || value(peer, "ban", "a") != "1" {
		t.Errorf("after the clock went back: %s here, %s at a peer", value(r, "ban", "a"), value(peer, "ban", "a"))
	}
	if names, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(names) != 1 {
		t.Errorf("files left: %v", names)
	}
}

func TestADamagedSnapshotIsSetAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "facts.snap")
	s := open(t, Options{Node: 1, Path: path})
	set(t, s, "ban", "a", "1", time.Time{})
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for name, content := range map[string][]byte{"a bit": flipped, "cut off": whole[:len(whole)-1], "empty": {}, "foreign": []byte("hello, this is some other file")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(Options{Node: 1, Path: path})
		if err != nil || len(r.Snapshot("ban")) != 0 {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if aside, err := os.ReadFile(path + ".bad"); err != nil || !bytes.Equal(aside, content) {
			t.Errorf("%s: not set aside: %v", name, err)
		}
	}
	if _, err := Open(Options{Path: t.TempDir()}); err == nil {
		t.Error("a directory was read as a snapshot")
	}
}

func TestTheLargestFactFitsADatagram(t *testing.T) {
	e := &Entry{
		Kind: string(make([]byte, MaxKindLen)), Key: string(make([]byte, MaxKeyLen)), Value: make([]byte, MaxValueLen),
		Stamp: Stamp{1<<64 - 1, 1<<64 - 1}, expires: 1<<48 - 1, guard: 1<<48 - 1,
	}
	if n := len(e.Append(nil)); n > 1100 {
		t.Errorf("%d bytes", n)
	}
}

func BenchmarkSet(b *testing.B) {
	s := open(b, Options{Node: 1})
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprint("tenant-", i)
	}
	v := make([]byte, 32)
	expires := time.Now().Add(time.Hour)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Set("ban", keys[i%len(keys)], v, expires)
	}
}

func BenchmarkGet(b *testing.B) {
	s := open(b, Options{Node: 1})
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprint("tenant-", i)
		set(b, s, "ban", keys[i], "value", time.Now().Add(time.Hour))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Get("ban", keys[i%len(keys)])
	}
}

func BenchmarkMergeKnown(b *testing.B) {
	s := open(b, Options{Node: 1})
	set(b, s, "ban", "a", "value", time.Time{})
	all := s.all()
	b.ReportAllocs()
	for b.Loop() {
		s.Merge(all)
	}
}

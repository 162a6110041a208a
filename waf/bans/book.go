package bans

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sluice/telemetry"
)

// Store keeps facts on this node and tells the other nodes of them. Set and
// Delete must bring the change to the book, by [Book.Apply], before or soon
// after they return.
type Store interface {
	Set(kind, key string, value []byte, expires time.Time) error
	Delete(kind, key string) error
}

// maxPatterns bounds the path patterns and the user agents of each list: every
// request is compared with all of them.
const maxPatterns = 256

// Book holds the lists of this node.
type Book struct {
	store Store
	log   *slog.Logger
	now   func() time.Time

	mu      sync.Mutex
	hits    map[Target]*Hits // of entries in force; guarded by mu
	live    atomic.Pointer[lists]
	unread  atomic.Uint64
	follows atomic.Pointer[[]func(*Entry, bool)]
	warn    telemetry.Throttle
}

// NewBook returns an empty book. Connect it with [Book.Apply] before use.
func NewBook(store Store, log *slog.Logger) *Book {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b := &Book{store: store, log: log, now: time.Now, hits: make(map[Target]*Hits)}
	b.live.Store(new(lists))
	return b
}

// Follow has f called with every entry that comes into force, is changed, or,
// with gone, ends, from this node or another. Calls come one at a time, in order,
// and must not block. It is called before the first Apply.
func (b *Book) Follow(f func(e *Entry, gone bool)) {
	var all []func(*Entry, bool)
	if old := b.follows.Load(); old != nil {
		all = append(all, *old...)
	}
	all = append(all, f)
	b.follows.Store(&all)
}

func listOf(kind string) (List, bool) {
	for l := range numLists {
		if l.FactKind() == kind {
			return l, true
		}
	}
	return 0, false
}

// Apply takes facts that have changed. The store's watcher calls it.
func (b *Book) Apply(facts []Fact) {
	type change struct {
		e    *Entry
		gone bool
	}
	var changes []change
	b.mu.Lock()
	next := *b.live.Load()
	for _, f := range facts {
		l, ok := listOf(f.Kind)
		if !ok {
			continue
		}
		e, err := decode(l, f)
		if f.Gone {
			// Gone is about the key; what the value was does not matter.
			t, keyErr := parseKey(f.Key)
			if keyErr != nil {
				continue
			}
			if e = next[l].find(t); e != nil {
				next[l] = next[l].minus(t)
				if next[Banned].find(t) == nil && next[Detected].find(t) == nil && next[Allowed].find(t) == nil && next[Struck].find(t) == nil {
					delete(b.hits, t)
				}
				changes = append(changes, change{e, true})
			}
			continue
		}
		if err == nil && (e.Kind == Path || e.Kind == Agent) && next[l].find(e.Target) == nil && len(next[l].patternsOf(e.Kind)) >= 2*maxPatterns {
			err = fmt.Errorf("too many patterns")
		}
		if err != nil {
			b.unread.Add(1)
			b.warn.Warn(b.log, "a ban from another node is not in force here", slog.String("key", f.Key), slog.Any(telemetry.KeyError, err))
			continue
		}
		if e.hits = b.hits[e.Target]; e.hits == nil {
			e.hits = new(Hits)
			b.hits[e.Target] = e.hits
		}
		next[l] = next[l].with(e)
		changes = append(changes, change{e, false})
	}
	b.live.Store(&next)
	b.mu.Unlock()
	if fs := b.follows.Load(); fs != nil {
		for _, c := range changes {
			for _, f := range *fs {
				f(c.e, c.gone)
			}
		}
	}
}

func (s *Set) patternsOf(k Kind) []pattern {
	if s == nil {
		return nil
	}
	return s.patterns[k]
}

// ErrFull is returned for a pattern beyond those that a list may hold.
var ErrFull = errors.New("the list is full")

// Check says what Add would write, or what is wrong with e.
func (b *Book) Check(e Entry) (Entry, error) {
	now := b.now()
	if err := e.check(now); err != nil {
		return e, err
	}
	if (e.Kind == Path || e.Kind == Agent) && b.Find(e.List, e.Target) == nil && len(b.live.Load()[e.List].patternsOf(e.Kind)) >= maxPatterns {
		return e, fmt.Errorf("%w: it holds %d patterns of kind %s, and every request is compared with each", ErrFull, maxPatterns, e.Kind)
	}
	e.Since = now.UTC().Truncate(time.Second)
	// Whole milliseconds, which is what the store keeps.
	e.Until = e.Until.UTC().Truncate(time.Millisecond)
	return e, nil
}

// Add writes e, in place of what the same list says of its target. The errors
// are [BadEntry], [ErrFull] and the store's.
func (b *Book) Add(e Entry) (Entry, error) {
	e, err := b.Check(e)
	if err != nil {
		return e, err
	}
	if err := b.store.Set(e.List.FactKind(), e.Target.key(), e.encode(), e.Until); err != nil {
		return e, fmt.Errorf("keep %s: %w", e.Target, err)
	}
	return e, nil
}

// Remove takes t off the list l, and reports whether it was there.
func (b *Book) Remove(l List, t Target) (was bool, err error) {
	was = b.Find(l, t) != nil
	if err := b.store.Delete(l.FactKind(), t.key()); err != nil {
		return was, fmt.Errorf("remove %s: %w", t, err)
	}
	return was, nil
}

// Find returns what the list says of exactly that target, nil for nothing.
func (b *Book) Find(l List, t Target) *Entry {
	e := b.live.Load()[l].find(t)
	if e == nil || !e.live(b.now().UnixNano()) {
		return nil
	}
	return e
}

// Entries returns what stands on a list, by kind and value.
func (b *Book) Entries(l List) []*Entry {
	now := b.now().UnixNano()
	all := b.live.Load()[l].Entries()
	kept := all[:0]
	for _, e := range all {
		if e.live(now) {
			kept = append(kept, e)
		}
	}
	return kept
}

// Unread returns how many facts could not be read.
func (b *Book) Unread() uint64 { return b.unread.Load() }

// FromFile makes the entry of a configuration, in force until its end.
func FromFile(t Target, action Action, reason string, until time.Time) *Entry {
	return &Entry{Target: t, Action: action, Reason: reason, By: "configuration", Until: until, List: filed, untilNS: endNS(until), hits: new(Hits)}
}

package facts

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Options bound a Store. The zero value is good for one node alone.
type Options struct {
	// Node is the tie-break of this node's stamps: no two nodes may share it.
	Node uint64

	// Path is the snapshot file. Default: nothing survives the process.
	Path string

	MaxKinds   int // Default: 64
	MaxPerKind int // facts and tombstones of one kind. Default: 10,000

	Now    func() time.Time // wall clock. Default: time.Now
	Logger *slog.Logger     // Default: nothing is logged
}

// Errors of Set and Delete.
var (
	ErrFull   = errors.New("facts: the kind is full")
	ErrSize   = errors.New("facts: kind, key or value is too long, or empty")
	ErrFrozen = errors.New("facts: another process of this node keeps them now")
)

// Fact is a fact as readers see it.
type Fact struct {
	Kind, Key string
	Value     []byte    // must not be changed
	Expires   time.Time // zero: never
	Written   time.Time // by the writer's clock
	Node      uint64    // who wrote it
}

// Change tells a watcher that a fact is new or different, or that it is gone:
// deleted or expired.
type Change struct {
	Fact
	Gone bool
}

// Store holds the facts of one node.
type Store struct {
	o   Options
	log *slog.Logger

	mu      sync.RWMutex
	clock   hlc
	kinds   map[string]map[string]*record
	digest  Digest
	root    uint64
	live    int
	total   int
	due     int64 // no record changes by itself before this, in Unix milliseconds
	dirty   bool  // something is not in the snapshot file
	frozen  bool
	refused map[string]uint64

	sooner chan struct{} // wakes Run when due has moved

	queue    sync.Mutex
	notices  []notice
	telling  bool
	watchers []*watcher
	onChange func([]*Entry) // nil: nobody is told
}

type record struct {
	*Entry
	sum   uint64
	place uint16
	shown bool // watchers believe it to be live
}

// Open returns a store with the facts of the snapshot file, when there is one.
// A damaged file is set aside and is no error; one that cannot be read is.
func Open(o Options) (*Store, error) {
	o.MaxKinds = cmp.Or(o.MaxKinds, 64)
	o.MaxPerKind = cmp.Or(o.MaxPerKind, 10_000)
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{
		o: o, log: o.Logger, kinds: map[string]map[string]*record{},
		refused: map[string]uint64{}, due: never, sooner: make(chan struct{}, 1),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if o.Path != "" {
		if err := s.load(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Store) nowMS() int64 { return s.o.Now().UnixMilli() }

// Set makes value the fact under kind and key until expires; the zero time means
// for good. It is copied. The errors are ErrSize, ErrFull and ErrFrozen.
func (s *Store) Set(kind, key string, value []byte, expires time.Time) error {
	if len(kind) == 0 || len(kind) > MaxKindLen || len(key) > MaxKeyLen || len(value) > MaxValueLen {
		return ErrSize
	}
	kind, key = clip(kind, key)
	e := &Entry{Kind: kind, Key: key, Value: bytes.Clone(value), expires: never}
	if !expires.IsZero() {
		e.expires = min(max(expires.UnixMilli(), 0), 1<<48-1)
	}
	e.guard = e.expires
	return s.write(e)
}

// Delete removes a fact, here and everywhere. A fact that is not known here is
// deleted all the same, because another node may know it.
func (s *Store) Delete(kind, key string) error {
	if len(kind) == 0 || len(kind) > MaxKindLen || len(key) > MaxKeyLen {
		return ErrSize
	}
	kind, key = clip(kind, key)
	return s.write(&Entry{Kind: kind, Key: key, Deleted: true, expires: never, guard: never})
}

func (s *Store) write(e *Entry) error {
	s.mu.Lock()
	if s.frozen {
		s.mu.Unlock()
		return ErrFrozen
	}
	now := s.nowMS()
	old := s.kinds[e.Kind][e.Key]
	if old == nil && s.full(e.Kind, 1) {
		s.refused["full"]++
		s.mu.Unlock()
		return fmt.Errorf("%w: %s", ErrFull, e.Kind)
	}
	e.Stamp = Stamp{s.clock.next(now), s.o.Node}
	if old != nil {
		if old.Deleted == e.Deleted && e.Deleted {
			e.guard = old.guard // nothing new is replaced
		} else if e.Deleted {
			e.guard = 0
		}
		e.guard = max(e.guard, old.guard)
		if !old.Stamp.ahead(now) && old.Stamp.Time >= e.Stamp.Time {
			// Can only be a tie within this process's first millisecond, or a stamp
			// that the clock's new start left behind.
			e.Stamp.Time = old.Stamp.Time + 1
			s.clock.observe(e.Stamp.Time)
		}
	}
	s.put(e, now, true)
	s.mu.Unlock()
	s.tell()
	return nil
}

// Merge takes entries from another node. It returns those that were news, as
// they are now held, to be passed on.
func (s *Store) Merge(entries []*Entry) (news []*Entry) {
	s.mu.Lock()
	now := s.nowMS()
	for _, e := range entries {
		old := s.kinds[e.Kind][e.Key]
		var held *Entry
		if old != nil {
			held = old.Entry
		}
		switch {
		case e.Stamp.ahead(now):
			s.refused["ahead"]++
			continue
		case len(e.Kind) == 0 || len(e.Kind) > MaxKindLen || len(e.Key) > MaxKeyLen || len(e.Value) > MaxValueLen:
			s.refused["size"]++
			continue
		case old == nil && e.end() <= now:
			continue // over before it came
		case old == nil && s.full(e.Kind, 2):
			s.refused["full"]++
			continue
		}
		s.clock.observe(e.Stamp.Time)
		j := join(held, e)
		if held != nil && compare(j, held) == 0 && j.guard == held.guard {
			continue
		}
		s.put(j, now, false)
		news = append(news, j)
	}
	s.mu.Unlock()
	s.tell()
	return news
}

// full says whether a new key would be one too many. The caller holds mu.
func (s *Store) full(kind string, factor int) bool {
	k := s.kinds[kind]
	return k == nil && len(s.kinds) >= s.o.MaxKinds*factor || len(k) >= s.o.MaxPerKind*factor
}

// put stores e, which is newer than what is held, and queues what watchers must
// hear, and the gossip of what was written here. The caller holds mu.
func (s *Store) put(e *Entry, now int64, local bool) {
	k := s.kinds[e.Kind]
	if k == nil {
		k = map[string]*record{}
		s.kinds[e.Kind] = k
	}
	r := &record{Entry: e, sum: e.hash(), shown: e.live(now)}
	old := k[e.Key]
	if old != nil {
		r.place = old.place
		s.toggle(old)
	} else {
		r.place = place(e.Kind, e.Key)
		s.total++
	}
	k[e.Key] = r
	s.toggle(r)
	s.dirty = true
	if at := r.changesAt(); at < s.due {
		s.due = at
		select {
		case s.sooner <- struct{}{}:
		default: // Run has not looked since the last one
		}
	}

	was := old != nil && old.shown
	if was {
		s.live--
	}
	if r.shown {
		s.live++
	}
	var n notice
	if local {
		n.gossip = e
	}
	switch {
	case r.shown && !(was && compare(old.Entry, e) == 0):
		n.change, n.tell = Change{Fact: e.fact()}, true
	case was && !r.shown:
		n.change, n.tell = Change{Fact: e.fact(), Gone: true}, true
	}
	s.enqueue(n)
}

// toggle adds a record's hash to the digest, or takes it away.
func (s *Store) toggle(r *record) {
	s.digest[r.place] ^= r.sum
	s.root ^= r.sum
}

func (r *record) changesAt() int64 {
	if r.shown {
		return r.expires
	}
	return r.end()
}

func (e *Entry) fact() Fact {
	return Fact{Kind: e.Kind, Key: e.Key, Value: e.Value, Expires: e.Expires(), Written: e.Stamp.Wall(), Node: e.Stamp.Node}
}

// Get returns a fact that is neither deleted nor expired.
func (s *Store) Get(kind, key string) (Fact, bool) {
	s.mu.RLock()
	r := s.kinds[kind][key]
	s.mu.RUnlock()
	if r == nil || !r.live(s.nowMS()) {
		return Fact{}, false
	}
	return r.fact(), true
}

// Snapshot returns the live facts of a kind, sorted by key.
func (s *Store) Snapshot(kind string) []Fact {
	now := s.nowMS()
	s.mu.RLock()
	all := make([]Fact, 0, len(s.kinds[kind]))
	for _, r := range s.kinds[kind] {
		if r.live(now) {
			all = append(all, r.fact())
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(all, func(a, b Fact) int { return cmp.Compare(a.Key, b.Key) })
	return all
}

// Sweep tells watchers what has expired and forgets what need not be remembered.
// It returns when it has something to do next; the zero time means not before
// something is written. [Store.Run] calls it when it is due.
func (s *Store) Sweep() time.Time {
	s.mu.Lock()
	now := s.nowMS()
	if s.due <= now {
		s.due = never
		for kind, k := range s.kinds {
			for key, r := range k {
				if r.shown && !r.live(now) {
					// A copy: readers may hold the record.
					c := *r
					c.shown = false
					r = &c
					k[key] = r
					s.live--
					s.enqueue(notice{change: Change{Fact: r.fact(), Gone: true}, tell: true})
				}
				if r.end() <= now {
					s.toggle(r)
					delete(k, key)
					s.total--
					s.dirty = true
					continue
				}
				s.due = min(s.due, r.changesAt())
			}
			if len(k) == 0 {
				delete(s.kinds, kind)
			}
		}
	}
	due := s.due
	s.mu.Unlock()
	s.tell()
	if due == never {
		return time.Time{}
	}
	return time.UnixMilli(due)
}

// Stats are numbers about a store.
type Stats struct {
	Live, Tombstones int
	Refused          map[string]uint64 // entries not taken, by reason: ahead, full, size
}

// Stats returns them.
func (s *Store) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	refused := make(map[string]uint64, len(s.refused))
	for k, v := range s.refused {
		refused[k] = v
	}
	return Stats{Live: s.live, Tombstones: s.total - s.live, Refused: refused}
}

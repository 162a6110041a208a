package series

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Kind says what a series is about.
type Kind byte

// The kinds of series.
const (
	Total  Kind = 't' // all requests; its name is empty
	Route  Kind = 'r' // those of one route
	Tenant Kind = 'n' // those of one tenant
)

// Key names a series.
type Key struct {
	Kind Kind
	Name string
}

// Options bound a [Store]. Zero fields take the defaults.
type Options struct {
	MaxRoutes  int // series of routes. Default: 100
	MaxTenants int // series of tenants. Default: 200
}

// Default bounds.
const (
	DefaultRoutes  = 100
	DefaultTenants = 200
)

// other is the name of what is over a cap.
const other = "other"

// Store keeps series.
type Store struct {
	o Options

	mu    sync.Mutex
	lines map[Key]*line // guarded by mu, and so are the lines
	count map[Kind]int
	since int64 // the first second that was added
}

// New returns an empty store.
func New(o Options) *Store {
	o.MaxRoutes = cmp.Or(o.MaxRoutes, DefaultRoutes)
	o.MaxTenants = cmp.Or(o.MaxTenants, DefaultTenants)
	return &Store{o: o, lines: map[Key]*line{}, count: map[Kind]int{}}
}

// Add adds what happened in the second t, in Unix seconds. Seconds come in order;
// one that is earlier than the last counts as the last.
func (s *Store) Add(t int64, k Key, p *Point) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beginLocked(t)
	s.lineLocked(k).add(t, p)
}

// Begin says that the store knows of everything since the second t; without it,
// that is the first second that was added.
func (s *Store) Begin(t int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beginLocked(t)
}

func (s *Store) beginLocked(t int64) {
	if s.since == 0 || t < s.since {
		s.since = t
	}
}

func (s *Store) lineLocked(k Key) *line {
	if l := s.lines[k]; l != nil {
		return l
	}
	limit := map[Kind]int{Total: 1, Route: s.o.MaxRoutes, Tenant: s.o.MaxTenants}[k.Kind]
	if s.count[k.Kind] >= limit {
		k.Name = other
		if l := s.lines[k]; l != nil {
			return l
		}
	} else if k.Name != other {
		s.count[k.Kind]++
	}
	l := new(line)
	s.lines[k] = l
	return l
}

// Forget drops a series.
func (s *Store) Forget(k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lines[k] != nil && k.Name != other {
		s.count[k.Kind]--
	}
	delete(s.lines, k)
}

// Keys returns the names of a kind, sorted.
func (s *Store) Keys(kind Kind) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for k := range s.lines {
		if k.Kind == kind {
			names = append(names, k.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Window merges into p what happened in the length d of time before now, to the
// step of the level that reaches so far, and returns the time that this covers:
// d, or less when the store is younger.
func (s *Store) Window(p *Point, k Key, now time.Time, d time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lines[k]; l != nil {
		level := levelFor(d)
		from := now.Add(-d).Unix()
		l[level].each(level, from, func(_ int64, short []byte, open *Point) {
			if open != nil {
				p.Merge(open)
			} else if err := p.Add(short); err != nil {
				panic("BUG: a point of the store: " + err.Error())
			}
		})
	}
	return s.coveredLocked(now, d)
}

func (s *Store) coveredLocked(now time.Time, d time.Duration) time.Duration {
	if s.since == 0 {
		return 0
	}
	return max(0, min(d, now.Sub(time.Unix(s.since, 0))))
}

// Step is one step of a history.
type Step struct {
	Start int64 // Unix seconds
	Point []byte
}

// StepFor returns the length of the steps of a history of the length d.
func StepFor(d time.Duration) time.Duration {
	return time.Duration(levels[levelFor(d)].step) * time.Second
}

// History returns the steps of the length d of time before now that had traffic,
// oldest first. The last one may still be going on.
func (s *Store) History(k Key, now time.Time, d time.Duration) []Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lines[k]
	if l == nil {
		return nil
	}
	var steps []Step
	level := levelFor(d)
	from := now.Add(-d).Unix()
	l[level].each(level, from, func(start int64, short []byte, open *Point) {
		if open != nil {
			short = open.Append(nil)
		}
		steps = append(steps, Step{start, short}) // short forms are never changed
	})
	slices.SortFunc(steps, func(a, b Step) int { return cmp.Compare(a.Start, b.Start) })
	return steps
}

package facts

import "slices"

type watcher struct {
	kind string
	f    func([]Change)
	gone bool // under Store.queue
}

// notice is one thing that those outside must hear, in its place among others.
type notice struct {
	gossip *Entry // written here: the other nodes do not know
	change Change
	tell   bool // change is for the watchers

	newcomer *watcher // starts to watch here, and is told first
	first    []Change
}

// Watch calls f with the facts of a kind that are there and then with what
// changes. Calls come one at a time and in order, and f must not block; it may
// call the store. The returned function ends it; a call that is under way then
// still finishes.
func (s *Store) Watch(kind string, f func([]Change)) (stop func()) {
	w := &watcher{kind: kind, f: f}
	s.mu.Lock()
	n := notice{newcomer: w}
	now := s.nowMS()
	for _, r := range s.kinds[kind] {
		if r.shown && r.live(now) {
			n.first = append(n.first, Change{Fact: r.fact()})
		}
	}
	s.enqueue(n)
	s.mu.Unlock()
	s.tell()
	return func() {
		s.queue.Lock()
		defer s.queue.Unlock()
		w.gone = true
		s.watchers = slices.DeleteFunc(s.watchers, func(x *watcher) bool { return x == w })
	}
}

// OnChange has f called with what is written on this node from now on, so that it
// can be told to the others; it replaces an earlier one. With nil nobody is told. A
// call of the earlier one that is under way still finishes.
func (s *Store) OnChange(f func([]*Entry)) {
	s.queue.Lock()
	defer s.queue.Unlock()
	s.onChange = f
}

// enqueue adds a notice. The caller holds mu, so that notices have the order of
// the changes.
func (s *Store) enqueue(n notice) {
	if n.gossip == nil && !n.tell && n.newcomer == nil {
		return
	}
	s.queue.Lock()
	s.notices = append(s.notices, n)
	s.queue.Unlock()
}

// tell hands queued notices over. One goroutine does it at a time: whoever finds
// another at it leaves its own notices to that one, and so does a watcher that
// writes.
func (s *Store) tell() {
	s.queue.Lock()
	if s.telling {
		s.queue.Unlock()
		return
	}
	s.telling = true
	for len(s.notices) > 0 {
		batch := s.notices
		s.notices = nil
		watchers, onChange := slices.Clone(s.watchers), s.onChange
		end := slices.IndexFunc(batch, func(n notice) bool { return n.newcomer != nil })
		if end == 0 {
			w := batch[0].newcomer
			s.notices = append(batch[1:], s.notices...)
			if !w.gone {
				s.watchers = append(s.watchers, w)
			}
			s.queue.Unlock()
			if len(batch[0].first) > 0 {
				w.f(batch[0].first)
			}
			s.queue.Lock()
			continue
		}
		if end > 0 {
			s.notices = append(batch[end:], s.notices...)
			batch = batch[:end]
		}
		s.queue.Unlock()
		deliver(batch, watchers, onChange)
		s.queue.Lock()
	}
	s.telling = false
	s.queue.Unlock()
}

func deliver(batch []notice, watchers []*watcher, onChange func([]*Entry)) {
	if onChange != nil {
		var out []*Entry
		for _, n := range batch {
			if n.gossip != nil {
				out = append(out, n.gossip)
			}
		}
		if len(out) > 0 {
			onChange(out)
		}
	}
	for _, w := range watchers {
		var changes []Change
		for _, n := range batch {
			if n.tell && n.change.Kind == w.kind {
				changes = append(changes, n.change)
			}
		}
		if len(changes) > 0 {
			w.f(changes)
		}
	}
}

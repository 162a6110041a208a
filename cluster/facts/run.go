package facts

import (
	"context"
	"time"
)

// Times of Run.
const (
	saveInterval = time.Second      // at least, between two writes of the file
	sweepAtMost  = 10 * time.Second // between two looks at what has expired
)

// Run lets facts expire, within milliseconds of their time, and keeps the snapshot
// file up to date, until ctx ends; then it saves once more. It returns what the
// last Save did.
func (s *Store) Run(ctx context.Context) error {
	save := time.NewTicker(saveInterval)
	defer save.Stop()
	sweep := time.NewTimer(0)
	defer sweep.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return s.Save()
		case <-save.C:
			err := s.Save()
			if err != nil && !failed {
				s.log.Warn("facts not saved", "file", s.o.Path, "error", err)
			}
			failed = err != nil
		case <-s.sooner:
			sweep.Reset(s.untilSweep())
		case <-sweep.C:
			s.Sweep()
			sweep.Reset(s.untilSweep())
		}
	}
}

// untilSweep is the time to the next change that comes by itself.
func (s *Store) untilSweep() time.Duration {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.due == never {
		return sweepAtMost
	}
	wait := time.Duration(s.due-s.nowMS()) * time.Millisecond
	return min(max(wait, time.Millisecond), sweepAtMost)
}

// Freeze makes the store refuse Set and Delete, and leave the file alone: from
// here on another process of this node keeps the facts, or still does. Merge and
// Restore go on, so that readers hear of what that one passes on.
func (s *Store) Freeze() { s.freeze(true) }

// Thaw ends what Freeze began. The next Save writes the file in any case: another
// process may have written it meanwhile.
func (s *Store) Thaw() { s.freeze(false) }

func (s *Store) freeze(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = yes
	s.dirty = true
}

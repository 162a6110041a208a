package certs

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"sluice/telemetry"
)

// settle is how long to wait after an event: a certificate and its key are
// written one after the other, and half of the two is no pair.
const settle = 200 * time.Millisecond

// Run follows the files until ctx is done.
//
// It watches directories and not the files, because files are replaced by
// renaming another one over them, and, in Kubernetes, by renaming the link
// ..data beside them; either way the watched file would be the old one. What
// happens behind links further up shows no event here and is found by polling.
func (s *Store) Run(ctx context.Context) error {
	var (
		events <-chan fsnotify.Event // nil, which never delivers, without a watcher
		errs   <-chan error
	)
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		s.log.Warn("certificates are followed by polling only", telemetry.KeyError, err)
	} else {
		defer func() { _ = watcher.Close() }()
		events, errs = watcher.Events, watcher.Errors
	}

	poll := time.NewTicker(s.poll)
	defer poll.Stop()
	settled := time.NewTimer(0) // at once: the files may have changed since Open
	defer settled.Stop()
	files := s.watch(watcher)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.used:
			files = s.watch(watcher)
			settled.Reset(0)
		case e, ok := <-events:
			if !ok {
				events = nil // closed: polling goes on
				continue
			}
			// A directory may hold files that are written all the time, such as
			// logs: only writes to ours count.
			if !e.Has(fsnotify.Create|fsnotify.Rename|fsnotify.Remove) && !files[filepath.Clean(e.Name)] {
				continue
			}
			settled.Reset(settle)
		case err, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			s.log.Warn("events about certificate files were lost", telemetry.KeyError, err)
			settled.Reset(settle)
		case <-settled.C:
			files = s.watch(watcher) // links may lead elsewhere now
			s.Check()
			s.afterCheck()
		case <-poll.C:
			files = s.watch(watcher)
			s.Check()
			s.afterCheck()
		}
	}
}

// watch watches the directories of the files, and of what they are links to. It
// returns the paths of both. A directory that cannot be watched is polled.
func (s *Store) watch(w *fsnotify.Watcher) map[string]bool {
	s.mu.Lock()
	files := make(map[string]bool)
	for _, p := range s.pairs {
		for _, path := range []string{p.files.Cert, p.files.Key} {
			files[filepath.Clean(path)] = true
			if target, err := filepath.EvalSymlinks(path); err == nil {
				files[target] = true
			}
		}
	}
	s.mu.Unlock()
	if w == nil {
		return files
	}
	dirs := make(map[string]bool)
	for path := range files {
		dirs[filepath.Dir(path)] = true
	}
	for _, dir := range w.WatchList() {
		if !dirs[dir] {
			_ = w.Remove(dir) // it may have gone by itself
		}
	}
	for dir := range dirs {
		_ = w.Add(dir)
	}
	return files
}

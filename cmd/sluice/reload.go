package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"sluice/admin"
	"sluice/conf"
	"sluice/telemetry"
)

// reloader keeps the configuration in force the same as the file on disk: when
// the file changes, and when it is told to look. One reload runs at a time. A
// file with errors is refused as a whole; the configuration in force stays.
type reloader struct {
	path  string
	log   *slog.Logger
	apply func(*conf.Document) conf.Problems // errors: nothing was applied

	paused sync.Mutex // held while a successor starts, which reads the file itself

	mu       sync.Mutex // one reload at a time; guards the fields below
	inForce  *conf.Document
	failed   bool
	at       time.Time
	replaced bool // a successor follows the file
}

// pause keeps the configuration as it is until the result is called; with true it
// stays so, because another process serves.
func (r *reloader) pause() (resume func(replaced bool)) {
	r.paused.Lock()
	return func(replaced bool) {
		r.mu.Lock()
		r.replaced = replaced
		r.mu.Unlock()
		r.paused.Unlock()
	}
}

// settle is how long a file must rest before it is read: editors write in
// several steps.
const settle = 150 * time.Millisecond

// poll is the backstop where the file system reports no changes, as on some
// network file systems.
const poll = 5 * time.Second

// Reload applies the file on disk. The second result is false when it was
// refused.
func (r *reloader) Reload(context.Context) (admin.Reloaded, bool) {
	r.paused.Lock()
	defer r.paused.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.replaced {
		return admin.Reloaded{Hash: r.inForce.Hash(), Problems: conf.Problems{{Message: "an upgrade has replaced this process; ask again"}}}, false
	}
	doc, problems := conf.Load(r.path)
	if problems.Err() == nil && doc.Hash() == r.inForce.Hash() {
		r.failed = false
		return admin.Reloaded{Hash: doc.Hash(), Problems: problems}, true
	}
	if problems.Err() == nil {
		problems = append(problems, r.apply(doc)...)
		problems.Sort()
	}
	r.at = time.Now()
	if err := problems.Err(); err != nil {
		r.failed = true
		r.log.Error("configuration refused; the one in force stays", telemetry.KeyFile, r.path, telemetry.KeyError, err)
		return admin.Reloaded{Hash: r.inForce.Hash(), Problems: problems}, false
	}
	r.inForce, r.failed = doc, false
	r.log.Info("configuration applied", telemetry.KeyFile, r.path, telemetry.KeyHash, doc.Hash())
	for _, p := range problems {
		r.log.Warn("configuration warning", telemetry.KeyPath, p.Path, "warning", p.Error())
	}
	return admin.Reloaded{Hash: doc.Hash(), Changed: true, Problems: problems}, true
}

// document returns the configuration in force, and whether the file on disk
// was refused since.
func (r *reloader) document() (doc *conf.Document, failed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inForce, r.failed
}

// Run reloads whenever the file's content changes, until ctx ends. It watches
// the directory, because editors and Kubernetes replace the file, and compares
// the content, so that a touch reloads nothing.
func (r *reloader) Run(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	var events chan fsnotify.Event
	if err == nil {
		defer watcher.Close()
		if err = watcher.Add(filepath.Dir(r.path)); err == nil {
			events = watcher.Events
		}
	}
	if err != nil {
		r.log.Warn("configuration is polled, for it cannot be watched", telemetry.KeyFile, r.path, telemetry.KeyError, err)
	}
	seen, gone := contentOf(r.path), false
	r.Reload(ctx) // it may have changed between the start and now
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	rest := time.NewTimer(settle)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			rest.Reset(settle)
			continue
		case <-ticker.C:
		case <-rest.C:
		}
		switch now := contentOf(r.path); {
		case now == nil && !gone:
			r.log.Warn("configuration file cannot be read; the one in force stays", telemetry.KeyFile, r.path)
			gone = true
		case now != nil && !bytes.Equal(now, seen):
			seen, gone = now, false
			r.Reload(ctx)
		case now != nil:
			gone = false
		}
	}
}

// contentOf returns a digest of the file, nil when it cannot be read just now.
func contentOf(path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(data)
	return sum[:]
}

// loadToAsk loads the file for a command that asks the gateway which runs it: it
// says what is wrong, but does not repeat the warnings. The error that it returns
// has the problems already on standard error.
func loadToAsk(path string) (*conf.Document, error) {
	doc, problems := conf.Load(path)
	if problems.Err() != nil {
		if err := explain(os.Stderr, path, problems); err != nil {
			return nil, err
		}
		return nil, errReported
	}
	return doc, nil
}

// explain renders problems with the lines that they stand on.
func explain(w *os.File, path string, problems conf.Problems) error {
	source, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read configuration: %w", err)
	}
	return problems.Render(w, source, isTerminal(w))
}

// isTerminal reports whether w is a terminal that wants colour.
func isTerminal(w *os.File) bool {
	info, err := w.Stat()
	_, plain := os.LookupEnv("NO_COLOR")
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && !plain && os.Getenv("TERM") != "dumb"
}

package auth

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// KeyStoreOptions shape a [KeyStore]; the zero value is safe.
type KeyStoreOptions struct {
	// Client fetches key sets. Default: one that keeps no connections, follows
	// three redirects and never one from https to http.
	Client *http.Client

	// Logger is told of failures and changes. Default: silence.
	Logger *slog.Logger

	// Now is the clock of ages, schedules and cool-downs. Timers are real all the
	// same. Default: time.Now.
	Now func() time.Time

	// Cooldown is the least time between two fetches that unknown key ids ask
	// for. Default: 60s.
	Cooldown time.Duration

	// Wait is the longest that a request waits for a fetch: see the package's
	// section on rotation. Negative: never. Default: 2s.
	Wait time.Duration

	// Timeout bounds one fetch. Default: 5s.
	Timeout time.Duration

	// A key set is refreshed when its Cache-Control max-age is over, but not
	// sooner than MinRefresh and not later than MaxRefresh; without max-age, at
	// their geometric middle. Defaults: 1m and 1h.
	MinRefresh, MaxRefresh time.Duration

	// FilePoll is how often a file:// key set is looked at. Default: 5s.
	FilePoll time.Duration

	// Grace is how long a key set is kept after it went out of use, for a
	// configuration that comes back and for requests on the former one.
	// Default: 5m.
	Grace time.Duration
}

func (o KeyStoreOptions) withDefaults() KeyStoreOptions {
	set := func(d *time.Duration, otherwise time.Duration) {
		if *d == 0 {
			*d = otherwise
		}
	}
	set(&o.Cooldown, time.Minute)
	set(&o.Wait, 2*time.Second)
	set(&o.Timeout, 5*time.Second)
	set(&o.MinRefresh, time.Minute)
	set(&o.MaxRefresh, time.Hour)
	set(&o.FilePoll, 5*time.Second)
	set(&o.Grace, 5*time.Minute)
	if o.Client == nil {
		o.Client = newClient()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// KeyStore holds the key sets of issuers, one for each JWKS URL, and keeps them
// fresh. It lives as long as the process; configurations come and go over it.
// It is safe for concurrent use.
type KeyStore struct {
	opts KeyStoreOptions

	// live is what requests read: the sources in use and those in their grace.
	// Replaced as a whole, under mu.
	live atomic.Pointer[map[string]*source]

	mu       sync.Mutex // guards what follows; taken before a source's mutex
	imported map[string]keySetRecord
	running  context.Context // nil unless Run is under way
	sources  sync.WaitGroup  // Add only under mu with running set
}

// NewKeyStore makes a key store. Nothing is fetched before Run.
func NewKeyStore(o KeyStoreOptions) *KeyStore {
	ks := &KeyStore{opts: o.withDefaults(), imported: map[string]keySetRecord{}}
	ks.live.Store(&map[string]*source{})
	return ks
}

// Run fetches the key sets in use and refreshes them until ctx ends; then it
// returns nil, with every goroutine ended. It may be called once at a time.
func (ks *KeyStore) Run(ctx context.Context) error {
	ks.mu.Lock()
	if ks.running != nil {
		ks.mu.Unlock()
		return errors.New("auth: the key store is running already")
	}
	ks.running = ctx
	for _, s := range *ks.live.Load() {
		ks.startLocked(s)
	}
	ks.mu.Unlock()

	<-ctx.Done()

	ks.mu.Lock()
	ks.running = nil
	ks.mu.Unlock()
	ks.sources.Wait()
	ks.opts.Client.CloseIdleConnections()
	return nil
}

func (ks *KeyStore) startLocked(s *source) {
	ctx := ks.running
	s.open()
	ks.sources.Go(func() { s.run(ctx) })
}

// Use says which key sets are in use from now on: those of the verifier that
// goes live ([Verifier.KeySets]). New ones are fetched, in the background; others
// are forgotten after a grace. It does not wait.
func (ks *KeyStore) Use(urls ...string) {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	next := maps.Clone(*ks.live.Load())
	for _, url := range urls {
		s := next[url]
		if s == nil {
			s = newSource(ks, url)
			if record, ok := ks.imported[url]; ok {
				s.adopt(record)
			}
			next[url] = s
			if ks.running != nil {
				ks.startLocked(s)
			}
		}
		s.setUsed(true)
	}
	for url, s := range next {
		if slices.Contains(urls, url) {
			continue
		}
		if ks.running != nil {
			s.setUsed(false) // its own goroutine ends the grace, by remove
		} else {
			delete(next, url)
		}
	}
	// What the predecessor handed over and nobody uses is not kept.
	clear(ks.imported)
	ks.live.Store(&next)
}

// remove forgets a source whose grace is over, unless it is in use again.
func (ks *KeyStore) remove(s *source) bool {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	if s.inUse() {
		return false
	}
	next := maps.Clone(*ks.live.Load())
	delete(next, s.url)
	ks.live.Store(&next)
	return true
}

// AwaitKeys returns nil when every key set in use has keys, or else, when ctx
// ends first, an error that says which has none. A process that is to take
// traffic calls it, with a time limit, before it says that it is ready.
func (ks *KeyStore) AwaitKeys(ctx context.Context) error {
	for _, s := range *ks.live.Load() {
		if !s.inUse() {
			continue
		}
		select {
		case <-s.loaded:
		case <-ctx.Done():
			return errors.Join(errors.New("auth: no keys yet from "+s.name), s.lastError(), ctx.Err())
		}
	}
	return nil
}

// KeySetStats is the state of one key set.
type KeySetStats struct {
	URL         string        // without a password
	Keys        int           // usable ones
	Refused     []string      // why listed keys are not used
	LastSuccess time.Time     // when the keys were last obtained; zero: never
	Age         time.Duration // since LastSuccess; 0 without one
	Fetches     uint64        // tries
	Failures    uint64        // tries that failed
	Unknown     uint64        // tokens that named a key which the set lacks
	Error       string        // of the last try; empty when it succeeded
}

// Stats returns the state of every key set, by URL.
func (ks *KeyStore) Stats() []KeySetStats {
	live := *ks.live.Load()
	stats := make([]KeySetStats, 0, len(live))
	for _, url := range slices.Sorted(maps.Keys(live)) {
		stats = append(stats, live[url].stats())
	}
	return stats
}

package auth

import (
	"context"
	"log/slog"
	"math/bits"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/telemetry"
)

const (
	// absentFor is how many cool-downs long a key id that the issuer was asked
	// for, and does not list, causes no further fetch: a client that goes on with
	// a token of a key long gone is not worth a fetch a minute.
	absentFor = 5

	// maxWanted bounds the ids that one fetch is made for, and by that those
	// remembered as absent: maxWanted × absentFor.
	maxWanted = 64

	// maxWaiters bounds the requests that wait for one key set at a time.
	maxWaiters = 1024

	firstRetry = time.Second // doubles with each failure, up to MinRefresh
)

// source is one JWKS URL: its last good keys, and the goroutine that keeps them
// fresh. Requests read set; everything else happens beside them.
type source struct {
	url   string // as configured: the identity
	name  string // url without a password, for people
	store *KeyStore

	set     atomic.Pointer[keySet] // nil until the first success; last good from then on
	tried   chan struct{}          // closed when the first try has ended, either way
	loaded  chan struct{}          // closed when there are keys
	wake    chan struct{}          // tells run to look at what mu guards; one place
	waiters atomic.Int32
	unknown atomic.Uint64

	mu       sync.Mutex
	used     bool
	unusedAt time.Time
	running  bool                 // run will serve a flight
	flight   chan struct{}        // closed when the fetch that is asked for or under way has ended; nil: none
	fetching bool                 // that flight is under way: what the issuer answers may be decided already
	wanted   []string             // ids that the next fetch is made for
	absent   map[string]time.Time // ids that the issuer did not list, and until when to believe it
	asked    time.Time            // when an unknown id last caused a fetch
	deferred bool                 // an unknown id came within the cool-down: fetch when it is over
	due      time.Time            // next scheduled fetch
	record   keySetRecord         // last good body, for Export
	streak   uint                 // failures since the last success
	fetches  uint64
	failures uint64
	err      error // of the last try
}

func newSource(ks *KeyStore, address string) *source {
	return &source{
		url: address, name: redacted(address), store: ks,
		tried:  make(chan struct{}),
		loaded: make(chan struct{}),
		wake:   make(chan struct{}, 1),
		absent: map[string]time.Time{},
	}
}

// redacted is a URL without a password.
func redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "a malformed URL"
	}
	return u.Redacted()
}

func (s *source) isFile() bool { return strings.HasPrefix(s.url, "file:") }

func (s *source) setUsed(used bool) {
	s.mu.Lock()
	if s.used && !used {
		s.unusedAt = s.store.opts.Now()
	}
	s.used = used
	s.mu.Unlock()
	s.nudge()
}

func (s *source) inUse() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

func (s *source) nudge() {
	select {
	case s.wake <- struct{}{}:
	default: // run has not taken the last one yet, and will see this too
	}
}

// open lets flights be asked for; run ends that.
func (s *source) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = true
}

// run fetches when a fetch is due or asked for, until ctx or the grace ends.
func (s *source) run(ctx context.Context) {
	defer s.stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(s.untilNext())
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.wake:
		}
		if s.graceOver() && s.store.remove(s) {
			return
		}
		if s.begin() {
			body, maxAge, err := s.fetch(ctx)
			if ctx.Err() != nil {
				return // the failure is ours
			}
			s.finish(body, maxAge, err)
		}
	}
}

// stop releases whoever waits.
func (s *source) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running, s.fetching = false, false
	s.landLocked()
	// Without use, what was verified with these keys must not outlive them. With
	// use, the process is ending and its last requests still count.
	if set := s.set.Load(); set != nil && !s.used {
		set.retireExcept(nil)
	}
}

// landLocked ends the flight, and with it the first try.
func (s *source) landLocked() {
	if s.flight != nil {
		close(s.flight)
		s.flight = nil
	}
	select {
	case <-s.tried:
	default:
		close(s.tried)
	}
}

// untilNext is how long run may sleep.
func (s *source) untilNext() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.due
	if end := s.asked.Add(s.store.opts.Cooldown); s.deferred && end.Before(next) {
		next = end
	}
	if end := s.unusedAt.Add(s.store.opts.Grace); !s.used && end.Before(next) {
		next = end
	}
	return max(0, next.Sub(s.store.opts.Now()))
}

func (s *source) graceOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.used && !s.store.opts.Now().Before(s.unusedAt.Add(s.store.opts.Grace))
}

// begin reports whether to fetch now, and if so marks the flight as under way.
func (s *source) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.store.opts.Now()
	if s.deferred && !now.Before(s.asked.Add(s.store.opts.Cooldown)) {
		s.asked = now
	} else if s.flight == nil && now.Before(s.due) {
		return false
	}
	if s.flight == nil {
		s.flight = make(chan struct{})
	}
	s.fetching = true
	s.deferred = false // this fetch is what was put off
	s.fetches++
	return true
}

// finish takes in what a fetch brought, and lands the flight.
func (s *source) finish(body []byte, maxAge time.Duration, err error) {
	var set *keySet
	if err == nil {
		set, err = parseKeySet(body)
	}
	s.mu.Lock()
	now := s.store.opts.Now()
	before := s.streak
	changed := false
	if s.err = err; err != nil {
		s.failures++
		s.streak++
		s.due = now.Add(jitter(s.backoff()))
	} else {
		s.streak = 0
		s.due = now.Add(s.interval(maxAge))
		s.record = keySetRecord{URL: s.url, Fetched: now, MaxAge: maxAge, Body: body}
		changed = s.install(set)
		for _, kid := range s.wanted {
			if set.lookup(kid, true) == nil {
				s.absent[kid] = now.Add(absentFor * s.store.opts.Cooldown)
			}
		}
	}
	for kid, until := range s.absent {
		if !now.Before(until) {
			delete(s.absent, kid)
		}
	}
	s.wanted, s.fetching = nil, false
	streak := s.streak
	s.landLocked()
	s.mu.Unlock()
	s.report(set, changed, err, before, streak)
}

// install makes set the current one, and reports whether it differs from the
// former. Keys that stay keep their identity; keys that are gone are retired,
// which forgets the tokens that they verified. The caller holds mu, or is alone.
func (s *source) install(set *keySet) (changed bool) {
	old := s.set.Load()
	if old == nil {
		s.set.Store(set)
		close(s.loaded)
		return false
	}
	kept := set.inherit(old)
	s.set.Store(set)
	old.retireExcept(set)
	return kept != len(set.keys) || kept != len(old.keys)
}

// inherit replaces keys of s by the same keys of old, and counts them.
func (s *keySet) inherit(old *keySet) (kept int) {
	for i, key := range s.keys {
		for _, former := range old.keys {
			if former.same(key) {
				kept++
				s.keys[i] = former
				if s.sole == key {
					s.sole = former
				}
				if key.id != "" {
					s.byID[key.id] = former
				}
			}
		}
	}
	return kept
}

// retireExcept retires the keys of s that next, which may be nil, does not hold.
func (s *keySet) retireExcept(next *keySet) {
	for _, key := range s.keys {
		if next == nil || !slices.Contains(next.keys, key) {
			key.retired.Store(true)
		}
	}
}

// interval is the time to the next refresh after a success.
func (s *source) interval(maxAge time.Duration) time.Duration {
	o := &s.store.opts
	if s.isFile() {
		return o.FilePoll
	}
	return jitter(min(max(maxAge, o.MinRefresh), o.MaxRefresh))
}

// backoff is the time to the next try after a failure.
func (s *source) backoff() time.Duration {
	o := &s.store.opts
	if s.isFile() {
		return o.FilePoll
	}
	return min(firstRetry<<min(s.streak-1, 16), max(o.MinRefresh, firstRetry))
}

// jitter shortens d by up to a tenth, so that many nodes that started together
// do not go on asking together.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d)/10+1))
}

// report logs changes, and failures as they double.
func (s *source) report(set *keySet, changed bool, err error, before, streak uint) {
	log := s.store.opts.Logger
	if err != nil {
		if bits.OnesCount(streak) == 1 {
			log.Warn("key set cannot be refreshed; the last good keys stay",
				slog.String(telemetry.KeyAddress, s.name), slog.Uint64(telemetry.KeyCount, uint64(streak)),
				slog.Any(telemetry.KeyError, err))
		}
		return
	}
	if changed {
		log.Info("the issuer changed its keys", slog.String(telemetry.KeyAddress, s.name),
			slog.Int(telemetry.KeyCount, len(set.keys)))
	}
	if before > 0 {
		log.Info("key set is refreshed again", slog.String(telemetry.KeyAddress, s.name),
			slog.Int(telemetry.KeyCount, len(set.keys)))
	}
}

func (s *source) lastError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *source) stats() KeySetStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := KeySetStats{
		URL:         s.name,
		LastSuccess: s.record.Fetched,
		Fetches:     s.fetches,
		Failures:    s.failures,
		Unknown:     s.unknown.Load(),
	}
	if set := s.set.Load(); set != nil {
		st.Keys, st.Refused = len(set.keys), set.refused
		st.Age = s.store.opts.Now().Sub(s.record.Fetched)
	}
	if s.err != nil {
		st.Error = s.err.Error()
	}
	return st
}

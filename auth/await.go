package auth

import (
	"slices"
	"time"
)

// keyAbsence is why a source has no key for a token; empty when it has one.
type keyAbsence string

const (
	keyUnknown  keyAbsence = ReasonUnknownKey
	keysMissing keyAbsence = ReasonKeysUnavailable
)

// key finds the key that a token names. It waits for at most the store's Wait,
// and only for one of two things: the end of the very first try to get keys, or
// the end of a fetch that the cool-down allows (or that is under way). After a
// rotation the first token of the new key causes that fetch, the tokens that come
// meanwhile join it, and none is lost.
//
// It cannot be abused to hold requests: within one cool-down only the time of
// one fetch is ever waited for, by at most maxWaiters requests, while everybody
// with a known key passes by.
func (s *source) key(kid string, named bool) (*publicKey, keyAbsence) {
	k, why, next := s.ask(kid, named)
	if next != nil {
		k, why = s.await(kid, named, why, next)
	}
	if why == keyUnknown {
		s.unknown.Add(1)
	}
	return k, why
}

func (s *source) await(kid string, named bool, why keyAbsence, next <-chan struct{}) (k *publicKey, _ keyAbsence) {
	if s.store.opts.Wait < 0 {
		return nil, why
	}
	defer s.waiters.Add(-1)
	if s.waiters.Add(1) > maxWaiters {
		return nil, why
	}
	timer := time.NewTimer(s.store.opts.Wait)
	defer timer.Stop()
	for next != nil {
		select {
		case <-next:
			k, why, next = s.ask(kid, named)
		case <-timer.C:
			return nil, why
		}
	}
	return k, why
}

// ask looks for a key. Without one it says why, and next is closed when it is
// worth asking again; nil: it is not.
func (s *source) ask(kid string, named bool) (_ *publicKey, why keyAbsence, next <-chan struct{}) {
	set := s.set.Load()
	if set == nil {
		select {
		case <-s.tried:
		default:
			return nil, keysMissing, s.tried
		}
		if set = s.set.Load(); set == nil {
			return nil, keysMissing, nil
		}
	}
	if k := set.lookup(kid, named); k != nil {
		return k, "", nil
	}
	if !named {
		return nil, keyUnknown, nil // no fetch could tell which key is meant
	}
	return s.want(kid)
}

// want asks for a key id that the set lacks: of the fetch that is under way, or
// of a new one, or, within the cool-down, of one put off to its end, which
// nobody waits for. Nothing is asked for an id that the issuer was asked for
// lately and did not list.
func (s *source) want(kid string) (_ *publicKey, why keyAbsence, next <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.set.Load().lookup(kid, true); k != nil {
		return k, "", nil // since the caller looked
	}
	now := s.store.opts.Now()
	if until, ok := s.absent[kid]; ok && now.Before(until) || !s.running {
		return nil, keyUnknown, nil
	}
	switch {
	case s.flight != nil:
	case now.Before(s.asked.Add(s.store.opts.Cooldown)):
		if !s.deferred {
			s.deferred = true
			s.nudge()
		}
		return nil, keyUnknown, nil
	default:
		s.asked = now
		s.flight = make(chan struct{})
		s.nudge()
	}
	if !s.fetching && len(s.wanted) < maxWanted && !slices.Contains(s.wanted, kid) {
		s.wanted = append(s.wanted, kid)
	}
	return nil, keyUnknown, s.flight
}

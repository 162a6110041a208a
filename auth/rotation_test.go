package auth

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/issuer"
	"sluice/internal/issuer/issuertest"
)

func TestRotation_LosesNoRequest(t *testing.T) {
	w := newWorld(t, KeyStoreOptions{Wait: 10 * time.Second}, nil) // a loaded machine is no lost request
	before := w.token(t, issuer.Claims{Tenant: "acme"})
	w.accept(t, before)
	fetched := w.issuer.Requests().JWKS
	if err := w.issuer.Rotate(); err != nil {
		t.Fatal(err)
	}
	w.issuer.SetDelay(20 * time.Millisecond) // so that many arrive while the fetch is under way
	tokens := make([]string, 16)
	for i := range tokens {
		tokens[i] = w.token(t, issuer.Claims{Tenant: fmt.Sprint("t", i), Algorithm: []string{"RS256", "ES256", "EdDSA"}[i%3]})
	}
	var all sync.WaitGroup
	for i, token := range tokens {
		all.Go(func() {
			id, err := w.Verify(token, time.Now())
			if err != nil || id.Tenant != fmt.Sprint("t", i) {
				t.Errorf("token %d: %+v, %v", i, id, err)
			}
		})
	}
	all.Wait()
	w.accept(t, before) // listed still
	if n := w.issuer.Requests().JWKS - fetched; n != 1 {
		t.Errorf("the rotation cost the issuer %d fetches, want 1", n)
	}
}

// Invariant 3.
func TestRetiredKeys_TakeTheirRememberedTokensWithThem(t *testing.T) {
	at := newClock()
	w := newWorld(t, KeyStoreOptions{Now: at.Now}, nil)
	old := w.token(t, issuer.Claims{Tenant: "acme"})
	w.accept(t, old)
	if err := w.issuer.Rotate(); err != nil {
		t.Fatal(err)
	}
	w.issuer.Retire()
	w.accept(t, old) // nobody has noticed yet
	w.accept(t, w.token(t, issuer.Claims{Tenant: "acme"}))
	refused(t, w.Verifier, old, time.Now(), ReasonUnknownKey)
}

// Invariant 5.
func TestAFloodOfUnknownKeyIDs_CostsTheIssuerOneFetchPerCooldown(t *testing.T) {
	at := newClock()
	w := newWorld(t, KeyStoreOptions{Now: at.Now}, nil)
	good := w.token(t, issuer.Claims{Tenant: "acme"})
	forged := strings.SplitN(good, ".", 2)[1]
	flood := func(round, n int) {
		var all sync.WaitGroup
		for worker := range 4 {
			all.Go(func() {
				for i := range n / 4 {
					header := map[string]any{"alg": "RS256", "kid": fmt.Sprint("kid-", round, "-", worker, "-", i)}
					refused(t, w.Verifier, segment(t, header)+"."+forged, time.Now(), ReasonUnknownKey)
				}
			})
		}
		all.Wait()
	}
	start := w.issuer.Requests().JWKS
	flood(0, 10_000)
	if n := w.issuer.Requests().JWKS - start; n > 1 {
		t.Errorf("10,000 unknown kids cost %d fetches in one cool-down, want 1", n)
	}
	at.advance(59 * time.Second)
	flood(1, 400)
	if n := w.issuer.Requests().JWKS - start; n > 1 {
		t.Errorf("%d fetches within 59 s, want 1", n)
	}
	at.advance(time.Second)
	flood(2, 400)
	if n := w.issuer.Requests().JWKS - start; n != 2 {
		t.Errorf("%d fetches in two cool-downs, want 2", n)
	}
	w.accept(t, good)
	if st := w.store.Stats()[0]; st.Unknown != 10_800 {
		t.Errorf("%d tokens of unknown keys counted, want 10800", st.Unknown)
	}
	s := (*w.store.live.Load())[w.issuer.JWKSURL()]
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.absent); n > 2*maxWanted {
		t.Errorf("%d absent kids are remembered after two fetches, want at most %d", n, 2*maxWanted)
	}
}

// Invariant 5.
func TestAKeyIDThatTheIssuerDoesNotList_IsNotAskedForAgainSoon(t *testing.T) {
	at := newClock()
	w := newWorld(t, KeyStoreOptions{Now: at.Now}, nil)
	stale := w.token(t, issuer.Claims{Header: map[string]any{"kid": "long-gone"}})
	start := w.issuer.Requests().JWKS
	for _, c := range []struct {
		after time.Duration
		want  int64
	}{{0, 1}, {time.Minute, 1}, {3 * time.Minute, 1}, {time.Minute, 2}} {
		at.advance(c.after)
		refused(t, w.Verifier, stale, time.Now(), ReasonUnknownKey)
		if n := w.issuer.Requests().JWKS - start; n != c.want {
			t.Errorf("%v later: %d fetches, want %d", c.after, n, c.want)
		}
	}
}

// An attacker may use up the cool-down right before a rotation: then the new key
// is known when the cool-down ends, without anybody asking again.
func TestAnUnknownKeyWithinTheCooldown_IsFetchedWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := issuertest.New(t, issuer.Options{MaxAge: time.Hour})
		v, _ := inBubble(t, i, KeyStoreOptions{})
		refused(t, v, issuertest.Token(t, i, issuer.Claims{Header: map[string]any{"kid": "bait"}}), time.Now(), ReasonUnknownKey)
		if err := i.Rotate(); err != nil {
			t.Fatal(err)
		}
		token := issuertest.Token(t, i, issuer.Claims{Tenant: "acme"})
		time.Sleep(10 * time.Second)
		refused(t, v, token, time.Now(), ReasonUnknownKey)
		time.Sleep(51 * time.Second)
		synctest.Wait()
		if n := i.Requests().JWKS; n != 3 {
			t.Errorf("%d fetches, want the first, the bait's and the one put off", n)
		}
		if _, err := v.Verify(token, time.Now()); err != nil {
			t.Errorf("after the cool-down: %v", err)
		}
	})
}

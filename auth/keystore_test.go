package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/conf"
	"sluice/internal/issuer"
	"sluice/internal/issuer/issuertest"
)

// inBubble runs a store over an in-process issuer inside a synctest bubble.
func inBubble(t *testing.T, h http.Handler, o KeyStoreOptions) (*Verifier, *KeyStore) {
	t.Helper()
	o.Client = inProcess(h)
	ks := NewKeyStore(o)
	v := compile(t, conf.Auth{Issuers: []conf.Issuer{{Issuer: issuer.DefaultURL, Audience: issuer.DefaultAudience}}}, ks, nil)
	run(t, ks)
	ks.Use(v.KeySets()...)
	synctest.Wait()
	return v, ks
}

// Invariant 6.
func TestLastGoodKeys_StayWhileTheIssuerIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		i := issuertest.New(t, issuer.Options{MaxAge: 10 * time.Minute})
		v, ks := inBubble(t, i, KeyStoreOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		token := issuertest.Token(t, i, issuer.Claims{Tenant: "acme", TTL: 24 * time.Hour})
		i.SetDown(true)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if _, err := v.Verify(token, time.Now()); err != nil {
			t.Fatalf("after three hours of outage: %v", err)
		}
		st := ks.Stats()[0]
		if st.Age != 3*time.Hour || st.Failures == 0 || st.Error == "" || st.Keys != 3 {
			t.Errorf("stats %+v; want an age of 3h, failures and 3 keys", st)
		}
		// Tries back off to one a minute: about 171 of them in 170 minutes.
		if st.Failures < 160 || st.Failures > 220 {
			t.Errorf("%d tries in three hours, want about one a minute", st.Failures)
		}
		if n := strings.Count(log.String(), "cannot be refreshed"); n < 5 || n > 10 {
			t.Errorf("%d warnings, want one for each doubling", n)
		}
		i.SetDown(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if st := ks.Stats()[0]; st.Age > time.Minute || st.Error != "" {
			t.Errorf("after the outage: %+v", st)
		}
		if !strings.Contains(log.String(), "refreshed again") {
			t.Error("the recovery is not logged")
		}
	})
}

func TestAnIssuerDownFromTheStart_MakesTokensUnverifiableNotInvalid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := issuertest.New(t, issuer.Options{})
		i.SetDown(true)
		v, ks := inBubble(t, i, KeyStoreOptions{})
		start := time.Now()
		e := refused(t, v, issuertest.Token(t, i, issuer.Claims{}), start, ReasonKeysUnavailable)
		if e.Status() != http.StatusServiceUnavailable || e.Cause == nil || Challenge(e) != `Bearer realm="sluice"` {
			t.Errorf("status %d, cause %v, challenge %s", e.Status(), e.Cause, Challenge(e))
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %v after the first try had failed", waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if err := ks.AwaitKeys(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "503") {
			t.Errorf("AwaitKeys: %v; want the deadline and the issuer's answer", err)
		}
		i.SetDown(false)
		if err := ks.AwaitKeys(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := v.Verify(issuertest.Token(t, i, issuer.Claims{}), time.Now()); err != nil {
			t.Error(err)
		}
	})
}

func TestRequests_WaitForTheFirstFetchButNotForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := issuertest.New(t, issuer.Options{})
		i.SetDelay(time.Second)
		v, _ := inBubble(t, i, KeyStoreOptions{})
		start := time.Now()
		if _, err := v.Verify(issuertest.Token(t, i, issuer.Claims{}), start); err != nil || time.Since(start) != time.Second {
			t.Errorf("the first token: %v after %v, want accepted after 1s", err, time.Since(start))
		}
		i.SetDelay(4 * time.Second)
		start = time.Now()
		refused(t, v, issuertest.Token(t, i, issuer.Claims{Header: map[string]any{"kid": "x"}}), start, ReasonUnknownKey)
		if waited := time.Since(start); waited != 2*time.Second {
			t.Errorf("waited %v for an unknown key, want 2s", waited)
		}
		if _, err := v.Verify(issuertest.Token(t, i, issuer.Claims{}), time.Now()); err != nil {
			t.Errorf("meanwhile a known key: %v", err)
		}
		time.Sleep(3 * time.Second)
		start = time.Now()
		refused(t, v, issuertest.Token(t, i, issuer.Claims{Header: map[string]any{"kid": "y"}}), start, ReasonUnknownKey)
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %v within the cool-down", waited)
		}
	})
}

func TestWithoutWaiting_AnUnknownKeyIsFetchedBesideTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := issuertest.New(t, issuer.Options{MaxAge: time.Hour})
		v, _ := inBubble(t, i, KeyStoreOptions{Wait: -1})
		if err := i.Rotate(); err != nil {
			t.Fatal(err)
		}
		token := issuertest.Token(t, i, issuer.Claims{})
		refused(t, v, token, time.Now(), ReasonUnknownKey)
		synctest.Wait()
		if _, err := v.Verify(token, time.Now()); err != nil {
			t.Errorf("after the fetch: %v", err)
		}
	})
}

func TestWaiters_AreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := issuertest.New(t, issuer.Options{})
		v, _ := inBubble(t, i, KeyStoreOptions{})
		i.SetDelay(4 * time.Second)
		token := issuertest.Token(t, i, issuer.Claims{Header: map[string]any{"kid": "x"}})
		start := time.Now()
		var atOnce atomic.Int32
		var all sync.WaitGroup
		for range maxWaiters + 50 {
			all.Go(func() {
				refused(t, v, token, start, ReasonUnknownKey)
				if time.Since(start) == 0 {
					atOnce.Add(1)
				}
			})
		}
		all.Wait()
		if n := atOnce.Load(); n != 50 {
			t.Errorf("%d did not wait, want 50", n)
		}
	})
}

func TestRefreshes_FollowCacheControlWithinBounds(t *testing.T) {
	for _, c := range []struct {
		header   string
		from, to time.Duration
	}{
		{"public, max-age=15, stale-if-error=86400", 54 * time.Second, time.Minute},
		{"max-age=600", 9 * time.Minute, 10 * time.Minute},
		{`Max-Age="600"`, 9 * time.Minute, 10 * time.Minute},
		{"max-age=99999999999999999999", 54 * time.Minute, time.Hour},
		{"max-age=600, no-cache", 54 * time.Second, time.Minute},
		{"no-store", 54 * time.Second, time.Minute},
		{"max-age=x", 7 * time.Minute, 8 * time.Minute},
		{"", 7 * time.Minute, 8 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			i := issuertest.New(t, issuer.Options{MaxAge: -1})
			_, ks := inBubble(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c.header != "" {
					w.Header().Set("Cache-Control", c.header)
				}
				i.ServeHTTP(w, r)
			}), KeyStoreOptions{})
			s := (*ks.live.Load())[issuer.DefaultURL+".well-known/jwks.json"]
			if next := s.untilNext(); next < c.from || next > c.to {
				t.Errorf("%q: next refresh in %v, want %v to %v", c.header, next, c.from, c.to)
			}
			time.Sleep(c.to)
			synctest.Wait()
			if n := i.Requests().JWKS; n != 2 {
				t.Errorf("%q: %d fetches after %v, want 2", c.header, n, c.to)
			}
		})
	}
}

// Invariant 6.
func TestBadAnswers_LeaveTheKeysAsTheyAre(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"empty set":  func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"keys":[]}`)) },
		"no JSON":    func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`<html>`)) },
		"404":        func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "{}", 404) },
		"too large":  func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxKeySetBytes+1)) },
		"no content": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
	}
	for name, answer := range answers {
		synctest.Test(t, func(t *testing.T) {
			i := issuertest.New(t, issuer.Options{MaxAge: time.Minute})
			var bad atomic.Bool
			v, ks := inBubble(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if bad.Load() {
					answer(w, r)
				} else {
					i.ServeHTTP(w, r)
				}
			}), KeyStoreOptions{})
			bad.Store(true)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if st := ks.Stats()[0]; st.Failures == 0 || st.Keys != 3 {
				t.Errorf("%s: stats %+v, want failures and 3 keys", name, st)
			}
			if _, err := v.Verify(issuertest.Token(t, i, issuer.Claims{}), time.Now()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

func TestARefresh_ForgetsNothingThatStillHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := issuertest.New(t, issuer.Options{MaxAge: time.Minute})
		v, _ := inBubble(t, i, KeyStoreOptions{})
		token := issuertest.Token(t, i, issuer.Claims{Tenant: "acme"})
		first, err := v.Verify(token, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := i.Rotate(); err != nil { // the former keys stay listed
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if n := i.Requests().JWKS; n < 10 {
			t.Fatalf("%d fetches in ten minutes", n)
		}
		if again, err := v.Verify(token, time.Now()); err != nil || again != first {
			t.Errorf("after refreshes the token is verified anew: %v", err)
		}
	})
}

func TestKeySetsOutOfUse_AreForgottenAfterAGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := issuertest.New(t, issuer.Options{MaxAge: time.Hour})
		v, ks := inBubble(t, i, KeyStoreOptions{})
		token := issuertest.Token(t, i, issuer.Claims{TTL: 24 * time.Hour})
		good := func(when string) {
			t.Helper()
			if _, err := v.Verify(token, time.Now()); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
		good("in use")
		ks.Use()
		time.Sleep(4 * time.Minute)
		good("in its grace")
		ks.Use(v.KeySets()...) // it comes back
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		good("in use again")
		if n := i.Requests().JWKS; n != 1 {
			t.Errorf("%d fetches, want the first alone", n)
		}
		ks.Use()
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		if n := len(ks.Stats()); n != 0 {
			t.Errorf("%d key sets after the grace", n)
		}
		refused(t, v, token, time.Now(), ReasonKeysUnavailable) // the cache has forgotten it too
	})
}

func TestAKeyFile_IsReadAgainWhenItChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	i := issuertest.New(t, issuer.Options{})
	write := func() {
		t.Helper()
		if err := os.WriteFile(file, i.JWKS(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		ks := NewKeyStore(KeyStoreOptions{})
		v := compile(t, conf.Auth{Issuers: []conf.Issuer{{Issuer: i.URL(), Audience: i.Audience(), JWKSURL: "file://" + file}}}, ks, nil)
		run(t, ks)
		ks.Use(v.KeySets()...)
		time.Sleep(10 * time.Second) // before the file is there
		write()
		if err := ks.AwaitKeys(t.Context()); err != nil {
			t.Fatal(err)
		}
		old := issuertest.Token(t, i, issuer.Claims{})
		if _, err := v.Verify(old, time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := i.Rotate(); err != nil {
			t.Fatal(err)
		}
		i.Retire()
		write()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if _, err := v.Verify(issuertest.Token(t, i, issuer.Claims{}), time.Now()); err != nil {
			t.Error(err)
		}
		refused(t, v, old, time.Now(), ReasonUnknownKey)
	})
}

func TestARedirectAwayFromHTTPS_IsNotFollowed(t *testing.T) {
	var reached atomic.Bool
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	defer secure.Close()
	client := newClient()
	client.Transport = secure.Client().Transport
	ks := NewKeyStore(KeyStoreOptions{Client: client})
	ks.Use(secure.URL)
	run(t, ks)
	s := (*ks.live.Load())[secure.URL]
	<-s.tried
	if err := s.lastError(); err == nil || !strings.Contains(err.Error(), "away from https") || reached.Load() {
		t.Errorf("fetch: %v, reached %v", err, reached.Load())
	}
}

func TestRun_RefusesASecondOneAndCanRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := issuertest.New(t, issuer.Options{})
		ks := NewKeyStore(KeyStoreOptions{Client: inProcess(i)})
		ks.Use(i.JWKSURL())
		for range 2 {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- ks.Run(ctx) }()
			synctest.Wait()
			if err := ks.Run(ctx); err == nil {
				t.Error("a second Run is accepted")
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if st := ks.Stats()[0]; st.Keys != 3 || st.Fetches != 1 {
			t.Errorf("stats %+v; want the keys of one fetch", st)
		}
	})
}

func TestStats_NameNoPassword(t *testing.T) {
	ks := NewKeyStore(KeyStoreOptions{Client: inProcess(http.NotFoundHandler())})
	const address = "https://user:hunter2@keys.example/jwks.json"
	v := compile(t, conf.Auth{Issuers: []conf.Issuer{{Issuer: "https://i/", Audience: "a", JWKSURL: address}}}, ks, nil)
	check := func(when string) {
		if text := fmt.Sprintf("%+v %+v", v.Stats(), ks.Stats()); strings.Contains(text, "hunter2") {
			t.Errorf("%s: %s", when, text)
		}
	}
	check("before use")
	run(t, ks)
	ks.Use(v.KeySets()...)
	<-(*ks.live.Load())[address].tried
	check("after a failure")
}

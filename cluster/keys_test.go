package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/conf"
)

func fingerprintOf(t *testing.T, s conf.Secret) string {
	t.Helper()
	key, err := decodeKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return Fingerprint(key)
}

func TestKeysChangeUnderTrafficAndNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		s.net.Shape(lan())
		a, ta, _ := s.topical(0, "rows")
		b, _, box := s.topical(1, "rows")
		s.topical(2, "rows")
		s.converged(20 * time.Second)
		before, after := fingerprintOf(t, secretOf(1)), fingerprintOf(t, secretOf(9))

		stop, stopped := make(chan struct{}), make(chan int)
		go func() {
			sent := 0
			for {
				select {
				case <-stop:
					stopped <- sent
					return
				case <-time.After(500 * time.Microsecond):
					if ta.Send(b.ID(), fmt.Append(nil, sent)) == nil {
						sent++
					}
				}
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := a.UseKey(ctx, after); !errors.Is(err, ErrKeyMissing) {
			t.Errorf("using a key that nobody has: %v", err)
		}
		if _, err := a.RemoveKey(ctx, before); !errors.Is(err, ErrKeyInUse) {
			t.Errorf("removing the key in use: %v", err)
		}
		if _, err := a.InstallKey(ctx, secretOf(9)); err != nil {
			t.Fatal(err)
		}
		for _, k := range a.Keys(ctx) {
			if k.Err != nil || k.Primary != before || !slices.Equal(k.Keys, []string{before, after}) {
				t.Errorf("after install: %+v", k)
			}
		}
		time.Sleep(time.Second)
		if _, err := b.UseKey(ctx, after); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if _, err := s.nodes[2].RemoveKey(ctx, before); err != nil {
			t.Fatal(err)
		}
		for _, k := range b.Keys(ctx) {
			if k.Err != nil || !slices.Equal(k.Keys, []string{after}) {
				t.Errorf("after remove: %+v", k)
			}
		}
		time.Sleep(time.Second)
		close(stop)
		sent := <-stopped
		time.Sleep(time.Second)
		if box.len() != sent {
			t.Errorf("%d of %d messages arrived", box.len(), sent)
		}
		for _, n := range s.nodes {
			if st := n.Stats(); st.Members[Alive] != 3 || st.Dropped["wrong_key"] != 0 {
				t.Errorf("%s: members %v, dropped %v", n.Name(), st.Members, st.Dropped)
			}
		}
		// Who has the former key alone is out.
		old := s.add(5)
		time.Sleep(30 * time.Second)
		if old.Stats().Members[Alive] != 1 {
			t.Error("a node with the removed key joined")
		}
	})
}

func TestARollingRestartChangesKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		both := func(first, second byte) func(*Options) {
			return func(o *Options) {
				o.Config.Secret, o.Config.AcceptSecrets = secretOf(first), []conf.Secret{secretOf(second)}
			}
		}
		s.add(0, both(1, 2))
		s.add(1, both(2, 1))
		s.add(2, both(1, 2))
		s.converged(20 * time.Second)
	})
}

func TestKeysThatAMemberCannotAnswerForAreNotChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		for i := range 3 {
			s.add(i)
		}
		s.converged(20 * time.Second)
		a := s.nodes[0]
		if _, err := a.InstallKey(t.Context(), secretOf(9)); err != nil {
			t.Fatal(err)
		}
		s.nodes[2].kill() // nobody knows yet
		all, err := a.UseKey(t.Context(), fingerprintOf(t, secretOf(9)))
		if !errors.Is(err, ErrKeyMissing) || len(all) != 3 || all[2].Err == nil {
			t.Errorf("got %v and %+v, want ErrKeyMissing because of gw-2", err, all)
		}
		if a.Keys(t.Context())[0].Primary == fingerprintOf(t, secretOf(9)) {
			t.Error("the key is in use nevertheless")
		}
	})
}

func TestASuccessorKeepsChangedKeysUnlessItsConfigurationChanged(t *testing.T) {
	a := onLoopback(t, Options{Name: "a"})
	if err := errors.Join(a.doKeys(keyInstall, bytes.Repeat([]byte{9}, 32)), a.keyring.use(fingerprintOf(t, secretOf(9)))); err != nil {
		t.Fatal(err)
	}
	state, err := a.Handover()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		config conf.Cluster
		want   byte
	}{
		"the same":  {conf.Cluster{Secret: secretOf(1)}, 9},
		"a new key": {conf.Cluster{Secret: secretOf(7), AcceptSecrets: []conf.Secret{secretOf(9)}}, 7},
	} {
		b := onLoopback(t, Options{Name: "a", Config: c.config, Handover: state})
		if got := b.keyring.fingerprints()[0]; got != fingerprintOf(t, secretOf(c.want)) {
			t.Errorf("%s: it does not encrypt with key %d", name, c.want)
		}
		b.Close()
	}
}

func TestSecretsAreNeverInErrorsOrStatus(t *testing.T) {
	bad := conf.Secret("c2VjcmV0LXNlY3JldC1zZWNyZXQ")
	_, err := New(Options{Name: "a", Config: conf.Cluster{Bind: "127.0.0.1:0", Secret: bad}})
	if err == nil || strings.Contains(err.Error(), bad.Reveal()) {
		t.Errorf("New with a bad secret: %v", err)
	}
	if _, err := New(Options{Name: "a", Config: conf.Cluster{Bind: "127.0.0.1:0"}}); err == nil {
		t.Error("New without a secret succeeded")
	}
}

func TestAKeyringRemovesAnyKeyButTheFirst(t *testing.T) {
	keys := [][]byte{make([]byte, 16), make([]byte, 24), make([]byte, 32)}
	for i := range keys {
		k, err := newKeyring(slices.Clone(keys))
		if err != nil {
			t.Fatal(err)
		}
		err = k.remove(Fingerprint(keys[i]))
		if i == 0 {
			if !errors.Is(err, ErrKeyInUse) {
				t.Errorf("removing the first: %v", err)
			}
			continue
		}
		want := []string{Fingerprint(keys[0]), Fingerprint(keys[3-i])}
		if err != nil || !slices.Equal(k.fingerprints(), want) {
			t.Errorf("removing key %d: %v, left %v, want %v", i, err, k.fingerprints(), want)
		}
		if err := k.add(make([]byte, 17)); err == nil {
			t.Error("a key of 17 bytes was added")
		}
	}
}

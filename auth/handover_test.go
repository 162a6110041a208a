package auth

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"sluice/internal/issuer"
	"sluice/internal/issuer/issuertest"
)

func TestASuccessor_VerifiesWithHandedOverKeys(t *testing.T) {
	w := newWorld(t, KeyStoreOptions{}, nil)
	exported := w.store.Export()
	w.issuer.SetDown(true)

	heir := NewKeyStore(KeyStoreOptions{})
	if err := heir.Import(exported); err != nil {
		t.Fatal(err)
	}
	v := compile(t, w.conf, heir, nil)
	heir.Use(v.KeySets()...)
	token := w.token(t, issuer.Claims{Tenant: "acme"})
	if id, err := v.Verify(token, time.Now()); err != nil || id.Tenant != "acme" {
		t.Errorf("before Run: %+v, %v", id, err)
	}
	run(t, heir)
	await(t, heir)
	if st := heir.Stats()[0]; st.Keys != 3 || !st.LastSuccess.Equal(w.store.Stats()[0].LastSuccess) {
		t.Errorf("stats %+v; want 3 keys as old as the predecessor's", st)
	}
	if again := heir.Export(); !bytes.Equal(again, exported) {
		t.Errorf("the next export differs:\n%s\n%s", exported, again)
	}
}

func TestImport_TakesInNothingOfABadHandover(t *testing.T) {
	w := newWorld(t, KeyStoreOptions{}, nil)
	good := string(w.store.Export())
	for name, data := range map[string]string{
		"empty": "", "no JSON": "x", "version": strings.Replace(good, `"version":1`, `"version":2`, 1),
		"keys": strings.Replace(good, `"body":"`, `"body":"AAAA`, 1), "future": strings.Replace(good, `"fetched":"2`, `"fetched":"9`, 1),
		"too large": strings.Repeat(" ", maxHandover+1),
	} {
		ks := NewKeyStore(KeyStoreOptions{})
		if err := ks.Import([]byte(data)); err == nil || len(ks.imported) != 0 {
			t.Errorf("%s: %v, %d sets taken in", name, err, len(ks.imported))
		}
	}
}

func FuzzImport(f *testing.F) {
	i := issuertest.New(f, issuer.Options{})
	ks := NewKeyStore(KeyStoreOptions{Client: inProcess(i)})
	run(f, ks)
	ks.Use(i.JWKSURL())
	await(f, ks)
	f.Add(ks.Export())
	f.Add([]byte(`{"version":1,"key_sets":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		heir := NewKeyStore(KeyStoreOptions{})
		if err := heir.Import(data); err != nil {
			return
		}
		var urls []string
		for url := range heir.imported {
			urls = append(urls, url)
		}
		heir.Use(urls...)
		for _, st := range heir.Stats() {
			if st.Keys == 0 {
				t.Errorf("%q is taken in without keys", st.URL)
			}
		}
	})
}

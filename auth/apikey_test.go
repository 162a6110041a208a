package auth

import (
	"hash/crc32"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var keyNow = time.Unix(1_800_000_000, 0)

// ring is a keyring with one key, and its text.
func ring(change func(*Key)) (Keyring, string) {
	id := NewKeyID()
	text := NewKey("slc", id)
	k := &Key{ID: id, Hash: HashKey(text), Identity: Identity{Tenant: "acme", Method: MethodKey}}
	if change != nil {
		change(k)
	}
	var empty Keyring
	return empty.With(map[string]*Key{id: k}), text
}

func TestAKeyIsAcceptedByItsWholeText(t *testing.T) {
	r, text := ring(nil)
	home := netip.MustParseAddr("192.0.2.1")
	k, err := r.Verify("slc", text, home, keyNow)
	if err != nil || k.Identity.Tenant != "acme" || !strings.HasPrefix(text, "slc_live_"+k.ID) {
		t.Fatalf("%+v %v", k, err)
	}
	if !k.Used().Equal(keyNow.UTC()) {
		t.Errorf("last used %v", k.Used())
	}
	for i := range text {
		wrong := []byte(text)
		if wrong[i]++; wrong[i] == '[' || wrong[i] == '{' || wrong[i] == ':' {
			wrong[i] = 'A'
		}
		if _, err := r.Verify("slc", string(wrong), home, keyNow); err == nil {
			t.Errorf("accepted with another character at %d", i)
		}
	}
	other := NewKey("slc", k.ID) // the same name, a right checksum, another secret
	if _, err := r.Verify("slc", other, home, keyNow); Reason(err) != ReasonUnknownAPIKey {
		t.Errorf("another secret: %v", err)
	}
	if _, err := r.Verify("slc", NewKey("slc", NewKeyID()), home, keyNow); Reason(err) != ReasonUnknownAPIKey {
		t.Errorf("another key: %v", err)
	}
	if _, err := r.Verify("abc", text, home, keyNow); Reason(err) != ReasonMalformed {
		t.Errorf("another prefix: %v", err)
	}
	var empty Keyring
	if _, err := empty.Verify("slc", text, home, keyNow); Reason(err) != ReasonUnknownAPIKey {
		t.Errorf("an empty ring: %v", err)
	}
	gone := r.With(nil, k.ID)
	if _, err := gone.Verify("slc", text, home, keyNow); err == nil || gone.Len() != 0 {
		t.Error("a key that was taken away is accepted")
	}
}

// A name without a hash must not be opened by anything, the zero hash included.
func TestAKeyEndsWhenItSays(t *testing.T) {
	var old string
	r, text := ring(func(k *Key) {
		old = NewKey("slc", k.ID)
		k.Previous, k.PreviousUntil, k.Expires = HashKey(old), keyNow.Add(time.Hour), keyNow.Add(2*time.Hour)
	})
	a := netip.MustParseAddr("192.0.2.1")
	for _, c := range []struct {
		after  time.Duration
		text   string
		reason string
	}{
		{0, text, ""}, {0, old, ""}, {time.Hour - 1, old, ""}, {time.Hour, old, ReasonUnknownAPIKey},
		{2*time.Hour - 1, text, ""}, {2 * time.Hour, text, ReasonExpired},
	} {
		_, err := r.Verify("slc", c.text, a, keyNow.Add(c.after))
		if (err == nil) != (c.reason == "") || err != nil && Reason(err) != c.reason {
			t.Errorf("after %v: %v, want %q", c.after, err, c.reason)
		}
	}
}

func TestAKeyIsForItsAddressesAndRoutes(t *testing.T) {
	r, text := ring(func(k *Key) {
		k.Networks, k.Routes = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, []string{"orders", "/items/*"}
	})
	if _, err := r.Verify("slc", text, netip.MustParseAddr("198.51.100.1"), keyNow); Reason(err) != ReasonAddress {
		t.Errorf("from elsewhere: %v", err)
	}
	if _, err := r.Verify("slc", text, netip.Addr{}, keyNow); Reason(err) != ReasonAddress {
		t.Errorf("from nowhere: %v", err)
	}
	k, err := r.Verify("slc", text, netip.MustParseAddr("::ffff:192.0.2.9"), keyNow)
	if err != nil {
		t.Fatal(err)
	}
	if !k.AllowsRoute("orders", "/orders") || !k.AllowsRoute("x", "/items/*") || k.AllowsRoute("x", "/x") {
		t.Error("routes")
	}
}

func TestTheUseOfAKeyOutlivesItsChange(t *testing.T) {
	r, text := ring(nil)
	k, _ := r.Verify("slc", text, netip.Addr{}, keyNow)
	changed := r.With(map[string]*Key{k.ID: {ID: k.ID, Hash: k.Hash}})
	if used := changed.Used(); !used[k.ID].Equal(keyNow.UTC()) {
		t.Errorf("%v", used)
	}
}

func TestOneCredentialIsFound(t *testing.T) {
	_, key := ring(nil)
	for _, c := range []struct {
		authorization, header []string
		want                  Credential
		reason                string
	}{
		{nil, nil, Credential{}, ""},
		{[]string{"Bearer a.b.c"}, nil, Credential{"a.b.c", false}, ""},
		{[]string{"Bearer " + key}, nil, Credential{key, true}, ""},
		{nil, []string{key}, Credential{key, true}, ""},
		{nil, []string{""}, Credential{"", true}, ""},
		{nil, []string{"slc_live_"}, Credential{"slc_live_", true}, ""},
		{[]string{"Basic dTpw"}, []string{key}, Credential{key, true}, ""},
		{[]string{"Bearer a.b.c"}, []string{key}, Credential{}, ReasonManyCredentials},
		{nil, []string{key, key}, Credential{}, ReasonManyCredentials},
		{[]string{"Bearer"}, []string{key}, Credential{}, ReasonMalformed},
	} {
		h := http.Header{}
		if c.authorization != nil {
			h["Authorization"] = c.authorization
		}
		if c.header != nil {
			h["X-Api-Key"] = c.header
		}
		got, err := FindCredential(h, "X-Api-Key", "slc")
		if got != c.want || (err == nil) != (c.reason == "") || err != nil && Reason(err) != c.reason {
			t.Errorf("%v %v: %v %v", c.authorization, c.header, got, err)
		}
	}
	// Without API keys their header is the service's own affair.
	if got, err := FindCredential(http.Header{"X-Api-Key": {key}}, "X-Api-Key", ""); err != nil || got.Text != "" {
		t.Errorf("%v %v", got, err)
	}
}

func TestVerifyingAKeyAllocatesNothing(t *testing.T) {
	r, text := ring(nil)
	from := netip.MustParseAddr("192.0.2.1")
	if n := testing.AllocsPerRun(100, func() { _, _ = r.Verify("slc", text, from, keyNow) }); n != 0 && !raceEnabled {
		t.Errorf("%v allocations, want 0", n)
	}
}

// The checksum is the one that everybody knows by this name.
func TestTheChecksumIsCRC32(t *testing.T) {
	n, want := crc32.ChecksumIEEE([]byte("slc_live_0")), ""
	for range keySumLen {
		want = string(keyAlphabet[n%62]) + want
		n /= 62
	}
	if got := keySum("slc_live_0"); string(got[:]) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("slc", NewKey("slc", NewKeyID()))
	f.Add("slc", "slc_live_")
	f.Add("", "_live_"+strings.Repeat("0", keyIDLen+keySecretLen+keySumLen))
	f.Add("slc", "slc_live_\xff")
	f.Fuzz(func(t *testing.T, prefix, text string) {
		id := ParseKey(prefix, text)
		if id == "" {
			return
		}
		if len(id) != keyIDLen || !strings.HasPrefix(text, prefix+keyEnvironment+id) || keySum(text[:len(text)-keySumLen]) != [keySumLen]byte([]byte(text[len(text)-keySumLen:])) {
			t.Errorf("%q is read as the key %q", text, id)
		}
	})
}

func BenchmarkVerifyKey(b *testing.B) {
	set := make(map[string]*Key, 100_000)
	texts := make([]string, 0, 100_000)
	for range 100_000 {
		id := NewKeyID()
		text := NewKey("slc", id)
		set[id] = &Key{ID: id, Hash: HashKey(text)}
		texts = append(texts, text)
	}
	var empty Keyring
	r := empty.With(set)
	from := netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := r.Verify("slc", texts[i%len(texts)], from, keyNow); err != nil {
			b.Fatal(err)
		}
	}
}

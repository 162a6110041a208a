package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/internal/issuer"
	"sluice/internal/issuer/issuertest"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// rsaJWK writes a key with further members; a nil value takes one away.
func rsaJWK(key *rsa.PublicKey, more map[string]any) map[string]any {
	return with(map[string]any{"kty": "RSA", "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}, more)
}

func with(j, more map[string]any) map[string]any {
	j = maps.Clone(j)
	for name, value := range more {
		if j[name] = value; value == nil {
			delete(j, name)
		}
	}
	return j
}

func serveJSON(t testing.TB, v any) (address string) {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(body) }))
	t.Cleanup(server.Close)
	return server.URL
}

// sampleKeys are an RSA, a P-256 and an Ed25519 key as an issuer lists them.
func sampleKeys(t testing.TB) (rsaKey, ecKey, edKey map[string]any) {
	t.Helper()
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(issuertest.New(t, issuer.Options{}).JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	return set.Keys[0], set.Keys[1], set.Keys[2]
}

func parse(t testing.TB, keys ...any) (*keySet, error) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return parseKeySet(body)
}

func TestUnusableKeys_AreLeftOutWithAReason(t *testing.T) {
	r, ec, ed := sampleKeys(t)
	short := b64(new(big.Int).SetBit(big.NewInt(1), 1023, 1).Bytes())
	long := b64(new(big.Int).SetBit(big.NewInt(1), maxRSABits, 1).Bytes())
	even := b64(new(big.Int).SetBit(new(big.Int), 2047, 1).Bytes())
	for name, c := range map[string]struct {
		key    any
		reason string
	}{
		"symmetric":             {map[string]any{"kty": "oct", "k": "c2VjcmV0", "kid": "k"}, "symmetric"},
		"symmetric in disguise": {with(r, map[string]any{"k": "c2VjcmV0"}), "symmetric"},
		"private half":          {with(r, map[string]any{"d": "AQAB"}), "private"},
		"for encryption":        {with(r, map[string]any{"use": "enc"}), "use"},
		"key_ops":               {with(r, map[string]any{"key_ops": []string{"encrypt"}}), "key_ops"},
		"RSA of 1024 bits":      {with(r, map[string]any{"n": short}), "1024 bits"},
		"RSA too large":         {with(r, map[string]any{"n": long}), "bits"},
		"RSA even modulus":      {with(r, map[string]any{"n": even}), "out of range"},
		"RSA e=1":               {with(r, map[string]any{"e": "AQ"}), "out of range"},
		"RSA even e":            {with(r, map[string]any{"e": "BA"}), "out of range"},
		"RSA huge e":            {with(r, map[string]any{"e": "AQAAAAAAAAAB"}), "out of range"},
		"RSA without n":         {with(r, map[string]any{"n": nil}), "n is missing"},
		"RSA bad base64":        {with(r, map[string]any{"n": "a+b/"}), "base64url"},
		"RSA with alg of EC":    {with(r, map[string]any{"alg": "ES256"}), "alg"},
		"RSA with HS256":        {with(r, map[string]any{"alg": "HS256"}), "alg"},
		"RSA-OAEP":              {with(r, map[string]any{"alg": "RSA-OAEP"}), "alg"},
		"EC other curve":        {with(ec, map[string]any{"crv": "secp256k1"}), "curve"},
		"EC P-521":              {with(ec, map[string]any{"crv": "P-521"}), "curve"},
		"EC wrong alg":          {with(ec, map[string]any{"alg": "ES384"}), "alg"},
		"EC not on the curve":   {with(ec, map[string]any{"y": ec["x"]}), "point"},
		"EC short coordinate":   {with(ec, map[string]any{"x": "AAAA"}), "coordinates"},
		"EC infinity":           {with(ec, map[string]any{"x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))}), "point"},
		"OKP X25519":            {with(ed, map[string]any{"crv": "X25519"}), "curve"},
		"OKP short":             {with(ed, map[string]any{"x": "AAAA"}), "bytes"},
		"OKP wrong alg":         {with(ed, map[string]any{"alg": "ES256"}), "alg"},
		"unknown kty":           {map[string]any{"kty": "XYZ"}, "kty"},
		"not an object":         {"key", "not a JWK"},
		"kid a number":          {with(r, map[string]any{"kid": 7}), "not a JWK"},
		"kid endless":           {with(r, map[string]any{"kid": strings.Repeat("k", maxKeyID+1)}), "kid"},
	} {
		set, err := parse(t, c.key, ed)
		if name[:3] == "OKP" {
			set, err = parse(t, c.key, ec)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(set.keys) != 1 || len(set.refused) != 1 || !strings.Contains(set.refused[0], c.reason) {
			t.Errorf("%s: %d keys, refused %q; want one that says %q", name, len(set.keys), set.refused, c.reason)
		}
		if _, err := parse(t, c.key); err == nil {
			t.Errorf("%s: a set of that key alone is accepted", name)
		}
	}
}

func TestKeys_AreReadAndPinnedToOneAlgorithm(t *testing.T) {
	r, ec, ed := sampleKeys(t)
	set, err := parse(t, with(r, map[string]any{"alg": nil, "use": nil, "key_ops": []string{"verify", "sign"}}),
		with(ec, map[string]any{"alg": nil}), ed, with(r, map[string]any{"kid": "pss", "alg": "PS384"}))
	if err != nil || len(set.keys) != 4 || len(set.refused) != 0 {
		t.Fatalf("%d keys, refused %q, %v", len(set.keys), set.refused, err)
	}
	for kid, want := range map[string]string{r["kid"].(string): "", ec["kid"].(string): "ES256", ed["kid"].(string): "EdDSA", "pss": "PS384"} {
		if got := set.lookup(kid, true).algorithm; got != want {
			t.Errorf("algorithm of %s is %q, want %q", kid, got, want)
		}
	}
	if set.lookup("", false) != nil || set.lookup("", true) != nil || set.lookup("other", true) != nil {
		t.Error("a key is found that the token does not name")
	}
}

func TestAmbiguousKeys_AreNotUsed(t *testing.T) {
	r, ec, ed := sampleKeys(t)
	named := func(j map[string]any, kid any) map[string]any { return with(j, map[string]any{"kid": kid}) }

	set, err := parse(t, named(r, "a"), named(r, "a"), named(ed, "b"))
	if err != nil || len(set.keys) != 2 || set.lookup("a", true) == nil {
		t.Errorf("the same key twice: %d keys, %v; want 2", len(set.keys), err)
	}
	set, err = parse(t, named(r, "a"), named(ec, "a"), named(ed, "b"), named(r, "a"))
	if err != nil || len(set.keys) != 1 || set.lookup("a", true) != nil || set.lookup("b", true) == nil {
		t.Errorf("two keys of one kid: %d keys, %v; want the other alone", len(set.keys), err)
	}
	if _, err = parse(t, named(r, "a"), named(ec, "a")); err == nil {
		t.Error("a set of one ambiguous kid is accepted")
	}
	set, err = parse(t, named(r, nil), named(ed, "b"))
	if err != nil || len(set.keys) != 1 || set.lookup("x", true) != nil {
		t.Errorf("a key without kid beside another: %d keys, %v; want 1", len(set.keys), err)
	}
	set, err = parse(t, named(r, nil), map[string]any{"kty": "oct", "k": "AAAA"})
	if err != nil || set.lookup("", false) == nil || set.lookup("x", true) == nil {
		t.Errorf("a key without kid, alone: not found, %v", err)
	}
	set, err = parse(t, named(r, "a"))
	if err != nil || set.lookup("", false) == nil || set.lookup("x", true) != nil {
		t.Errorf("one key with a kid: %v", err)
	}
}

func TestKeySetsThatAreNone_AreErrors(t *testing.T) {
	r, _, _ := sampleKeys(t)
	many := make([]any, maxKeys+1)
	for i := range many {
		many[i] = r
	}
	if _, err := parse(t, many...); err == nil {
		t.Error("too many keys are accepted")
	}
	for _, body := range []string{``, `{}`, `{"keys":[]}`, `{"keys":null}`, `[]`, `<html>`, `{"keys":{}}`, `{"keys":[null]}`, `{"keys":[]}x`} {
		if set, err := parseKeySet([]byte(body)); err == nil {
			t.Errorf("parseKeySet(%s) gives %d keys", body, len(set.keys))
		}
	}
}

func FuzzKeySet(f *testing.F) {
	r, ec, ed := sampleKeys(f)
	for _, keys := range [][]any{{r}, {ec}, {ed}, {r, ec, ed}, {r, r}, {with(r, map[string]any{"kid": nil})}, {with(ec, map[string]any{"kid": r["kid"]}), r}} {
		body, err := json.Marshal(map[string]any{"keys": keys})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		set, err := parseKeySet(body)
		if err != nil {
			return
		}
		if len(set.keys) == 0 || len(set.keys) > maxKeys {
			t.Fatalf("%d keys", len(set.keys))
		}
		for _, key := range set.keys {
			if found := set.lookup(key.id, key.id != ""); found != key {
				t.Errorf("key %q is not the one that its id finds", key.id)
			}
			switch public := key.public.(type) {
			case *rsa.PublicKey:
				if public.N.BitLen() < minRSABits || public.E < 3 {
					t.Errorf("RSA key of %d bits, exponent %d", public.N.BitLen(), public.E)
				}
			case *ecdsa.PublicKey:
				if _, err := public.ECDH(); err != nil || key.algorithm == "" {
					t.Errorf("EC key: %v, algorithm %q", err, key.algorithm)
				}
			case ed25519.PublicKey:
				if len(public) != ed25519.PublicKeySize || key.algorithm != "EdDSA" {
					t.Errorf("Ed25519 key of %d bytes, algorithm %q", len(public), key.algorithm)
				}
			default:
				t.Errorf("key of type %T", public)
			}
		}
	})
}

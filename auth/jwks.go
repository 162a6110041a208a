package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync/atomic"
)

// Bounds of a key set. Auth0 lists two keys in 3 KB; the largest public sets
// have some dozens in 100 KB.
const (
	maxKeySetBytes = 512 << 10
	maxKeys        = 128
	maxKeyID       = 256 // bytes
	minRSABits     = 2048
	maxRSABits     = 8192 // a verification takes 16 times as long as with 2048
)

// publicKey is one key of a set. It keeps its identity over refreshes: as long
// as the issuer lists the same key under the same id, it is the same pointer, so
// that what was verified with it can ask whether it still holds.
type publicKey struct {
	id        string // kid; may be empty
	algorithm string // the one algorithm; empty: RSA, and the set does not say which
	public    any    // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	material  [sha256.Size]byte

	retired atomic.Bool // the issuer lists it no more
}

// keySet is an immutable set of usable keys.
type keySet struct {
	keys    []*publicKey
	byID    map[string]*publicKey
	sole    *publicKey // the only usable key, else nil
	refused []string   // why keys that were listed are not usable
}

// lookup finds the key that a token names. A token without kid, or a key without
// one, matches only when the set leaves no choice.
func (s *keySet) lookup(kid string, named bool) *publicKey {
	if !named {
		return s.sole
	}
	if k := s.byID[kid]; k != nil {
		return k
	}
	if s.sole != nil && s.sole.id == "" {
		return s.sole
	}
	return nil
}

// jwk is the part of RFC 7517 §4 and RFC 7518 §6 that counts here.
type jwk struct {
	KeyType   string   `json:"kty"`
	KeyID     string   `json:"kid"`
	Use       string   `json:"use"`
	KeyOps    []string `json:"key_ops"`
	Algorithm string   `json:"alg"`
	Curve     string   `json:"crv"`
	N         string   `json:"n"`
	E         string   `json:"e"`
	X         string   `json:"x"`
	Y         string   `json:"y"`

	// Private members: a key that is published with them is nobody's any more.
	D json.RawMessage `json:"d"`
	K json.RawMessage `json:"k"`
}

// parseKeySet reads a JWK set. Keys that cannot be used are left out with a
// reason (RFC 7517 §5 asks to ignore what is not understood); a set without one
// usable key is an error, for it would lock everybody out.
func parseKeySet(body []byte) (*keySet, error) {
	var listed struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &listed); err != nil {
		return nil, fmt.Errorf("not a JWK set: %w", err)
	}
	if len(listed.Keys) > maxKeys {
		return nil, fmt.Errorf("%d keys, more than %d", len(listed.Keys), maxKeys)
	}
	set := &keySet{byID: map[string]*publicKey{}}
	for i, raw := range listed.Keys {
		key, err := parseKey(raw)
		if err != nil {
			set.refused = append(set.refused, fmt.Sprintf("keys[%d]: %v", i, err))
			continue
		}
		set.keys = append(set.keys, key)
	}
	set.dropAmbiguous()
	if len(set.keys) == 0 {
		return nil, fmt.Errorf("no usable key among %d: %w", len(listed.Keys), errors.Join(asErrors(set.refused)...))
	}
	if len(set.keys) == 1 {
		set.sole = set.keys[0]
	}
	for _, key := range set.keys {
		if key.id != "" {
			set.byID[key.id] = key
		}
	}
	return set, nil
}

// dropAmbiguous keeps one of equal keys, and takes out what a token could not
// name: different keys of one id, and a key without id beside others.
func (s *keySet) dropAmbiguous() {
	kept := s.keys[:0:0]
	clash := map[string]bool{}
	for _, key := range s.keys {
		i := slices.IndexFunc(kept, func(k *publicKey) bool { return k.id == key.id })
		switch {
		case key.id == "" || i < 0:
			if !slices.ContainsFunc(kept, key.same) {
				kept = append(kept, key)
			}
		case !kept[i].same(key):
			clash[key.id] = true
		}
	}
	s.keys = kept[:0]
	for _, key := range kept {
		switch {
		case clash[key.id]:
			s.refused = append(s.refused, fmt.Sprintf("kid %q: several different keys", key.id))
		case key.id == "" && len(kept) > 1:
			s.refused = append(s.refused, "a key without kid beside others")
		default:
			s.keys = append(s.keys, key)
		}
	}
}

// same reports whether two keys are the same key under the same name.
func (k *publicKey) same(other *publicKey) bool {
	return k.id == other.id && k.algorithm == other.algorithm && k.material == other.material
}

func parseKey(raw json.RawMessage) (*publicKey, error) {
	var j jwk
	if err := json.Unmarshal(raw, &j); err != nil {
		return nil, fmt.Errorf("not a JWK: %w", err)
	}
	switch {
	case j.KeyType == "oct" || j.K != nil:
		return nil, errors.New("a symmetric key has no place in a public set")
	case j.D != nil:
		return nil, errors.New("published with its private half")
	case j.Use != "" && j.Use != "sig":
		return nil, fmt.Errorf("use is %q, not sig", j.Use)
	case j.KeyOps != nil && !slices.Contains(j.KeyOps, "verify"):
		return nil, errors.New("key_ops does not hold verify")
	case len(j.KeyID) > maxKeyID:
		return nil, fmt.Errorf("kid longer than %d bytes", maxKeyID)
	}
	key := &publicKey{id: j.KeyID}
	var err error
	switch j.KeyType {
	case "RSA":
		err = key.setRSA(j)
	case "EC":
		err = key.setEC(j)
	case "OKP":
		err = key.setOKP(j)
	default:
		err = fmt.Errorf("kty %q is not known", j.KeyType)
	}
	if err != nil {
		return nil, err
	}
	return key, nil
}

var rsaAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}

func (k *publicKey) setRSA(j jwk) error {
	if j.Algorithm != "" && !slices.Contains(rsaAlgorithms, j.Algorithm) {
		return fmt.Errorf("alg %q is not one of an RSA key", j.Algorithm)
	}
	n, err := decodeMember("n", j.N)
	if err != nil {
		return err
	}
	e, err := decodeMember("e", j.E)
	if err != nil {
		return err
	}
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	if bits := modulus.BitLen(); bits < minRSABits || bits > maxRSABits {
		return fmt.Errorf("an RSA key of %d bits; %d to %d are accepted", bits, minRSABits, maxRSABits)
	}
	// crypto/rsa takes odd exponents that fit into 31 bits.
	if exponent.BitLen() > 31 || exponent.Int64() < 3 || exponent.Bit(0) == 0 || modulus.Bit(0) == 0 {
		return errors.New("not an RSA key: modulus or exponent is out of range")
	}
	k.algorithm = j.Algorithm
	k.public = &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}
	k.material = digest("RSA", modulus.Bytes(), exponent.Bytes())
	return nil
}

func (k *publicKey) setEC(j jwk) error {
	var curve elliptic.Curve
	switch j.Curve {
	case "P-256":
		curve, k.algorithm = elliptic.P256(), "ES256"
	case "P-384":
		curve, k.algorithm = elliptic.P384(), "ES384"
	default:
		return fmt.Errorf("curve %q is not accepted, only P-256 and P-384", j.Curve)
	}
	if j.Algorithm != "" && j.Algorithm != k.algorithm {
		return fmt.Errorf("alg %q does not belong to curve %s", j.Algorithm, j.Curve)
	}
	x, err := decodeMember("x", j.X)
	if err != nil {
		return err
	}
	y, err := decodeMember("y", j.Y)
	if err != nil {
		return err
	}
	// RFC 7518 §6.2.1.2: the full size of a coordinate, leading zeros included.
	if size := (curve.Params().BitSize + 7) / 8; len(x) != size || len(y) != size {
		return fmt.Errorf("coordinates of %d and %d bytes, not %d", len(x), len(y), size)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	if err != nil {
		return fmt.Errorf("not a point of %s: %w", j.Curve, err)
	}
	k.public = public
	k.material = digest(j.Curve, x, y)
	return nil
}

func (k *publicKey) setOKP(j jwk) error {
	if j.Curve != "Ed25519" {
		return fmt.Errorf("curve %q is not accepted, only Ed25519", j.Curve)
	}
	if j.Algorithm != "" && j.Algorithm != "EdDSA" {
		return fmt.Errorf("alg %q does not belong to Ed25519", j.Algorithm)
	}
	x, err := decodeMember("x", j.X)
	if err != nil {
		return err
	}
	if len(x) != ed25519.PublicKeySize {
		return fmt.Errorf("an Ed25519 key of %d bytes, not %d", len(x), ed25519.PublicKeySize)
	}
	k.algorithm = "EdDSA"
	k.public = ed25519.PublicKey(x)
	k.material = digest("Ed25519", x)
	return nil
}

// decodeMember decodes base64url without padding (RFC 7515 §2).
func decodeMember(name, text string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%s is not base64url", name)
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("%s is missing", name)
	}
	return b, nil
}

func digest(kind string, parts ...[]byte) [sha256.Size]byte {
	return sha256.Sum256(append([]byte(kind+":"), bytes.Join(parts, []byte{':'})...))
}

func asErrors(texts []string) []error {
	errs := make([]error, len(texts))
	for i, text := range texts {
		errs[i] = errors.New(text)
	}
	return errs
}

package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
)

// Algorithms that an issuer signs with, in the order in which keys are made.
const (
	RS256 = "RS256" // RSA, 2048 bits
	ES256 = "ES256" // P-256
	EdDSA = "EdDSA" // Ed25519
)

// Key is a signing key with the id under which the key set lists it.
type Key struct {
	ID        string // RFC 7638 thumbprint, so that the same key always has the same id
	Algorithm string // RS256, ES256 or EdDSA
	Private   crypto.Signer

	jwk jwk
}

// jwk is the public half as RFC 7517 writes it.
type jwk struct {
	KeyType   string `json:"kty"`
	KeyID     string `json:"kid"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	Curve     string `json:"crv,omitempty"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
}

// Generate makes a private key for RS256, ES256 or EdDSA. An RSA key takes some
// tens of milliseconds; the others take none worth counting.
func Generate(algorithm string) (crypto.Signer, error) {
	switch algorithm {
	case RS256:
		return rsa.GenerateKey(rand.Reader, 2048)
	case ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	}
	return nil, fmt.Errorf("issuer: no such algorithm as %q: RS256, ES256 or EdDSA", algorithm)
}

// NewKey wraps an RSA, P-256 or Ed25519 private key.
func NewKey(private crypto.Signer) (Key, error) {
	k := Key{Private: private}
	switch public := private.Public().(type) {
	case *rsa.PublicKey:
		k.Algorithm = RS256
		k.jwk = jwk{KeyType: "RSA", N: encode(public.N.Bytes()), E: encode(big.NewInt(int64(public.E)).Bytes())}
	case *ecdsa.PublicKey:
		if public.Curve != elliptic.P256() {
			return Key{}, fmt.Errorf("issuer: curve %s is not signed with, only P-256", public.Curve.Params().Name)
		}
		point, err := public.Bytes() // 0x04, X, Y
		if err != nil {
			return Key{}, fmt.Errorf("issuer: encode key: %w", err)
		}
		k.Algorithm = ES256
		k.jwk = jwk{KeyType: "EC", Curve: "P-256", X: encode(point[1:33]), Y: encode(point[33:])}
	case ed25519.PublicKey:
		k.Algorithm = EdDSA
		k.jwk = jwk{KeyType: "OKP", Curve: "Ed25519", X: encode(public)}
	default:
		return Key{}, fmt.Errorf("issuer: cannot sign with a key of type %T", public)
	}
	k.ID = thumbprint(k.jwk)
	k.jwk.KeyID, k.jwk.Use, k.jwk.Algorithm = k.ID, "sig", k.Algorithm
	return k, nil
}

// thumbprint hashes the required members in lexicographic order (RFC 7638 §3.2).
func thumbprint(k jwk) string {
	var members any
	switch k.KeyType {
	case "RSA":
		members = struct {
			E       string `json:"e"`
			KeyType string `json:"kty"`
			N       string `json:"n"`
		}{k.E, k.KeyType, k.N}
	case "EC":
		members = struct {
			Curve   string `json:"crv"`
			KeyType string `json:"kty"`
			X       string `json:"x"`
			Y       string `json:"y"`
		}{k.Curve, k.KeyType, k.X, k.Y}
	default:
		members = struct {
			Curve   string `json:"crv"`
			KeyType string `json:"kty"`
			X       string `json:"x"`
		}{k.Curve, k.KeyType, k.X}
	}
	text, err := json.Marshal(members)
	if err != nil {
		panic("BUG: strings do not marshal: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return encode(sum[:])
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

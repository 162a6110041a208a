package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"hash/crc32"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sluice/internal/netset"
	"sluice/internal/shardmap"
)

// The form of an API key, such as slc_live_7Hk2…: the configured prefix, _live_,
// 12 characters that name the key and are no secret, 32 that are (190 random
// bits), and 6 of a checksum by which a mistyped or a made-up key is told from a
// revoked one without looking it up, and a secret scanner knows a true one.
const (
	keyEnvironment = "_live_"
	keyIDLen       = 12
	keySecretLen   = 32
	keySumLen      = 6
	keyAlphabet    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// KeyHash is what is kept of a key: SHA-256 of its text. A key has 190 random bits,
// so that nobody can guess what hashes to it however fast they are; a slow hash
// would only slow the gateway.
type KeyHash [sha256.Size]byte

// HashKey returns the hash of a key's text.
func HashKey(text string) KeyHash {
	var room [maxKey]byte
	return sha256.Sum256(append(room[:0], text...)) // without an allocation for what can be a key
}

// maxKey is the length of the longest key, whose prefix has 16 bytes.
const maxKey = 16 + len(keyEnvironment) + keyIDLen + keySecretLen + keySumLen

// NewKeyID makes the name of a new key.
func NewKeyID() string { return randomText(keyIDLen) }

// NewKey makes the text of a key of that name.
func NewKey(prefix, id string) string {
	body := prefix + keyEnvironment + id + randomText(keySecretLen)
	sum := keySum(body)
	return body + string(sum[:])
}

// randomText is n characters of the alphabet, each as likely as the others.
func randomText(n int) string {
	out := make([]byte, 0, n)
	var pool [64]byte
	for {
		rand.Read(pool[:]) // never fails: the process ends instead
		for _, b := range pool {
			if b >= 4*62 { // 256 is no multiple of 62: what is above would favour some
				continue
			}
			if out = append(out, keyAlphabet[b%62]); len(out) == n {
				return string(out)
			}
		}
	}
}

// keySum is the checksum of what is before it.
func keySum(body string) (out [keySumLen]byte) {
	n := ^uint32(0)
	for i := range len(body) { // crc32.ChecksumIEEE would have the text copied to the heap
		n = crc32.IEEETable[byte(n)^body[i]] ^ n>>8
	}
	n = ^n
	for i := range out {
		out[len(out)-1-i] = keyAlphabet[n%62]
		n /= 62
	}
	return out
}

// ParseKey returns the name within the text of a key, "" when it is none with this
// prefix.
func ParseKey(prefix, text string) (id string) {
	head := len(prefix) + len(keyEnvironment)
	if len(text) != head+keyIDLen+keySecretLen+keySumLen || text[:len(prefix)] != prefix || text[len(prefix):head] != keyEnvironment {
		return ""
	}
	for i := head; i < len(text); i++ {
		if c := text[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return ""
		}
	}
	body := text[:len(text)-keySumLen]
	if sum := keySum(body); string(sum[:]) != text[len(body):] {
		return ""
	}
	return text[head : head+keyIDLen]
}

// Key is what is known of one API key. It is immutable but for the time of its
// last use.
type Key struct {
	ID            string
	Hash          KeyHash
	Previous      KeyHash   // the one before the last rotation
	PreviousUntil time.Time // it is accepted before this
	Expires       time.Time // zero: never
	Routes        []string  // names or paths of routes; nil: all
	Networks      []netip.Prefix
	Identity      Identity

	networks netset.Set
	used     *atomic.Int64 // Unix seconds, to the minute
}

// AllowsRoute reports whether the key may use a route of that name or path.
func (k *Key) AllowsRoute(name, path string) bool {
	return k.Routes == nil || slices.Contains(k.Routes, name) || slices.Contains(k.Routes, path)
}

// Used is when the key was used last in this process, to the minute; zero: not
// yet.
func (k *Key) Used() time.Time {
	if s := k.used.Load(); s != 0 {
		return time.Unix(s, 0).UTC()
	}
	return time.Time{}
}

// usedEvery is how exactly the time of the last use is known: a key in use on
// every core must not be written to by all of them all the time.
const usedEvery = 60

func (k *Key) touch(now time.Time) {
	if s := now.Unix(); s-k.used.Load() >= usedEvery {
		k.used.Store(s)
	}
}

// Keyring holds the API keys. It is immutable and safe for concurrent use; the
// zero Keyring is empty.
type Keyring struct{ keys shardmap.Map[*Key] }

// With returns a keyring with these keys added or replaced, and without those
// named in gone. The keys belong to it from here on.
func (r *Keyring) With(set map[string]*Key, gone ...string) Keyring {
	for id, k := range set {
		k.networks = netset.New(k.Networks)
		if was, ok := r.keys.Get(id); ok {
			k.used = was.used
		} else if k.used == nil {
			k.used = new(atomic.Int64)
		}
	}
	return Keyring{r.keys.With(set, gone...)}
}

// Without returns a keyring without the keys of these names.
func (r *Keyring) Without(drop func(id string) bool) Keyring {
	var gone []string
	for id := range r.keys.All() {
		if drop(id) {
			gone = append(gone, id)
		}
	}
	return r.With(nil, gone...)
}

// Len returns the number of keys.
func (r *Keyring) Len() int { return r.keys.Len() }

// Used returns when each key that was used in this process was used last.
func (r *Keyring) Used() map[string]time.Time {
	used := make(map[string]time.Time)
	for id, k := range r.keys.All() {
		if at := k.Used(); !at.IsZero() {
			used[id] = at
		}
	}
	return used
}

// unknown is compared with when there is no key of a name, so that the answer
// takes as long as with one.
var unknown = new(Key)

// Verify returns the key whose text this is, when it may be used from that address
// now. Errors are *Error.
func (r *Keyring) Verify(prefix, text string, from netip.Addr, now time.Time) (*Key, error) {
	id := ParseKey(prefix, text)
	if id == "" {
		return nil, refuse(ReasonMalformed, "The API key is mistyped", nil)
	}
	k, known := r.keys.Get(id)
	if !known {
		k = unknown
	}
	given := HashKey(text)
	current := subtle.ConstantTimeCompare(given[:], k.Hash[:])
	previous := subtle.ConstantTimeCompare(given[:], k.Previous[:])
	if !now.Before(k.PreviousUntil) {
		previous = 0
	}
	switch {
	case !known || current|previous == 0:
		return nil, refuse(ReasonUnknownAPIKey, "The API key is not known, or no longer", nil)
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return nil, refuse(ReasonExpired, "The API key has expired", nil)
	case !k.networks.Empty() && !k.networks.Contains(from):
		return nil, &Error{Code: CodeInsufficientScope, Description: "The API key may not be used from this address", Reason: ReasonAddress}
	}
	k.touch(now)
	return k, nil
}

// Credential is what a request brings along to prove who sent it.
type Credential struct {
	Text string // "": nothing
	Key  bool   // it is an API key, not a token
}

// FindCredential takes the one credential out of a request's header: a bearer
// token, or an API key in Authorization or in the header that is for keys. prefix
// is "" when no keys are accepted. Two are an error, as there is no rule which
// one counts.
func FindCredential(h http.Header, header, prefix string) (Credential, error) {
	token, present, err := BearerToken(h)
	if err != nil {
		return Credential{}, err
	}
	c := Credential{Text: token}
	if prefix == "" {
		return c, nil
	}
	if len(token) > len(prefix) && token[len(prefix)] == '_' && strings.HasPrefix(token, prefix) {
		c.Key = true
	}
	values := h[header]
	switch {
	case len(values) == 0:
		return c, nil
	case present || len(values) > 1:
		return Credential{}, &Error{Code: CodeInvalidRequest, Description: "More than one credential", Reason: ReasonManyCredentials}
	}
	return Credential{strings.Trim(values[0], " "), true}, nil
}

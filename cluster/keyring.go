package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/hashicorp/memberlist"
)

// maxKeys is how many keys a node accepts at once: the one in use, the next, and
// one that an interrupted change left over.
const maxKeys = 3

// keyring holds the keys of gossip. The first one encrypts, all of them decrypt.
type keyring struct {
	mu   sync.Mutex
	ring *memberlist.Keyring
}

func newKeyring(keys [][]byte) (*keyring, error) {
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, fmt.Errorf("%d keys; 1 to %d are possible", len(keys), maxKeys)
	}
	ring, err := memberlist.NewKeyring(keys, keys[0])
	return &keyring{ring: ring}, err
}

// Fingerprint names a key without telling it: the first 8 bytes of a hash, in
// hexadecimal.
func Fingerprint(key []byte) string {
	h := sha256.Sum256(append([]byte("sluice gossip key\x00"), key...))
	return hex.EncodeToString(h[:fingerprintSize])
}

const fingerprintSize = 8

// fingerprints lists the keys, the one that encrypts first.
func (k *keyring) fingerprints() []string {
	var all []string
	for _, key := range k.ring.GetKeys() {
		all = append(all, Fingerprint(key))
	}
	return all
}

func (k *keyring) add(key []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.find(Fingerprint(key)) == nil && len(k.ring.GetKeys()) >= maxKeys {
		return fmt.Errorf("the node has %d keys already: remove one", maxKeys)
	}
	return k.ring.AddKey(key)
}

func (k *keyring) find(fingerprint string) []byte {
	for _, key := range k.ring.GetKeys() {
		if Fingerprint(key) == fingerprint {
			return key
		}
	}
	return nil
}

func (k *keyring) use(fingerprint string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := k.find(fingerprint)
	if key == nil {
		return ErrUnknownKey
	}
	return k.ring.UseKey(key)
}

// remove takes a key away. The library's RemoveKey moves the keys behind it
// within a slice that others are reading, so those are taken off first, from the
// end, and put back: for some microseconds packets under them are lost.
func (k *keyring) remove(fingerprint string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := k.ring.GetKeys()
	at := -1
	for i, key := range keys {
		if Fingerprint(key) == fingerprint {
			at = i
		}
	}
	switch at {
	case -1:
		return nil // removed already
	case 0:
		return ErrKeyInUse
	}
	for i := len(keys) - 1; i >= at; i-- {
		if err := k.ring.RemoveKey(keys[i]); err != nil {
			return err
		}
	}
	for _, key := range keys[at+1:] {
		if err := k.ring.AddKey(key); err != nil {
			return err
		}
	}
	return nil
}

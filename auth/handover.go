package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// handoverVersion is of the format; a successor ignores one that it does not know.
const handoverVersion = 1

// maxHandover bounds what Import reads, in bytes.
const maxHandover = 16 << 20

// keySetRecord is a key set as the issuer gave it, and when.
type keySetRecord struct {
	URL     string        `json:"url"`
	Fetched time.Time     `json:"fetched"`
	MaxAge  time.Duration `json:"max_age"` // nanoseconds
	Body    []byte        `json:"body"`
}

type handover struct {
	Version int            `json:"version"`
	KeySets []keySetRecord `json:"key_sets"`
}

// Export returns the keys of every set in use for a successor process, which
// then verifies its first token without asking an issuer. They are public keys,
// but whoever can change them on the way can sign: use a private channel.
func (ks *KeyStore) Export() []byte {
	h := handover{Version: handoverVersion}
	for _, s := range *ks.live.Load() {
		s.mu.Lock()
		if s.used && s.record.Body != nil {
			h.KeySets = append(h.KeySets, s.record)
		}
		s.mu.Unlock()
	}
	text, err := json.Marshal(h)
	if err != nil {
		panic("BUG: a handover does not marshal: " + err.Error())
	}
	return text
}

// Import takes in what a predecessor exported. Call it before the first Use,
// which adopts the sets that it names; they are refreshed when they would have
// been. An error means that nothing was taken in, and does no harm: the keys are
// then fetched.
func (ks *KeyStore) Import(data []byte) error {
	if len(data) > maxHandover {
		return errors.New("auth: import keys: too large")
	}
	var h handover
	if err := json.Unmarshal(data, &h); err != nil {
		return fmt.Errorf("auth: import keys: %w", err)
	}
	if h.Version != handoverVersion {
		return fmt.Errorf("auth: import keys: version %d is not known", h.Version)
	}
	now := ks.opts.Now()
	for _, record := range h.KeySets {
		if _, err := parseKeySet(record.Body); err != nil {
			return fmt.Errorf("auth: import keys of %q: %w", record.URL, err)
		}
		if record.Fetched.After(now) || record.MaxAge < 0 {
			return fmt.Errorf("auth: import keys of %q: from the future", record.URL)
		}
	}
	ks.mu.Lock()
	defer ks.mu.Unlock()
	for _, record := range h.KeySets {
		ks.imported[record.URL] = record
	}
	return nil
}

// adopt starts a new source, which nobody else knows yet, with handed-over keys.
func (s *source) adopt(record keySetRecord) {
	set, err := parseKeySet(record.Body)
	if err != nil {
		return // Import has looked
	}
	s.record = record
	s.install(set)
	close(s.tried)
	s.due = record.Fetched.Add(s.interval(record.MaxAge))
}

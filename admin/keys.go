package admin

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sluice/auth"
	"sluice/conf"
	"sluice/store"
)

// Key is an API key as the API shows it.
type Key struct {
	store.Key
	LastUsed time.Time `json:"last_used,omitzero"`
	Text     string    `json:"key,omitempty"` // only in the answer to who makes or rotates it
}

func keyOf(o store.Object) (Key, error) {
	k, err := store.ParseKey(o)
	k.Hash = nil
	if k.Rotated != nil {
		if k.Rotated.Hash = nil; !k.Rotated.Until.After(time.Now()) {
			k.Rotated = nil
		}
	}
	return Key{Key: k}, err
}

// keyRoutes are the API keys.
func (s *Server) keyRoutes() {
	s.viewer("GET /api/v1/keys", s.listKeys)
	s.admin("POST /api/v1/keys", s.createKey)
	s.viewer("GET /api/v1/keys/{id}", s.getKey)
	s.admin("PATCH /api/v1/keys/{id}", s.patchKey)
	s.admin("POST /api/v1/keys/{id}/rotate", s.rotateKey)
	s.admin("DELETE /api/v1/keys/{id}", s.revokeKey)
}

func (s *Server) listKeys(c *call) error {
	tenant, q := c.query("tenant"), strings.ToLower(c.query("q"))
	page, err := objects(c, store.KindKey, func(o store.Object) (Key, bool, error) {
		k, err := keyOf(o)
		if err != nil || tenant != "" && k.Tenant != tenant || q != "" && !strings.Contains(strings.ToLower(k.ID+"\n"+k.Name), q) {
			return k, false, err
		}
		return k, true, nil
	})
	if err != nil {
		return err
	}
	ids := make([]string, len(page.Items))
	for i := range page.Items {
		ids[i] = page.Items[i].ID
	}
	if used, err := s.deps.Policies.Used(c.r.Context(), ids); err == nil { // else they are listed without
		for i := range page.Items {
			page.Items[i].LastUsed = used[page.Items[i].ID]
		}
	}
	return c.ok(page)
}

func (s *Server) getKey(c *call) error {
	o, err := c.get(store.KindKey, c.path("id"))
	if err != nil {
		return err
	}
	return c.key(http.StatusOK, o, "")
}

// key answers with one.
func (c *call) key(status int, o store.Object, text string) error {
	k, err := keyOf(o)
	if err != nil {
		return err
	}
	if used, err := c.s.deps.Policies.Used(c.r.Context(), []string{k.ID}); err == nil {
		k.LastUsed = used[k.ID]
	}
	k.Text = text
	c.etag(o.Revision)
	return c.answer(status, k)
}

// keyBody is what is said of a key by who makes or changes it.
type keyBody struct {
	Name        *string         `json:"name"`
	Tenant      string          `json:"tenant"`
	Permissions *[]string       `json:"permissions"`
	Routes      *[]string       `json:"routes"`
	Addresses   *[]netip.Prefix `json:"addresses"`
	Limit       *store.Limit    `json:"limit"`
	Expires     *time.Time      `json:"expires"`
	For         string          `json:"for"`
	Notes       *string         `json:"notes"`
}

// maxKeyLife is how long a key with an end lasts at most.
const maxKeyLife = 10 * 366 * 24 * time.Hour

// apply writes what the body says into k.
func (b *keyBody) apply(k *store.Key) []Fault {
	var faults []Fault
	if b.Name != nil {
		k.Name = *b.Name
	}
	if b.Notes != nil {
		k.Notes = *b.Notes
	}
	if b.Permissions != nil {
		k.Permissions = *b.Permissions
	}
	if b.Routes != nil {
		k.Routes = *b.Routes
		if len(k.Routes) == 0 {
			k.Routes = nil
		}
	}
	if b.Addresses != nil {
		k.Addresses = nil
		for i, p := range *b.Addresses {
			if p != p.Masked() {
				faults = append(faults, Fault{Pointer: fmt.Sprintf("#/addresses/%d", i), Detail: fmt.Sprintf("Write %s: the address has bits behind its length.", p.Masked())})
			}
			k.Addresses = append(k.Addresses, p)
		}
	}
	if b.Limit != nil {
		k.Limit = b.Limit
		faults = limitFault(faults, "#/limit", b.Limit)
	}
	if b.Expires != nil || b.For != "" {
		until, wrong := ends(b.For, b.Expires, maxKeyLife)
		k.Expires = until
		for _, f := range wrong {
			f.Pointer = strings.Replace(f.Pointer, "until", "expires", 1)
			faults = append(faults, f)
		}
	}
	return faults
}

func (s *Server) createKey(c *call) error {
	var body keyBody
	c.about(store.KindKey, "")
	if err := c.decode(&body); err != nil {
		return err
	}
	prefix := s.deps.Policies.KeyPrefix()
	if prefix == "" {
		return conflict("The gateway accepts no API keys: write api_keys: {} into auth of the configuration first.")
	}
	k := store.Key{Tenant: body.Tenant, CreatedAt: time.Now().UTC().Truncate(time.Second), CreatedBy: c.by.Name}
	faults := body.apply(&k)
	if !auth.ValidTenant(k.Tenant) {
		faults = append(faults, Fault{Pointer: "#/tenant", Detail: "Is not 1 to 128 visible ASCII characters without quotes, commas, semicolons and brackets."})
	}
	if len(faults) > 0 {
		return invalid(faults...)
	}
	id := auth.NewKeyID()
	if once := c.r.Header.Get("Idempotency-Key"); once != "" {
		// The same call again names the same key, which is there already.
		id = nameOnce(c.by.Name, once)
	}
	text := auth.NewKey(prefix, id)
	hash := auth.HashKey(text)
	k.Hash = hash[:]
	o, err := c.put(store.KindKey, id, store.NoRevision, http.StatusCreated, &k)
	if refused, ok := err.(*Refusal); ok && refused.Status == http.StatusPreconditionFailed { //nolint:errorlint // it is made by put
		return conflict(fmt.Sprintf("A call with this Idempotency-Key has made the key %s. Its text was shown then and is kept nowhere; rotate the key for another one.", id))
	}
	if err != nil {
		return err
	}
	return c.key(http.StatusCreated, o, text)
}

// nameOnce is the id of the key that an operator makes with an Idempotency-Key.
func nameOnce(operator, once string) string {
	sum := sha256.Sum256([]byte(operator + "\x00" + once))
	text := strings.NewReplacer("-", "a", "_", "b").Replace(base64.RawURLEncoding.EncodeToString(sum[:]))
	return text[:len(auth.NewKeyID())]
}

// amendKey reads a key, has it changed and writes it.
func (c *call) amendKey(change func(*store.Key) error) (store.Object, error) {
	id := c.path("id")
	match, err := c.amending()
	if err != nil {
		return store.Object{}, err
	}
	c.about(store.KindKey, id)
	o, err := c.get(store.KindKey, id)
	if err != nil {
		return o, err
	}
	k, err := store.ParseKey(o)
	if err != nil {
		return o, err
	}
	if match == anyRevision {
		match = o.Revision // two rotations at once must not both believe that their text is the one
	}
	if err := change(&k); err != nil {
		return o, err
	}
	k.ID, k.Revision, k.UpdatedAt, k.UpdatedBy = "", 0, time.Time{}, ""
	return c.put(store.KindKey, id, match, http.StatusOK, &k)
}

func (s *Server) patchKey(c *call) error {
	var body keyBody
	c.about(store.KindKey, c.path("id"))
	if err := c.decode(&body); err != nil {
		return err
	}
	o, err := c.amendKey(func(k *store.Key) error {
		if faults := body.apply(k); len(faults) > 0 {
			return invalid(faults...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.key(http.StatusOK, o, "")
}

// maxOverlap is how long the text before a rotation is accepted at most.
const maxOverlap = 30 * 24 * time.Hour

func (s *Server) rotateKey(c *call) error {
	var body struct{ Overlap, Reason string }
	if err := c.decode(&body); err != nil {
		return err
	}
	c.entry.Reason = body.Reason
	overlap, err := conf.ParseDuration(body.Overlap)
	if body.Overlap == "" {
		overlap, err = 0, nil
	}
	if err != nil || overlap < 0 || overlap.Std() > maxOverlap {
		return invalid(Fault{Pointer: "#/overlap", Detail: "Write a duration of at most 30d, such as 24h; 0s ends the old text at once."})
	}
	prefix := s.deps.Policies.KeyPrefix()
	if prefix == "" {
		return conflict("The gateway accepts no API keys: write api_keys: {} into auth of the configuration first.")
	}
	var text string
	o, err := c.amendKey(func(k *store.Key) error {
		text = auth.NewKey(prefix, c.path("id"))
		hash := auth.HashKey(text)
		k.Rotated = nil
		if overlap > 0 {
			k.Rotated = &store.Rotated{Hash: slices.Clone(k.Hash), Until: time.Now().Add(overlap.Std()).UTC().Truncate(time.Second)}
		}
		k.Hash = hash[:]
		return nil
	})
	if err != nil {
		return err
	}
	return c.key(http.StatusOK, o, text)
}

func (s *Server) revokeKey(c *call) error {
	match, err := c.amending()
	if err != nil {
		return err
	}
	c.entry.Reason = c.query("reason")
	if err := c.remove(store.KindKey, c.path("id"), match); err != nil {
		return err
	}
	return c.nothing()
}

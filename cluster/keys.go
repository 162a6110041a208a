package cluster

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"sluice/conf"
)

// Keys are changed in three steps, each of which reaches every member before the
// next begins: install the new one, use it, remove the old one.

// KeyStatus is what one member answered about its keys.
type KeyStatus struct {
	Name    string
	ID      NodeID
	Primary string   // fingerprint of the key it encrypts with
	Keys    []string // fingerprints of all that it accepts, the primary first
	Err     error    // it did not answer, or refused
}

type keyOp byte

const (
	keyList keyOp = iota
	keyInstall
	keyUse
	keyRemove
)

// keyTimeout bounds one step when the context has no deadline.
const keyTimeout = 10 * time.Second

// Keys asks every member which keys it has. The answers are sorted by name, this
// node's among them.
func (n *Node) Keys(ctx context.Context) []KeyStatus { return n.askKeys(ctx, keyList, nil) }

// InstallKey gives every member a further key to accept: 16, 24 or 32 bytes in
// base64. It is not used yet. The error joins those of members.
func (n *Node) InstallKey(ctx context.Context, secret conf.Secret) ([]KeyStatus, error) {
	key, err := decodeKey(secret)
	if err != nil {
		return nil, err
	}
	return joinErrors(n.askKeys(ctx, keyInstall, key))
}

// UseKey has every member encrypt with an installed key. It is refused with
// ErrKeyMissing while a member does not have it, or does not answer. Write the
// key into every node's configuration next, before the old one is removed: a
// restart reads it from there.
func (n *Node) UseKey(ctx context.Context, fingerprint string) ([]KeyStatus, error) {
	arg, err := parseFingerprint(fingerprint)
	if err != nil {
		return nil, err
	}
	all := n.Keys(ctx)
	for _, s := range all {
		if s.Err != nil || !slices.Contains(s.Keys, fingerprint) {
			return all, fmt.Errorf("%w: %s", ErrKeyMissing, s.Name)
		}
	}
	return joinErrors(n.askKeys(ctx, keyUse, arg))
}

// RemoveKey has every member forget a key. It is refused with ErrKeyInUse while
// a member encrypts with it, or does not answer.
func (n *Node) RemoveKey(ctx context.Context, fingerprint string) ([]KeyStatus, error) {
	arg, err := parseFingerprint(fingerprint)
	if err != nil {
		return nil, err
	}
	all := n.Keys(ctx)
	for _, s := range all {
		if s.Err != nil || s.Primary == fingerprint {
			return all, fmt.Errorf("%w: %s", ErrKeyInUse, s.Name)
		}
	}
	return joinErrors(n.askKeys(ctx, keyRemove, arg))
}

func parseFingerprint(text string) ([]byte, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != fingerprintSize {
		return nil, ErrUnknownKey
	}
	return b, nil
}

func joinErrors(all []KeyStatus) ([]KeyStatus, error) {
	var errs []error
	for _, s := range all {
		if s.Err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.Name, s.Err))
		}
	}
	return all, errors.Join(errs...)
}

// keyAsks are questions whose answers are awaited.
type keyAsks struct {
	mu   sync.Mutex
	open map[uint64]keyAsk
}

type keyAsk struct {
	of     NodeID
	answer chan KeyStatus
}

// askKeys does op here and on every member, and collects the answers.
func (n *Node) askKeys(ctx context.Context, op keyOp, arg []byte) []KeyStatus {
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	own := KeyStatus{Name: n.id.name, ID: n.self, Err: n.doKeys(op, arg)}
	own.Keys = n.keyring.fingerprints()
	own.Primary = own.Keys[0]
	all := []KeyStatus{own}

	var mu sync.Mutex
	var wait sync.WaitGroup
	for _, p := range n.roster.others() {
		wait.Go(func() {
			s := n.askKey(ctx, p, op, arg)
			mu.Lock()
			all = append(all, s)
			mu.Unlock()
		})
	}
	wait.Wait()
	slices.SortFunc(all, func(a, b KeyStatus) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}

func (n *Node) askKey(ctx context.Context, p *peer, op keyOp, arg []byte) KeyStatus {
	failed := KeyStatus{Name: p.node.Load().Name, ID: p.id}
	id := rand.Uint64()
	ask := keyAsk{p.id, make(chan KeyStatus, 1)}
	k := &n.keyAsks
	k.mu.Lock()
	if k.open == nil {
		k.open = map[uint64]keyAsk{}
	}
	k.open[id] = ask
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		delete(k.open, id)
		k.mu.Unlock()
	}()
	b := append([]byte{byte(op)}, binary.LittleEndian.AppendUint64(nil, id)...)
	if failed.Err = n.send(p.id, frame{kind: kindKeyAsk}, append(b, arg...), true); failed.Err != nil {
		return failed
	}
	select {
	case s := <-ask.answer:
		s.Name = failed.Name
		return s
	case <-ctx.Done():
		failed.Err = ctx.Err()
	case <-n.stop:
		failed.Err = ErrNotRunning
	}
	return failed
}

func (n *Node) doKeys(op keyOp, arg []byte) error {
	var err error
	switch op {
	case keyList:
		return nil
	case keyInstall:
		if err = memberlist.ValidateKey(arg); err == nil {
			err = n.keyring.add(slices.Clone(arg))
		}
	case keyUse:
		err = n.keyring.use(hex.EncodeToString(arg))
	case keyRemove:
		err = n.keyring.remove(hex.EncodeToString(arg))
	default:
		err = errors.New("unknown operation: the asking node is newer")
	}
	what := [...]string{keyInstall: "installed", keyUse: "in use", keyRemove: "removed"}
	if err == nil {
		fp := hex.EncodeToString(arg)
		if op == keyInstall {
			fp = Fingerprint(arg)
		}
		n.log.Warn("gossip key "+what[op], "fingerprint", fp)
	}
	return err
}

// answerKeys does what a peer asks. Whoever has the key of the cluster may ask.
//
//	ask:    operation, id (8), key or fingerprint
//	answer: id (8), error text, count, fingerprints (8 each), the primary first
func (n *Node) answerKeys(p *peer, b []byte) {
	r := reader{b: b}
	op, id := keyOp(r.byte()), r.uint64()
	if r.bad {
		n.drop(dropMalformed)
		return
	}
	text := ""
	if err := n.doKeys(op, r.b); err != nil {
		text = err.Error()
	}
	text = text[:min(len(text), 255)]
	out := binary.LittleEndian.AppendUint64(nil, id)
	out = append(out, byte(len(text)))
	out = append(out, text...)
	fps := n.keyring.fingerprints()
	out = append(out, byte(len(fps)))
	for _, fp := range fps {
		raw, _ := hex.DecodeString(fp)
		out = append(out, raw...)
	}
	n.send(p.id, frame{kind: kindKeyAnswer}, out, true) // the asker times out
}

func parseKeyAnswer(b []byte) (id uint64, s KeyStatus, ok bool) {
	r := reader{b: b}
	id = r.uint64()
	if text := r.text(); text != "" {
		s.Err = errors.New(text)
	}
	for range r.byte() {
		if fp := r.bytes(fingerprintSize); fp != nil {
			s.Keys = append(s.Keys, hex.EncodeToString(fp))
		}
	}
	if r.bad || len(r.b) > 0 || len(s.Keys) == 0 {
		return 0, KeyStatus{}, false
	}
	s.Primary = s.Keys[0]
	return id, s, true
}

func (k *keyAsks) answered(p *peer, b []byte) {
	id, s, ok := parseKeyAnswer(b)
	if !ok {
		p.n.drop(dropMalformed)
		return
	}
	s.ID = p.id
	k.mu.Lock()
	ask, known := k.open[id]
	k.mu.Unlock()
	if !known || ask.of != p.id {
		return // came too late
	}
	select {
	case ask.answer <- s:
	default:
	}
}

package limiter

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"sluice/limiter/lease"
)

// Holdings is who has what of one key's rights, for people.
type Holdings struct {
	Authority string `json:"authority"` // local, redis, home, none
	// Home and Standby keep the books while Redis does not; 0 otherwise.
	Home    uint64 `json:"home,omitempty"`
	Standby uint64 `json:"standby,omitempty"`
	// Known says whether there are books of the key, and they could be read from here:
	// at the home and the standby, or when Redis keeps them. The fields below are zero
	// otherwise.
	Known bool  `json:"known"`
	Limit int64 `json:"limit"`
	// Used is what is used inside the window and has been reported, Held the sum of what
	// nodes hold, unreported uses among it. Limit - Used - Held is nobody's.
	Used  int64     `json:"used"`
	Held  int64     `json:"held"`
	Nodes []Holding `json:"nodes"`
}

// Holding is one replica's part.
type Holding struct {
	Replica   uint64 `json:"replica"`
	Held      int64  `json:"held"`      // may still be spent, or was spent and not reported yet
	Used      int64  `json:"used"`      // reported since the replica began
	Reclaimed bool   `json:"reclaimed"` // the replica is dead, and has lost what it held
}

// ErrNotRunning says that the limiter's Run has ended, or has not begun.
var ErrNotRunning = errors.New("limiter: not running")

// Holdings returns who has what of k's rights across the cluster. It asks Redis,
// or reads the books kept at this node; ctx bounds the wait.
func (l *Limiter) Holdings(ctx context.Context, k Key) (Holdings, error) {
	if l.fleet == nil {
		return Holdings{Authority: "local"}, nil
	}
	f := l.fleet
	answer := make(chan Holdings, 1)
	ask := func(n *lease.Node) {
		d := n.Describe(f.now(), lease.Key(k))
		h := Holdings{Authority: n.Authority(), Home: uint64(d.Home), Standby: uint64(d.Standby)}
		h.take(d.Books)
		answer <- h
	}
	select {
	case f.look <- ask:
	case <-ctx.Done():
		return Holdings{}, errors.Join(ErrNotRunning, ctx.Err())
	}
	h := <-answer
	if h.Authority == "redis" {
		books, err := f.redis.Inspect(ctx, lease.Key(k))
		if err != nil {
			return h, err
		}
		h.take(books)
	}
	return h, nil
}

// take fills in what the books say.
func (h *Holdings) take(b *lease.Books) {
	h.Nodes = []Holding{}
	if b == nil {
		return
	}
	h.Known, h.Limit, h.Used, h.Held = true, b.Rights, b.Used, b.Held
	for _, r := range b.Rows {
		h.Nodes = append(h.Nodes, Holding{Replica: uint64(r.Replica), Held: r.Row.Held(), Used: r.Row.Settled, Reclaimed: r.Gone})
	}
	slices.SortFunc(h.Nodes, func(a, b Holding) int { return cmp.Compare(a.Replica, b.Replica) })
}

package limiter

import (
	"context"
	"errors"
	"slices"

	"sluice/limiter/core"
	"sluice/limiter/lease"
)

// Holdings is who has what of one key's rights, for people.
type Holdings struct {
	Authority string `json:"authority"` // local, redis, home, none
	// Home and Standby keep the books while Redis does not; 0 otherwise.
	Home    uint64 `json:"home,omitempty"`
	Standby uint64 `json:"standby,omitempty"`
	// Known says whether the books could be read from here: at the home and the
	// standby, or when Redis keeps them.
	Known bool `json:"known"`
	// Held is the sum of what nodes hold, unreported uses among it.
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
		return Holdings{Authority: "local", Known: true}, nil
	}
	f := l.fleet
	answer := make(chan Holdings, 1)
	ask := func(n *lease.Node) {
		d := n.Describe(f.now(), lease.Key(k))
		h := Holdings{Authority: n.Authority(), Home: uint64(d.Home), Standby: uint64(d.Standby), Known: d.Known}
		h.take(d.Held, d.Rows)
		answer <- h
	}
	select {
	case f.look <- ask:
	case <-ctx.Done():
		return Holdings{}, errors.Join(ErrNotRunning, ctx.Err())
	}
	h := <-answer
	if h.Authority == "redis" {
		held, rows, err := f.redis.Inspect(ctx, lease.Key(k))
		if err != nil {
			return h, err
		}
		h.Known = true
		h.take(held, rows)
	}
	return h, nil
}

// take replaces the numbers by those of the rows.
func (h *Holdings) take(held int64, rows []core.SnapshotRow) {
	h.Held, h.Nodes = held, nil
	for _, r := range rows {
		h.Nodes = append(h.Nodes, Holding{Replica: uint64(r.Replica), Held: r.Row.Held(), Used: r.Row.Settled, Reclaimed: r.Gone})
	}
	slices.SortFunc(h.Nodes, func(a, b Holding) int {
		if a.Replica < b.Replica {
			return -1
		}
		return 1
	})
}

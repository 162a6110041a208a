package ways

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/decisionlog"
	"sluice/limiter"
	"sluice/loadtest/limits/oracle"
	"sluice/loadtest/limits/traffic"
)

// decider is one way of limiting. Its methods may be called by many goroutines.
type decider interface {
	// decide admits or refuses one request at a node; asked tells whether it had to
	// wait for somebody else.
	decide(node int, key uint64, limit int64) (admitted, asked bool)
	// forget makes a node that has been killed begin anew.
	forget(node int)
	// cut separates the first n nodes from the others, 0 nobody.
	cut(n int)
	// bytes is what nodes have sent each other.
	bytes() int64
	close()
}

// Way is a cluster of nodes that limit in one way.
type Way struct {
	decider
	Label  string
	plan   atomic.Pointer[traffic.Plan]
	window time.Duration
	down   []atomic.Bool

	mu        sync.Mutex // guards decisions
	decisions []oracle.Decision
}

func newWay(label string, nodes int, window time.Duration, d decider) *Way {
	return &Way{decider: d, Label: label, window: window, down: make([]atomic.Bool, nodes)}
}

// Name is the way's name.
func (w *Way) Name() string { return w.Label }

// Begin prepares for the tenants of a plan that starts at a moment.
func (w *Way) Begin(p *traffic.Plan, start time.Time) error {
	w.plan.Store(p)
	if b, ok := w.decider.(*asking); ok {
		b.start.Store(start.UnixNano())
	}
	return nil
}

// Ask has a request decided, at its node or, when that is down, at the next.
func (w *Way) Ask(r traffic.Request) {
	p := w.plan.Load()
	node := r.Node
	for range w.down {
		if !w.down[node].Load() {
			break
		}
		node = (node + 1) % len(w.down)
	}
	t := &p.Tenants[r.Tenant]
	d := oracle.Decision{BeforeNS: decisionlog.NowNS(), Cost: 1, Key: hash(t.Name), Limit: uint32(t.Limit), WindowMS: uint32(w.window / time.Millisecond)}
	asked := false
	d.Admitted, asked = w.decide(node, d.Key, t.Limit)
	d.TookNS = uint32(min(decisionlog.NowNS()-d.BeforeNS, 1<<32-1))
	d.WaitNS = d.TookNS
	if asked {
		d.Zone = uint8(limiter.Amber)
	}
	w.mu.Lock()
	w.decisions = append(w.decisions, d)
	w.mu.Unlock()
}

// Decisions returns those since it was last called.
func (w *Way) Decisions() ([]oracle.Decision, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.decisions
	w.decisions = nil
	return list, nil
}

// GossipBytes is what the nodes have sent each other so far.
func (w *Way) GossipBytes() (int64, error) { return w.bytes(), nil }

// KillNode takes a node and what it knew away.
func (w *Way) KillNode(node int) error {
	w.down[node].Store(true)
	w.forget(node)
	return nil
}

// StartNode brings a node back that was killed.
func (w *Way) StartNode(node int) error { w.down[node].Store(false); return nil }

// CutGossip separates a node from the others; Redis is in reach of all.
func (w *Way) CutGossip(node int) error { w.cut(node + 1); return nil }

// HealGossip ends CutGossip.
func (w *Way) HealGossip() error { w.cut(0); return nil }

// Stop ends it.
func (w *Way) Stop() { w.close() }

// hash names a tenant: FNV-1a.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// timeout bounds a question to Redis, as it does in the gateway.
const timeout = 50 * time.Millisecond

func brief() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), timeout)
}

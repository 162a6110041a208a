package telemetry

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/telemetry/series"
)

// Live is this node's traffic of the last day, by route and by tenant. Requests
// count in blocks of cells, one for each series; once a second what is new in
// them becomes a point of the store.
//
// A block is bound to a route for good, and to a tenant until another one needs it
// more: tenants are many, and most are quiet at any time.
type Live struct {
	stripes int
	store   *series.Store

	mu      sync.Mutex
	routes  []*liveBlock // guarded by mu
	tenants []*liveBlock // guarded by mu
	max     series.Options
	last    int64 // guarded by mu; the second that was added last

	otherRoutes  *liveBlock
	otherTenants *liveBlock
}

// Where things are in a block: the sketch, then what is not a duration.
const (
	liveClass           = series.Buckets
	liveLimited         = liveClass + 6
	liveUnauthenticated = liveLimited + 1
	liveForbidden       = liveUnauthenticated + 1
	liveBytesIn         = liveForbidden + 1
	liveBytesOut        = liveBytesIn + 1
	liveSlots           = liveBytesOut + 1
)

// liveBlock is where the requests of one series count.
type liveBlock struct {
	cells cells

	// The rest belongs to the collecting goroutine, under Live's lock.
	key   series.Key
	owner *TenantMetrics    // of a tenant's block
	read  [liveSlots]uint64 // what was seen of each counter
	busy  int64             // the last second with a request
}

func newLive(stripes int) *Live {
	l := &Live{
		stripes: stripes, store: series.New(series.Options{}),
		max: series.Options{MaxRoutes: series.DefaultRoutes, MaxTenants: series.DefaultTenants},
	}
	l.otherRoutes = l.block(series.Key{Kind: series.Route, Name: other})
	l.otherTenants = l.block(series.Key{Kind: series.Tenant, Name: other})
	return l
}

func (l *Live) block(k series.Key) *liveBlock {
	return &liveBlock{cells: newCells(l.stripes, liveSlots), key: k}
}

// route returns the block of a route.
func (l *Live) route(name string) *liveBlock {
	l.mu.Lock()
	defer l.mu.Unlock()
	if name == other || len(l.routes) >= l.max.MaxRoutes {
		return l.otherRoutes
	}
	b := l.block(series.Key{Kind: series.Route, Name: name})
	l.routes = append(l.routes, b)
	return b
}

// quietTenant is how long a tenant must have sent nothing before another may have
// its block.
const quietTenant = int64(time.Hour / time.Second)

// tenant binds t to a block.
func (l *Live) tenant(t *TenantMetrics) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t.live.Store(l.otherTenants)
	if t.name != other {
		l.bindLocked(t)
	}
}

// bindLocked gives t a block of its own, if there is one.
func (l *Live) bindLocked(t *TenantMetrics) bool {
	key := series.Key{Kind: series.Tenant, Name: t.name}
	if len(l.tenants) < l.max.MaxTenants {
		b := l.block(key)
		b.owner, b.busy = t, l.last
		l.tenants = append(l.tenants, b)
		t.live.Store(b)
		return true
	}
	for _, b := range l.tenants {
		if l.last-b.busy < quietTenant {
			continue
		}
		// A request that holds the former owner's block still counts for the new one:
		// the price of no lock.
		b.owner.live.Store(l.otherTenants)
		l.store.Forget(b.key)
		b.key, b.owner, b.busy = key, t, l.last
		t.live.Store(b)
		return true
	}
	return false
}

// observe counts a request in one block.
func (b *liveBlock) observe(stripe, bucket, class int, o *Observation) {
	c := &b.cells
	c.add(stripe, bucket, 1)
	c.add(stripe, liveClass+class, 1)
	if o.BytesIn > 0 {
		c.add(stripe, liveBytesIn, uint64(o.BytesIn))
	}
	if o.BytesOut > 0 {
		c.add(stripe, liveBytesOut, uint64(o.BytesOut))
	}
	switch o.Status {
	case 429:
		c.add(stripe, liveLimited, 1)
	case 401:
		c.add(stripe, liveUnauthenticated, 1)
	case 403:
		c.add(stripe, liveForbidden, 1)
	}
}

// collect moves what is new in b into p, and reports whether there is anything.
func (b *liveBlock) collect(p *series.Point) bool {
	requests := false
	for i := range 6 {
		if b.take(liveClass+i, &p.Classes[i]) {
			requests = true
		}
	}
	if !requests {
		return false
	}
	for i := range p.Latency {
		b.take(i, &p.Latency[i])
	}
	b.take(liveLimited, &p.Limited)
	b.take(liveUnauthenticated, &p.Unauthenticated)
	b.take(liveForbidden, &p.Forbidden)
	b.take(liveBytesIn, &p.BytesIn)
	b.take(liveBytesOut, &p.BytesOut)
	return true
}

func (b *liveBlock) take(i int, to *uint64) bool {
	now := b.cells.sum(i)
	*to = now - b.read[i]
	b.read[i] = now
	return *to > 0
}

// Store returns the series, for questions about them.
func (l *Live) Store() *series.Store { return l.store }

// Run collects once a second until ctx is done.
func (m *Metrics) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	m.live.store.Begin(time.Now().Unix())
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			m.collectLive(now.Unix() - 1)
		}
	}
}

// Live returns the traffic of the last day.
func (m *Metrics) Live() *Live { return m.live }

// collectLive adds what is new since the last call as that of the second t.
func (m *Metrics) collectLive(t int64) {
	l := m.live
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = t
	var total series.Point
	add := func(b *liveBlock) bool {
		var p series.Point
		if !b.collect(&p) {
			return false
		}
		b.busy = t
		l.store.Add(t, b.key, &p)
		if b.key.Kind == series.Route {
			total.Merge(&p)
		}
		return true
	}
	for _, b := range l.routes {
		add(b)
	}
	add(l.otherRoutes)
	for _, b := range l.tenants {
		add(b)
	}
	crowded := add(l.otherTenants)
	if total.Requests() > 0 {
		l.store.Add(t, series.Key{Kind: series.Total}, &total)
	}
	if crowded {
		l.rebindLocked(m)
	}
}

// rebindLocked gives the blocks of tenants that have gone quiet to those that
// count as other, the busiest first.
func (l *Live) rebindLocked(m *Metrics) {
	if !slices.ContainsFunc(l.tenants, func(b *liveBlock) bool { return l.last-b.busy >= quietTenant }) {
		return
	}
	var waiting []*TenantMetrics
	m.tenants.all(func(t *TenantMetrics) {
		if t.name == other || t.live.Load() != l.otherTenants {
			return
		}
		if n := t.requests(); n > t.seen {
			t.recent, t.seen = n-t.seen, n
			waiting = append(waiting, t)
		}
	})
	slices.SortFunc(waiting, func(a, b *TenantMetrics) int { return int(b.recent) - int(a.recent) })
	for _, t := range waiting {
		if !l.bindLocked(t) {
			return
		}
	}
}

// requests is how many t has sent in all.
func (t *TenantMetrics) requests() (n uint64) {
	for i := range classes {
		n += t.cells.sum(i)
	}
	return n
}

// liveOf is what a tenant knows of its block.
type liveOf struct {
	live         atomic.Pointer[liveBlock]
	seen, recent uint64 // of the collecting goroutine: its requests in all, and since it last looked
}

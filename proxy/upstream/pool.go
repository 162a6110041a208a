package upstream

import (
	"container/list"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of conf.Service.
const (
	defaultMaxConns = 1024
	defaultMaxIdle  = 256
)

// mostWaiting bounds the requests that wait for a connection to one endpoint:
// whoever came later would wait in vain, and memory has an end.
const mostWaiting = 4096

var errNoFreeConn = errors.New("every connection is busy")

// pool holds the connections to one endpoint.
//
// Idle connections lie in shards, so that two cores seldom meet at a lock; a
// taker looks into every shard before it dials. The one used last is taken
// first: it is the one whose idle time-out is furthest, and the others may go.
// Lock order: waitMu before a shard's mu.
type pool struct {
	clock  *atomic.Int64 // the registry's coarse clock, nanoseconds
	maxAge int64         // nanoseconds
	shards []shard       // a power of two

	maxConns atomic.Int64
	maxIdle  atomic.Int64
	retired  atomic.Bool

	open    atomic.Int64 // connections, and permits to dial one
	waiting atomic.Int64 // len(queue)

	waitMu sync.Mutex
	queue  list.List // of *waiter

	allMu sync.Mutex
	all   map[*conn]struct{}
}

type shard struct {
	mu   sync.Mutex
	idle []*conn      // guarded by mu; the one used last is at the end
	n    atomic.Int32 // len(idle)
	_    [64]byte     // another shard's lock is on another cache line
}

// waiter is a request that waits for a connection. It is given one, or nil: a permit to dial.
type waiter struct {
	got    chan *conn
	queued bool // guarded by waitMu
}

func newPool(clock *atomic.Int64, maxAge time.Duration) *pool {
	n := 1
	for n < runtime.GOMAXPROCS(0) && n < 64 {
		n *= 2
	}
	p := &pool{clock: clock, maxAge: int64(maxAge), shards: make([]shard, n), all: make(map[*conn]struct{})}
	p.limit(0, 0)
	return p
}

// limit sets how many connections there may be; 0 means the default. What is too
// many already goes when it is next idle.
func (p *pool) limit(conns, idle int) {
	if conns <= 0 {
		conns = defaultMaxConns
	}
	if idle <= 0 {
		idle = defaultMaxIdle
	}
	p.maxConns.Store(int64(conns))
	p.maxIdle.Store(int64(idle))
}

// take returns an idle connection, or nil.
func (p *pool) take() *conn {
	mask := uint32(len(p.shards) - 1)
	first := uint32(0)
	if mask > 0 {
		first = rand.Uint32()
	}
	for i := range uint32(len(p.shards)) {
		s := &p.shards[(first+i)&mask]
		if s.n.Load() == 0 {
			continue
		}
		s.mu.Lock()
		if last := len(s.idle) - 1; last >= 0 {
			c := s.idle[last]
			s.idle[last] = nil
			s.idle = s.idle[:last]
			s.n.Store(int32(last))
			s.mu.Unlock()
			return c
		}
		s.mu.Unlock()
	}
	return nil
}

// put takes back a connection that can serve another exchange.
func (p *pool) put(c *conn) {
	if c.once || p.clock.Load()-c.born > p.maxAge {
		p.drop(c)
		return
	}
	c.reused = true
	c.idleSince = p.clock.Load()
	if p.waiting.Load() > 0 && p.hand(c) {
		return
	}
	if p.open.Load() > p.maxConns.Load() || !p.store(c) {
		p.drop(c)
		return
	}
	// Somebody may have begun to wait, or the end of the pool have come, between
	// the looks above and the storing: then they did not see c, and it is seen here.
	if p.waiting.Load() > 0 {
		if c := p.take(); c != nil && !p.hand(c) && !p.store(c) {
			p.drop(c)
		}
	}
	if p.retired.Load() {
		p.closeIdle()
	}
}

// store lays c into a shard that has room.
func (p *pool) store(c *conn) bool {
	if p.retired.Load() {
		return false
	}
	mask := uint32(len(p.shards) - 1)
	first := uint32(0)
	if mask > 0 {
		first = rand.Uint32()
	}
	most := uint32(p.maxIdle.Load())
	for i := range uint32(len(p.shards)) {
		at := (first + i) & mask
		s := &p.shards[at]
		room := most >> bitsOf(mask) // an even share, the rest to the first ones
		if at < most&mask {
			room++
		}
		if uint32(s.n.Load()) >= room {
			continue
		}
		s.mu.Lock()
		if uint32(len(s.idle)) < room {
			s.idle = append(s.idle, c)
			s.n.Store(int32(len(s.idle)))
			s.mu.Unlock()
			return true
		}
		s.mu.Unlock()
	}
	return false
}

// bitsOf returns the number of bits of a mask of the form 2^n - 1.
func bitsOf(mask uint32) (n uint32) {
	for ; mask != 0; mask >>= 1 {
		n++
	}
	return n
}

// hand gives c, or with nil a permit to dial, to who waits longest.
func (p *pool) hand(c *conn) bool {
	p.waitMu.Lock()
	defer p.waitMu.Unlock()
	front := p.queue.Front()
	if front == nil {
		return false
	}
	p.dequeue(front)
	front.Value.(*waiter).got <- c // never blocks: it holds one, and one is sent
	return true
}

// permit reserves a place for a new connection. It is given back by free, or by drop of the connection.
func (p *pool) permit() bool {
	if p.open.Add(1) <= p.maxConns.Load() {
		return true
	}
	p.free()
	return false
}

// free gives a place back.
func (p *pool) free() {
	open := p.open.Add(-1)
	for p.waiting.Load() > 0 && open < p.maxConns.Load() {
		if p.open.CompareAndSwap(open, open+1) {
			if p.hand(nil) {
				return
			}
			p.open.Add(-1)
			return
		}
		open = p.open.Load()
	}
}

// add notes a connection that was dialled.
func (p *pool) add(c *conn) {
	p.allMu.Lock()
	p.all[c] = struct{}{}
	p.allMu.Unlock()
}

// drop closes a connection and gives its place back.
func (p *pool) drop(c *conn) {
	p.allMu.Lock()
	delete(p.all, c)
	p.allMu.Unlock()
	c.sock.Close()
	p.free()
}

// wait queues for a connection: c, or nil and no error for a permit to dial.
func (p *pool) wait(ctx context.Context, most time.Duration) (c *conn, err error) {
	w := &waiter{got: make(chan *conn, 1), queued: true}
	p.waitMu.Lock()
	if p.waiting.Load() >= mostWaiting {
		p.waitMu.Unlock()
		return nil, errNoFreeConn
	}
	at := p.queue.PushBack(w)
	p.waiting.Add(1)
	p.waitMu.Unlock()

	// What became free before the queue was joined was offered to nobody here.
	if c := p.take(); c != nil {
		if given, ok := p.leave(at); ok {
			p.put(c)
			return given, nil
		}
		return c, nil
	}
	if p.permit() {
		if given, ok := p.leave(at); ok {
			p.free()
			return given, nil
		}
		return nil, nil
	}
	var expired <-chan time.Time
	if most > 0 {
		t := time.NewTimer(most)
		defer t.Stop()
		expired = t.C
	}
	select {
	case c := <-w.got:
		return c, nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-expired:
		err = errNoFreeConn
	}
	if given, ok := p.leave(at); ok { // at the last moment
		return given, nil
	}
	return nil, err
}

// leave takes a waiter out of the queue, and returns what it was given before, if anything.
func (p *pool) leave(at *list.Element) (given *conn, ok bool) {
	w := at.Value.(*waiter)
	p.waitMu.Lock()
	waiting := w.queued
	if waiting {
		p.dequeue(at)
	}
	p.waitMu.Unlock()
	if waiting {
		return nil, false
	}
	return <-w.got, true
}

// dequeue takes a waiter out of the queue. waitMu is held.
func (p *pool) dequeue(at *list.Element) {
	p.queue.Remove(at).(*waiter).queued = false
	p.waiting.Add(-1)
}

// check lets every connection's watch look at the clock.
func (p *pool) check(now time.Time) {
	p.allMu.Lock()
	defer p.allMu.Unlock()
	for c := range p.all {
		c.watch.check(now)
	}
}

// evict closes what has been idle since before.
func (p *pool) evict(before int64) {
	for i := range p.shards {
		s := &p.shards[i]
		if s.n.Load() == 0 {
			continue
		}
		s.mu.Lock()
		n := 0
		for n < len(s.idle) && s.idle[n].idleSince < before {
			n++
		}
		old := append([]*conn(nil), s.idle[:n]...)
		rest := copy(s.idle, s.idle[n:])
		clear(s.idle[rest:])
		s.idle = s.idle[:rest]
		s.n.Store(int32(rest))
		s.mu.Unlock()
		for _, c := range old {
			p.drop(c)
		}
	}
}

// retire closes the idle connections, and the others when they come back.
func (p *pool) retire() {
	p.retired.Store(true)
	p.closeIdle()
}

func (p *pool) closeIdle() {
	for c := p.take(); c != nil; c = p.take() {
		p.drop(c)
	}
}

// abort closes every connection, in use or not.
func (p *pool) abort() {
	p.retire()
	p.allMu.Lock()
	defer p.allMu.Unlock()
	for c := range p.all {
		c.sock.Close()
	}
}

// idle counts the idle connections.
func (p *pool) idle() (n int) {
	for i := range p.shards {
		n += int(p.shards[i].n.Load())
	}
	return n
}

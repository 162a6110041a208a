package limiter

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sluice/conf"
	"sluice/limiter/core"
	"sluice/limiter/lease"
	"sluice/limiter/redis"
)

// fleet drives the lease.Node of a Limiter whose authority is elsewhere: one
// goroutine owns the Node, and one more waits for Redis. Requests reach it through
// ask, and it reaches them through far, under the entry's mutex.
//
// Locks: an entry's mutex, then fleet.mu.
type fleet struct {
	l      *Limiter
	o      *ClusterOptions
	log    *slog.Logger
	budget time.Duration // how long a request waits
	gone   *Rule         // of entries that have none any more
	boot   func() int64

	life   atomic.Uint32
	clocks atomic.Pointer[clocks]
	ready  atomic.Bool
	state  atomic.Pointer[ClusterStats]

	mu   sync.Mutex
	asks []*entry
	wake chan struct{}
	left atomic.Bool // the successor process has taken over
	deaf atomic.Bool // it is taking over: see settle

	garbled, dropped atomic.Uint64 // messages

	node  *lease.Node // of the goroutine
	redis *redis.Client
	inbox chan incoming
	look  chan func(*lease.Node) // questions of people

	members []uint64 // scratch
	wire    []byte   // scratch
}

// Peers is what a limiter needs of the cluster: who is in it, and a way to each.
// Messages may be lost, repeated, late and overtaken; they come from whom they say.
type Peers interface {
	// Self names this replica, as the others see it in Members: the high half
	// outlives restarts, the low half is new with each.
	Self() uint64
	// Members appends the replicas that are in the cluster now, this one included.
	Members(to []uint64) []uint64
	// Send sends payload to one member by datagrams, SendReliable by a stream. They
	// must not block, and keep nothing of payload.
	Send(to uint64, payload []byte) error
	SendReliable(to uint64, payload []byte) error
	// Subscribe has f called with each message. f does not block, and keeps nothing
	// of payload. It is called before the limiter's Run.
	Subscribe(f func(from uint64, payload []byte))
}

// incoming is a message from another member.
type incoming struct {
	from uint64
	m    lease.Message
}

// inboxSize is how many messages wait for the fleet; more are dropped, and sent
// again by those who miss an answer.
const inboxSize = 4096

// ClusterOptions say who shares limits with this node, and by whom they are kept.
// The zero value means nobody: the authority is in this process.
type ClusterOptions struct {
	// Redis is the authority, when given.
	Redis *conf.Redis
	// Peers are the other nodes, when given: they keep the books while Redis does
	// not, and give back idle rights when somebody lacks them.
	Peers Peers
	// Nodes is how many nodes the cluster has. A node that has just started is no
	// authority before it is in touch with more than half of them, since it cannot
	// know what they agreed on. 0: those that it sees, which is right unless nodes
	// start while they cannot see each other.
	Nodes int
	// Self names this replica: the high half outlives restarts, the low half is new
	// with each. Zero: random; with Peers it is theirs.
	Self uint64
	// Available counts what a node that has died had not reported as unused, and
	// so gives it back to the others; else it counts as used.
	Available bool
	// Prefix is before the names of all Redis keys. Default: sluice
	Prefix string
	// Logger takes changes of the authority's state. Default: nothing is logged.
	Logger *slog.Logger
	// Waited is told how long each request waited for the authority, and RedisTook how
	// long Redis took for a pipeline that it answered. Any goroutine calls them; nil:
	// nobody wants to know.
	Waited, RedisTook func(time.Duration)
}

func (o *ClusterOptions) any() bool { return o.Redis != nil || o.Peers != nil }

// ClusterStats are the counters and the state of the authority.
type ClusterStats struct {
	Authority string `json:"authority"` // local, redis, home; none while there is none
	Epoch     uint64 `json:"epoch"`
	Ready     bool   `json:"ready"`  // the authority answers and grants
	Fenced    bool   `json:"fenced"` // nothing in hand may be spent
	Keys      int    `json:"keys"`   // with rights or uses at this node
	Books     int    `json:"books"`  // keys whose books, or a copy of them, are kept here
	// Overadmission is what lease.Node.Overadmission says.
	Overadmission float64 `json:"overadmission"`

	RedisUp      bool          `json:"redis_up"`
	RedisLatency time.Duration `json:"redis_latency_ns"` // of the last pipeline
	Garbled      uint64        `json:"garbled"`          // messages that could not be read
	Dropped      uint64        `json:"dropped"`          // messages that found a queue full
	lease.Counts
}

func newFleet(l *Limiter, o *ClusterOptions) *fleet {
	f := &fleet{
		l: l, o: o, log: o.Logger, budget: waitBudget, wake: make(chan struct{}, 1), look: make(chan func(*lease.Node)), boot: bootNS,
		gone: &Rule{window: time.Hour, unitNS: int64(10 * time.Millisecond), unit: unit10ms, limit: core.Limit{Rights: 1, Span: 360_000}},
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	if o.Waited == nil {
		o.Waited = func(time.Duration) {}
	}
	if o.RedisTook == nil {
		o.RedisTook = func(time.Duration) {}
	}
	self := o.Self
	if self == 0 {
		self = random64()
	}
	if o.Redis != nil {
		f.redis = redis.New(*o.Redis, o.Prefix)
	}
	if o.Peers != nil {
		self = o.Peers.Self()
		f.inbox = make(chan incoming, inboxSize)
		o.Peers.Subscribe(f.receive)
	}
	f.node = lease.NewNode(lease.Options{
		Self: core.Replica(self), Redis: o.Redis != nil, Alone: o.Peers == nil, Nodes: o.Nodes, Lenient: o.Available,
		Nonce: func() uint32 { return uint32(random64()) },
	})
	f.state.Store(&ClusterStats{Authority: "none"})
	f.clocks.Store(&clocks{})
	return f
}

func random64() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails: the process ends instead
	return binary.LittleEndian.Uint64(b[:])
}

// ask queues an entry that lacks rights. The entry's mutex is held.
func (f *fleet) ask(e *entry) {
	f.mu.Lock()
	f.asks = append(f.asks, e)
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// leave has everything given back: this process takes no decisions any more.
func (f *fleet) leave() {
	f.left.Store(true)
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// clocks is what the clocks showed when the fleet last looked at them, and what
// holds until when. Moments are on the clock of boot.
type clocks struct {
	bootLessMono int64 // what boot was ahead of Instant.MonoNS
	unixLessMono int64 // what Instant.UnixNS was
	fenceNS      int64 // from when nothing that is the authority's may be spent
}

// bootAt is what boot shows at now. To ask the kernel for it costs a system call, which
// only a machine that was suspended needs: there the wall clock has gone on and the
// monotonic one has not.
func (f *fleet) bootAt(now Instant, c *clocks) int64 {
	if now.UnixNS-now.MonoNS-c.unixLessMono > int64(time.Second) {
		return f.boot()
	}
	return now.MonoNS + c.bootLessMono
}

// fenced reports whether nothing that is the authority's may be spent.
func (f *fleet) fenced(now Instant) bool {
	c := f.clocks.Load()
	return f.bootAt(now, c) >= c.fenceNS
}

// allowance is what of r's limit this node may spend on its own: nothing, as long as
// there is an authority. In the available mode a node that is cut off, and fenced, has
// the limit's part of one node. What all admit is then below twice the limit, and at
// most the limit while nobody is cut off.
func (f *fleet) allowance(r *Rule, now Instant) int64 {
	if !f.o.Available || f.o.Peers == nil || f.o.Nodes <= 0 || !f.fenced(now) {
		return 0
	}
	return r.limit.Rights / int64(f.o.Nodes)
}

func (f *fleet) now() lease.Instant {
	return lease.Instant{MonoNS: f.boot(), UnixNS: f.l.clock().UnixNS}
}

// pipeline is one round trip to Redis.
type pipeline struct {
	calls   []lease.Call
	results []lease.Result
	err     error
	sentNS  int64
}

const (
	pipelineKeys = 128
	tickEvery    = 20 * time.Millisecond
)

// run drives the node until ctx ends, and then settles what it holds.
func (f *fleet) run(ctx context.Context) {
	out, in := make(chan *pipeline, 1), make(chan *pipeline, 1)
	var worker sync.WaitGroup
	worker.Go(func() {
		for p := range out {
			p.sentNS = f.boot()
			p.results, p.err = f.redis.Execute(context.WithoutCancel(ctx), p.calls)
			if p.err == nil {
				f.o.RedisTook(f.redis.Latency())
			}
			in <- p
		}
	})
	defer func() {
		close(out)
		worker.Wait()
		if f.redis != nil {
			f.redis.Close()
		}
	}()
	f.join()
	f.node.Tick(f.now()) // so that the others hear of this replica before they are asked for rights
	f.publish()
	f.send()
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	var againNS int64 // when the timer will go off
	stopping := ctx.Done()
	var deadline <-chan time.Time
	var asks []*entry
	ticks := 0
	for {
		select {
		case <-stopping:
			// What is in hand goes back, so that nobody has to wait for it.
			stopping = nil
			f.node.Leave(f.now())
			deadline = time.After(settleWithin)
		case <-deadline:
			return
		case <-f.wake:
			if f.left.Load() {
				f.node.Leave(f.now())
			}
			f.mu.Lock()
			asks, f.asks = f.asks, asks[:0]
			f.mu.Unlock()
			now := f.now()
			for i, e := range asks {
				f.node.Ask(now, lease.Key(e.key), e.far)
				asks[i] = nil
			}
		case <-tick.C:
			if f.deaf.Load() {
				break // what it did now its successor would not know
			}
			if ticks++; ticks%25 == 0 {
				f.join()
			}
			f.node.Tick(f.now())
		case <-again.C:
			againNS = 0
		case ask := <-f.look:
			ask(f.node)
		case m := <-f.inbox:
			if !f.deaf.Load() {
				f.node.Receive(f.now(), lease.Member(m.from), &m.m)
			}
		case p := <-in:
			f.node.Done(f.now(), p.sentNS, p.calls, p.results, p.err)
			f.report(p)
		}
		f.node.Dispatch(f.now())
		f.publish()
		f.send()
		if at := f.node.AgainNS(); at != 0 && at != againNS {
			again.Reset(time.Duration(max(0, at-f.boot())))
			againNS = at
		}
		if calls := f.node.Calls(f.now(), pipelineKeys); calls != nil {
			out <- &pipeline{calls: calls}
		} else if stopping == nil && f.node.Settled() {
			return
		}
	}
}

// settleWithin bounds how long the end of the process waits for the authority.
const settleWithin = time.Second

// publish makes the node's state visible to requests.
func (f *fleet) publish() {
	// Before the fence, or a request could take rights of the old life for new ones.
	f.life.Store(f.node.Life())
	here, now := f.l.clock(), f.now()
	f.clocks.Store(&clocks{
		bootLessMono: now.MonoNS - here.MonoNS, unixLessMono: here.UnixNS - here.MonoNS,
		fenceNS: f.node.FenceNS(),
	})
	f.ready.Store(f.node.Ready(now))
	s := &ClusterStats{
		Authority: f.node.Authority(), Epoch: f.node.Epoch(), Ready: f.ready.Load(), Fenced: f.fenced(here), Keys: f.node.Holds(),
		Books: f.node.Books(), Overadmission: f.node.Overadmission(), RedisUp: f.node.RedisUp(), Counts: f.node.Counts(),
		Garbled: f.garbled.Load(), Dropped: f.dropped.Load(),
	}
	if f.redis != nil {
		s.RedisLatency = f.redis.Latency()
	}
	if was := f.state.Load(); was.Authority != s.Authority || was.Epoch != s.Epoch {
		f.log.Info("limits have another authority", "authority", s.Authority, "epoch", s.Epoch)
	}
	f.state.Store(s)
}

// join tells the node who is in the cluster.
func (f *fleet) join() {
	if f.o.Peers == nil {
		return
	}
	f.members = f.o.Peers.Members(f.members[:0])
	members := make([]lease.Member, len(f.members))
	for i, m := range f.members {
		members[i] = lease.Member(m)
	}
	f.node.SetMembers(f.now(), members)
}

// receive takes a message from the cluster's goroutine.
func (f *fleet) receive(from uint64, payload []byte) {
	if f.deaf.Load() {
		return
	}
	m, err := lease.Parse(payload)
	if err != nil {
		f.garbled.Add(1)
		return
	}
	select {
	case f.inbox <- incoming{from, m}:
	default:
		f.dropped.Add(1)
	}
}

// send empties the outbox.
func (f *fleet) send() {
	for _, e := range f.node.Outbox() {
		f.wire = e.Append(f.wire[:0])
		send := f.o.Peers.Send
		if e.Reliable {
			send = f.o.Peers.SendReliable
		}
		if send(uint64(e.To), f.wire) != nil {
			f.dropped.Add(1) // as if it had been lost on the way
		}
	}
}

// report logs when Redis goes and comes back.
func (f *fleet) report(p *pipeline) {
	was := f.state.Load().RedisUp
	switch up := f.node.RedisUp(); {
	case was && !up:
		f.log.Warn("redis does not answer: rights in hand are spent, none are added", "error", p.err)
	case !was && up:
		f.log.Info("redis answers", "epoch", f.node.Epoch())
	}
}

package sim

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"sluice/limiter/lease"
)

// Options describe a run.
type Options struct {
	Seed   uint64
	Nodes  int
	Keys   int
	Limit  int64         // of each key
	Window time.Duration // of each key
	Redis  bool
	Rate   float64       // requests a second, altogether
	For    time.Duration // simulated
	Loss   float64       // of messages
	Calm   bool          // no message is seconds late
	Drift  float64       // between the fastest and the slowest clock, as a share
	Spread Spread        // of the requests over the nodes
	// Burst is how many times the limit comes within 100 ms, once a window, for each
	// key and in place of Rate; 0: requests come one by one, at random.
	Burst  float64
	Faults []Fault
	Bugs   Bugs
}

// Bugs that a run can be seeded with, to see that it finds them.
type Bugs struct {
	NoFence      bool // a node goes on spending when nobody has heard of it
	EarlyStamp   bool // uses are reported as older than they are
	DoubleReturn bool // what was given back is kept
}

// Spread says which node a request meets.
type Spread uint8

// The spreads.
const (
	Even   Spread = iota
	Zipf          // the first node has half of them, the next a quarter, and so on
	Moving        // all meet one node, and another one every quarter of a window
)

// Fault is something that happens to the cluster from At to Until.
type Fault struct {
	Kind      FaultKind
	At, Until time.Duration
	Node      int
	Other     int
}

// FaultKind says what.
type FaultKind uint8

// The kinds.
const (
	Die      FaultKind = iota // the node dies, and comes back empty at Until
	Pause                     // it stops, and goes on with what it had
	Cut                       // it is cut off from the others, not from Redis
	CutAll                    // and from Redis
	CutRedis                  // from Redis alone
	OneWay                    // what it sends to Other is lost
	RedisOff                  // Redis does not answer
	Forget                    // Redis loses everything
	Upgrade                   // the node's process is replaced by a successor
)

// String is the kind as a word.
func (k FaultKind) String() string {
	return [...]string{"die", "pause", "cut", "cut-all", "cut-redis", "one-way", "redis-off", "forget", "upgrade"}[k]
}

// Result is what came out.
type Result struct {
	Admitted, Refused, Requests, Takes, Messages int64
	Questions                                    int64 // to Redis or to homes
	Epochs                                       int   // since requests began
	Exact                                        int64 // what an exact log would have admitted
	Worst                                        int64 // most admissions above the limit in a window
	Err                                          error // of the first violation
}

// World is one run.
type World struct {
	Options
	Result
	rnd    *rand.Rand
	now    int64
	seq    int64
	events events
	nodes  []*node
	redis  redis
	admits [][]int64 // by key, times
	first  []int     // of the trailing window
	exact  [][]int64
	firstX []int
}

// node is one gateway.
type node struct {
	w       *World
	id      int
	name    lease.Member
	node    *lease.Node
	purses  map[int]*purse
	alive   bool
	paused  bool
	held    bool // about to be upgraded: requests wait
	offset  int64
	drift   float64
	seen    map[int]int64 // when another was last reachable
	nonce   uint32
	cut     bool // from the others
	noRedis bool
	oneWay  map[int]bool
	againNS int64 // for when a question that is to be repeated is due
}

func (n *node) clock() lease.Instant {
	mono := n.offset + n.w.now + int64(float64(n.w.now)*n.drift)
	return lease.Instant{MonoNS: mono, UnixNS: mono}
}

func key(i int) lease.Key { return lease.Key{uint64(i+1) * 0x9e3779b97f4a7c15, uint64(i)} }

type event struct {
	at, seq int64
	run     func()
}
type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func (w *World) after(d time.Duration, run func()) {
	w.seq++
	heap.Push(&w.events, event{w.now + int64(d), w.seq, run})
}

// Run plays a run to its end, or to the first violation.
func Run(o Options) Result {
	w := &World{Options: o, rnd: rand.New(rand.NewPCG(o.Seed, 42)), now: int64(time.Hour)}
	w.redis = redis{w: w, up: true}
	w.redis.forget()
	w.redis.up = o.Redis
	w.admits, w.first = make([][]int64, o.Keys), make([]int, o.Keys)
	w.exact, w.firstX = make([][]int64, o.Keys), make([]int, o.Keys)
	for i := range o.Nodes {
		n := &node{w: w, id: i, nonce: uint32(i + 1)}
		w.nodes = append(w.nodes, n)
		n.boot()
		w.after(time.Duration(w.rnd.Int64N(int64(20*time.Millisecond))), n.tick)
	}
	for _, f := range o.Faults {
		w.after(f.At, func() { w.fault(f, true) })
		if f.Until > f.At {
			w.after(f.Until, func() { w.fault(f, false) })
		}
	}
	if o.Burst > 0 {
		w.after(warmUp, w.burst)
	} else {
		w.after(warmUp, w.arrive)
	}
	var begun uint64
	w.after(warmUp, func() { begun = w.nodes[0].node.Epoch() })
	end := w.now + int64(o.For)
	for len(w.events) > 0 && w.Err == nil {
		e := heap.Pop(&w.events).(event)
		if e.at > end {
			break
		}
		w.now = e.at
		e.run()
	}
	for _, n := range w.nodes {
		c := n.node.Counts()
		w.Questions += int64(c.Takes + c.Reports)
	}
	w.Epochs = int(w.nodes[0].node.Epoch()>>16) - int(begun>>16)
	return w.Result
}

// boot starts a node that knows nothing.
func (n *node) boot() {
	w := n.w
	n.nonce += 1000
	n.name = lease.Member(uint64(n.id+1)<<32 | uint64(n.nonce))
	n.alive, n.paused, n.held = true, false, false
	n.offset = w.rnd.Int64N(int64(time.Hour))
	n.drift = (w.rnd.Float64() - 0.5) * w.Drift
	n.purses = map[int]*purse{}
	n.seen = map[int]int64{}
	n.oneWay = map[int]bool{}
	n.node = n.newNode()
	n.gossip()
}

func (n *node) newNode() *lease.Node {
	return lease.NewNode(lease.Options{
		Self: n.name, Redis: n.w.Redis, Nodes: n.w.Nodes, Nonce: func() uint32 { n.nonce++; return n.nonce },
	})
}

// gossip is the membership: a member is gone when it was out of reach for five
// seconds.
func (n *node) gossip() {
	members := []lease.Member{n.name}
	for _, o := range n.w.nodes {
		if o == n {
			continue
		}
		if o.alive && !o.paused && n.reaches(o) && o.reaches(n) {
			n.seen[o.id] = n.w.now
		}
		if at, ok := n.seen[o.id]; ok && n.w.now-at < int64(5*time.Second) {
			members = append(members, o.name)
		}
	}
	n.node.SetMembers(n.clock(), members)
}

func (n *node) reaches(o *node) bool { return !n.cut && !o.cut && !n.oneWay[o.id] }

// tick is the node's timer. It does not run while the node is paused.
func (n *node) tick() {
	if n.alive && !n.paused {
		if n.w.rnd.IntN(25) == 0 {
			n.gossip()
		}
		n.node.Tick(n.clock())
		n.flush()
	}
	n.w.after(20*time.Millisecond, n.tick)
}

// flush sends what the node has to say.
func (n *node) flush() {
	w := n.w
	n.node.Dispatch(n.clock())
	for _, e := range n.node.Outbox() {
		w.Messages++
		for _, o := range w.nodes {
			if o.name != e.To {
				continue
			}
			copies := 1
			if !e.Reliable {
				if w.rnd.Float64() < w.Loss {
					copies = 0
				} else if w.rnd.IntN(50) == 0 {
					copies = 2
				}
			}
			if !n.reaches(o) {
				copies = 0
			}
			for range copies {
				delay := 100*time.Microsecond + time.Duration(w.rnd.ExpFloat64()*float64(300*time.Microsecond))
				if !w.Calm && w.rnd.IntN(200) == 0 {
					delay += time.Duration(w.rnd.Int64N(int64(3 * time.Second))) // very late
				}
				name := o.name
				w.after(delay, func() {
					if o.alive && !o.paused && o.name == name {
						o.node.Receive(o.clock(), n.name, &e.Message)
						o.flush()
					}
				})
			}
		}
	}
	if calls := n.node.Calls(n.clock(), 128); calls != nil {
		n.call(calls)
	}
	if at := n.node.AgainNS(); at != 0 && at != n.againNS {
		n.againNS = at
		node := n.node
		w.after(time.Duration(max(0, at-n.clock().MonoNS)+1), func() {
			if n.alive && !n.paused && n.node == node {
				n.flush()
			}
		})
	}
}

// call makes a pipeline to Redis; it may be carried out and its answer lost.
func (n *node) call(calls []lease.Call) {
	w, node, sent := n.w, n.node, n.clock().MonoNS
	there := 150*time.Microsecond + time.Duration(w.rnd.ExpFloat64()*float64(100*time.Microsecond))
	var results []lease.Result
	done := false
	finish := func(err error) {
		if done || !n.alive || n.node != node {
			return
		}
		if n.paused {
			return
		}
		done = true
		n.node.Done(n.clock(), sent, calls, results, err)
		n.flush()
	}
	w.after(there, func() {
		if !w.redis.up || n.noRedis {
			return
		}
		results = w.redis.execute(calls)
		if w.rnd.Float64() < w.Loss/4 {
			return
		}
		w.after(there, func() {
			if w.redis.up && !n.noRedis {
				finish(nil)
			}
		})
	})
	var timeout func()
	timeout = func() {
		if n.paused && n.alive && n.node == node {
			w.after(50*time.Millisecond, timeout)
			return
		}
		finish(errors.New("timeout"))
	}
	w.after(50*time.Millisecond, timeout)
}

// warmUp is when requests begin: the cluster has an authority by then.
const warmUp = 12 * time.Second

// arrive is one request, and the next one.
func (w *World) arrive() {
	w.after(time.Duration(w.rnd.ExpFloat64()/w.Rate*1e9), w.arrive)
	w.meet(w.rnd.IntN(w.Keys))
}

// burst is many requests for every key, and the next burst a little more than a window
// later.
func (w *World) burst() {
	w.after(w.Window+50*time.Millisecond, w.burst)
	for k := range w.Keys {
		for range int(w.Burst * float64(w.Limit)) {
			w.after(time.Duration(w.rnd.Int64N(int64(100*time.Millisecond))), func() { w.meet(k) })
		}
	}
}

// spread picks the node that a request meets.
func (w *World) spread() int {
	switch w.Spread {
	case Zipf:
		i := 0
		for i < len(w.nodes)-1 && w.rnd.IntN(2) == 0 {
			i++
		}
		return i
	case Moving:
		return int(w.now/int64(w.Window/4)) % len(w.nodes)
	}
	return w.rnd.IntN(len(w.nodes))
}

// meet is one request for a key.
func (w *World) meet(k int) {
	n := w.nodes[w.spread()]
	if n.held && n.alive && !n.paused {
		w.after(10*time.Millisecond, func() { w.meet(k) })
		return
	}
	if !n.alive || n.paused {
		return
	}
	w.Requests++
	w.expect(k)
	p := n.purses[k]
	if p == nil {
		p = &purse{n: n, key: k, limit: lease.Limit{Rights: w.Limit, Window: w.Window}}
		n.purses[k] = p
	}
	p.request()
	n.flush()
}

// expect counts what an exact log would have admitted.
func (w *World) expect(k int) {
	list := w.exact[k]
	for w.firstX[k] < len(list) && list[w.firstX[k]] <= w.now-int64(w.Window) {
		w.firstX[k]++
	}
	if int64(len(list)-w.firstX[k]) < w.Limit {
		w.exact[k] = append(list, w.now)
		w.Exact++
	}
}

// admitted records an admission and checks the claim.
func (w *World) admitted(k int) {
	w.Admitted++
	w.admits[k] = append(w.admits[k], w.now)
	list := w.admits[k]
	// A window is as long as the authority's clock says.
	for list[w.first[k]] <= w.now-int64(float64(w.Window)*(1-w.Drift)) {
		w.first[k]++
	}
	if over := int64(len(list)-w.first[k]) - w.Limit; over > 0 {
		w.Worst = max(w.Worst, over)
		w.Err = fmt.Errorf("seed %d, %v: key %d has %d admissions in a window of %v, the limit is %d",
			w.Seed, time.Duration(w.now-int64(time.Hour)), k, int64(len(list)-w.first[k]), w.Window, w.Limit)
	}
}

func (w *World) fault(f Fault, on bool) {
	n := w.nodes[f.Node%len(w.nodes)]
	switch f.Kind {
	case Die:
		if on {
			n.alive = false
		} else {
			n.boot()
		}
	case Pause:
		n.paused = on && n.alive
		if !on && n.alive {
			// It goes on with requests before its timers have run.
			for _, k := range w.keysOf(n) {
				for range 20 {
					n.purses[k].request()
				}
			}
			n.flush()
		}
	case Cut:
		n.cut = on
	case CutAll:
		n.cut, n.noRedis = on, on
	case CutRedis:
		n.noRedis = on
	case OneWay:
		n.oneWay[f.Other%len(w.nodes)] = on
	case RedisOff:
		w.redis.up = !on && w.Redis
	case Forget:
		if on && w.Redis {
			w.redis.forget()
			w.redis.up = true
		}
	case Upgrade:
		if on {
			n.upgrade()
		}
	}
}

func (w *World) keysOf(n *node) (keys []int) {
	for k := range w.Keys {
		if n.purses[k] != nil {
			keys = append(keys, k)
		}
	}
	return keys
}

var _ lease.Purse = (*purse)(nil)

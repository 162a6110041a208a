package lease

import (
	"slices"
	"time"

	"sluice/limiter/core"
)

// redisLink is the state of the way to Redis.
type redisLink struct {
	flying    bool
	down      bool  // the last pipeline failed
	retryNS   int64 // not before
	backoff   time.Duration
	beatNS    int64 // when the last beat was sent
	beat      uint64
	heard     uint64 // the last beat that was answered
	knows     uint64 // Redis's epoch
	knew      uint64 // the greatest that it has had: one that it has lost is not used again
	claim     bool   // it has none, or an old one
	presented uint64 // the epoch that has been told that all is presented
	quorate   bool
	alive     []Sign
	aliveNS   int64
}

const (
	backoffLeast = 100 * time.Millisecond
	backoffMost  = 2 * time.Second
)

// Calls returns the next pipeline for Redis, of at most most questions; nil while
// one is under way, or when there is nothing to say. Done must follow.
func (n *Node) Calls(now Instant, most int) []Call {
	l := &n.redis
	if !n.o.Redis || l.flying || now.MonoNS < l.retryNS {
		return nil
	}
	var calls []Call
	if n.keeps() || !n.o.Alone && !n.sure && n.epoch == 0 && len(n.members) > 1 {
		if now.MonoNS-l.beatNS < int64(beatEvery) {
			return nil
		}
		l.beatNS = now.MonoNS
		l.beat++
		l.flying = true
		return []Call{{Kind: CallProbe, Self: n.self}}
	}
	if l.claim {
		calls = append(calls, n.claim(now))
	}
	if now.MonoNS-l.beatNS >= int64(beatEvery) || l.down || l.claim || l.beat == 0 || n.handed() && l.presented != n.epoch {
		if n.handed() {
			l.presented = n.epoch
		}
		l.beat++
		l.beatNS = now.MonoNS
		c := Call{Kind: CallBeat, Self: n.self, Beat: l.beat, Presented: l.presented, VotersOf: n.epoch, Votes: n.o.Alone || n.sure, Alone: n.o.Alone}
		if n.decree.Epoch == n.epoch {
			c.Voters = n.decree.Voters
		}
		calls = append(calls, c)
	}
	if !l.down && !l.claim && n.epoch != 0 && l.knows == n.epoch {
		for len(calls) < most && len(n.estates) > 0 {
			e := n.estates[0]
			n.estates = n.estates[1:]
			n.estatesOut++
			calls = append(calls, Call{Kind: CallTake, Key: e.key, Limit: e.limit, Take: e.take, Lenient: n.o.Lenient})
		}
		for len(calls) < most {
			h := n.pop()
			if h == nil {
				break
			}
			t := h.compose(now)
			h.flying = true
			if t.Want >= 0 {
				n.counts.Takes++
			} else {
				n.counts.Reports++
			}
			calls = append(calls, Call{Kind: CallTake, Key: h.key, Limit: h.limit, Take: t, Lenient: n.o.Lenient, hold: h, wanted: h.wanted})
		}
	}
	l.flying = len(calls) > 0
	return calls
}

// Waiting reports whether Calls would have something to say at once.
func (n *Node) Waiting() bool {
	return !n.redis.flying && !n.redis.down && !(n.urgent.empty() && n.later.empty())
}

// claim asks for a new epoch, above all that are known.
func (n *Node) claim(now Instant) Call {
	n.counts.Claims++
	c := Call{
		Kind:   CallClaim,
		New:    n.claimed(),
		Expect: []core.Replica{n.self},
	}
	for _, p := range n.sortedPeers() {
		if p.replica != n.self {
			c.Expect = append(c.Expect, p.replica)
		}
	}
	for _, s := range n.redis.alive {
		age := s.AgeMS + (now.MonoNS-n.redis.aliveNS)/1e6
		if !slices.Contains(c.Expect, s.Replica) && age < int64(FenceDown/time.Millisecond) {
			c.Expect = append(c.Expect, s.Replica)
		}
	}
	return c
}

// claimed is the epoch to claim: that of the decree which gave the books to Redis,
// or a new one.
func (n *Node) claimed() uint64 {
	if n.decree.By == ByRedis && n.decree.Epoch == n.epoch && n.epoch > n.redis.knew {
		return n.epoch
	}
	return (max(n.epoch, n.redis.knows)>>16+1)<<16 | uint64(n.self>>32)&0xffff
}

// Done takes the results of calls, which were sent at sentNS; or why there are
// none.
func (n *Node) Done(now Instant, sentNS int64, calls []Call, results []Result, err error) {
	l := &n.redis
	l.flying = false
	if err != nil {
		n.counts.RedisFails++
		n.failed(now, calls)
		return
	}
	n.counts.RedisOKs++
	l.down, l.backoff, l.retryNS = false, 0, 0
	for i := range calls {
		c, r := &calls[i], &results[i]
		switch c.Kind {
		case CallClaim:
			l.claim, l.knows = false, r.Epoch
		case CallProbe:
			l.knows = r.Epoch
		case CallBeat:
			n.beaten(now, sentNS, c, r)
		case CallTake:
			if c.hold == nil {
				n.estatesOut--
				continue // an epoch that is over began its estates anew
			}
			if n.keeps() {
				continue // it has been asked for at its home
			}
			if r.Old {
				c.hold.flying = false
				n.push(c.hold, true) // its next question is newer
				continue
			}
			if r.Reply.Verdict == core.OtherEpoch {
				l.knows = r.Reply.Epoch
				l.claim = l.claim || r.Reply.Epoch < n.epoch
			}
			if r.Reply.Epoch == n.epoch && !n.o.Alone {
				n.mirror(now, c.hold, c.Take, r.Reply)
			}
			n.answered(now, c.hold, r.Reply, c.wanted)
		}
	}
}

// beaten takes over the register.
func (n *Node) beaten(now Instant, sentNS int64, c *Call, r *Result) {
	l := &n.redis
	l.knows, l.quorate = r.Epoch, r.Quorate
	l.knew = max(l.knew, r.Epoch)
	if n.keeps() {
		return // sent before homes kept the books
	}
	if r.Epoch < n.epoch || r.Epoch == 0 {
		l.claim = true // it has lost what it knew
		return
	}
	// Those whom a majority has left, with Redis, must fence themselves: the others
	// may have another authority by now.
	if r.Quorate || n.o.Alone {
		n.contact(now, sentNS)
	}
	l.alive, l.aliveNS = r.Alive, now.MonoNS
	defer func() { n.closedNS = now.MonoNS + r.OpensMS*1e6 }()
	if r.Epoch > n.epoch {
		n.enter(now, r.Epoch)
		l.heard = c.Beat
		return
	}
	if r.Before < l.heard && c.Self == n.self {
		n.enter(now, r.Epoch) // it has lost the latest: present again
	}
	l.heard = c.Beat
}

// failed is the end of a pipeline that nobody answered. Whether it was carried
// out is not known, and does not matter: every question counts from the beginning.
func (n *Node) failed(now Instant, calls []Call) {
	l := &n.redis
	l.down = true
	l.backoff = min(max(backoffLeast, 2*l.backoff), backoffMost)
	l.retryNS = now.MonoNS + int64(l.backoff)
	a := Answer{Outcome: Unavailable}
	for i := range calls {
		c := &calls[i]
		if c.Kind == CallTake && c.hold == nil {
			if n.estatesOut--; c.Take.Epoch == n.epoch {
				n.estates = append(n.estates, estate{c.Key, c.Limit, c.Take})
			}
		}
		if h := c.hold; h != nil && !n.keeps() {
			h.flying = false
			n.push(h, false)
			h.purse.Answer(now, a)
		}
	}
	for _, h := range n.urgent.items {
		if h != nil && !n.keeps() {
			h.purse.Answer(now, a)
		}
	}
}

// RedisUp reports whether the last pipeline was answered.
func (n *Node) RedisUp() bool { return n.redis.beat > 0 && !n.redis.down }

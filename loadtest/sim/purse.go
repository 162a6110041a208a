package sim

import (
	"time"

	"sluice/limiter/core"
	"sluice/limiter/lease"
)

// purse is a node's rights of one key: what limiter's entry is in production,
// without its atomics.
type purse struct {
	n       *node
	key     int
	limit   lease.Limit
	life    uint32
	tokens  int64
	runs    []core.Run
	waiting []request
	low     int64
	quietNS int64
	waitNS  int64
	asked   bool
}

// request waits for a right until its deadline.
type request struct{ deadline int64 }

func (p *purse) Limit() lease.Limit { return p.limit }

func (p *purse) Spent(_ lease.Instant, use func(core.Stamp, int64)) {
	for _, r := range p.runs {
		use(r.At, int64(r.N))
	}
	p.runs = p.runs[:0]
}

func (p *purse) Lack() int64 {
	p.expire()
	switch lack := int64(len(p.waiting)) - p.tokens; {
	case lack > 0:
		return lack
	case len(p.waiting) > 0 || p.low > 0 && p.tokens <= p.low:
		return 0
	}
	return core.ReportOnly
}

func (p *purse) Tokens() int64 { return p.tokens }

func (p *purse) Withdraw(n int64) int64 {
	k := min(n, p.tokens)
	if p.tokens -= k; p.n.w.Bugs.DoubleReturn {
		p.tokens += k
	}
	p.low = 0
	return k
}

func (p *purse) Deposit(n int64) {
	p.tokens += n
	p.waitNS = 0
}

func (p *purse) Quiet(now lease.Instant) time.Duration { return time.Duration(now.MonoNS - p.quietNS) }

func (p *purse) Release() bool { return len(p.waiting) == 0 && p.tokens == 0 && len(p.runs) == 0 }

func (p *purse) Answer(now lease.Instant, a lease.Answer) {
	if p.asked = a.Outcome == lease.Recalling; a.Outcome == lease.Enough {
		return
	}
	p.tokens += a.Granted
	p.expire()
	for len(p.waiting) > 0 && p.spend(now) {
		p.waiting = p.waiting[1:]
	}
	if a.Outcome == lease.Served || a.Granted > 0 {
		p.low = a.Granted / 4
	}
	if a.Outcome != lease.Served && a.Outcome != lease.Recalling {
		p.low = 0
		p.n.w.Refused += int64(len(p.waiting))
		p.waiting = p.waiting[:0]
		wait := 250 * time.Millisecond
		if a.Outcome == lease.Exhausted {
			if wait = a.Reset; wait == 0 || a.Stray && a.Recall < wait {
				wait = min(max(a.Recall, 10*time.Millisecond), 500*time.Millisecond)
			}
		}
		p.waitNS = now.MonoNS + int64(wait)
	}
}

// expire gives up on requests that have waited too long.
func (p *purse) expire() {
	for len(p.waiting) > 0 && p.waiting[0].deadline <= p.n.w.now {
		p.waiting = p.waiting[1:]
		p.n.w.Refused++
	}
}

// spend admits one request now if there is a right for it, and the node may.
func (p *purse) spend(now lease.Instant) bool {
	n := p.n
	if p.life != n.node.Life() {
		p.life = n.node.Life()
	}
	if p.tokens == 0 || now.MonoNS >= n.node.FenceNS() && !n.w.Bugs.NoFence {
		return false
	}
	p.tokens--
	at := p.limit.Stamp(now) + 1
	if n.w.Bugs.EarlyStamp {
		at -= core.Stamp(int64(p.limit.Window/5) / int64(p.limit.Tick()))
	}
	if k := len(p.runs) - 1; k >= 0 && !p.runs[k].At.Before(at) {
		p.runs[k].N++
	} else {
		p.runs = append(p.runs, core.Run{At: at, N: 1})
	}
	p.quietNS = now.MonoNS
	n.w.admitted(p.key)
	return true
}

// request is one request for the key at this node.
func (p *purse) request() {
	now := p.n.clock()
	if len(p.waiting) == 0 && p.spend(now) {
		if p.low > 0 && p.tokens <= p.low && !p.asked {
			p.asked = true
			p.n.node.Ask(now, key(p.key), p)
		}
		return
	}
	if now.MonoNS < p.waitNS {
		p.n.w.Refused++
		return
	}
	p.quietNS = now.MonoNS
	p.waiting = append(p.waiting, request{p.n.w.now + int64(5*time.Millisecond)})
	p.asked = true
	p.n.node.Ask(now, key(p.key), p)
}

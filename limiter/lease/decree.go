package lease

import (
	"cmp"
	"math/bits"
	"slices"
	"time"

	"sluice/limiter/core"
)

// A decree needs no election. Any node may propose one with an epoch above all
// that it knows of; nodes follow the newest that they hear of, and say so in their
// pongs. An authority acts only while, within the last QuorumFor, a majority of the
// voters has said that it follows its decree, counted from the moment at which the
// question was sent; and only HoldDown after that was so for the first time. Two
// majorities share a voter, which follows one decree at a time, so by the time that
// the newer authority begins, the older one has ended.

// peer is what is known of another member.
type peer struct {
	replica core.Replica // as which it spends
	epoch   uint64
	echoNS  int64 // when the last ping was sent that it answered in our epoch
	anyNS   int64 // the same in any epoch
	heardNS int64
	handed  uint64 // the epoch in which it has told all that it knows
	redisUp bool
	sure    bool
}

const (
	pingEvery  = 500 * time.Millisecond
	silentFor  = 3 * time.Second // then a home is replaced
	settleTime = 3 * time.Second // a member must be there so long to be counted
	redisGone  = time.Second     // a majority without Redis for so long leaves it
	redisBack  = 5 * time.Second // and with it again for so long returns to it
)

// SetMembers says who is in the cluster now, this node included.
func (n *Node) SetMembers(now Instant, members []Member) {
	was := n.members
	n.members = n.withExpected(now, slices.Clone(members))
	slices.Sort(n.members)
	for _, m := range n.members {
		if m != n.o.Self && !slices.Contains(was, m) {
			n.peers[m] = &peer{heardNS: now.MonoNS, replica: m}
			n.joinedNS[m] = now.MonoNS
		}
	}
	for m := range n.peers {
		if !slices.Contains(n.members, m) {
			delete(n.peers, m)
			delete(n.joinedNS, m)
		}
	}
}

func (n *Node) send(to Member, m Message) {
	m.Epoch = n.epoch
	n.out = append(n.out, Envelope{To: to, Message: m})
}

// Outbox returns the messages that are to be sent, and forgets them.
func (n *Node) Outbox() []Envelope {
	out := n.out
	n.out = nil
	return out
}

// ping keeps in touch. Every node pings every other, twice a second.
func (n *Node) ping(now Instant) {
	if now.MonoNS-n.pingNS < int64(pingEvery) {
		return
	}
	n.pingNS = now.MonoNS
	for _, m := range n.members {
		if m != n.o.Self {
			n.send(m, n.sign(MsgPing, now.MonoNS))
		}
	}
}

func (n *Node) sign(kind MessageKind, sentNS int64) Message {
	return Message{Kind: kind, SentNS: sentNS, Replica: n.self, RedisUp: n.o.Redis && !n.redis.down && n.redis.beat > 0, Sure: n.sure, Handed: n.handed()}
}

// ponged takes a sign of life.
func (n *Node) ponged(now Instant, from Member, m *Message) {
	p := n.peers[from]
	if p == nil {
		return
	}
	p.heardNS, p.replica, p.epoch, p.redisUp, p.sure = now.MonoNS, m.Replica, m.Epoch, m.RedisUp, m.Sure
	n.heard[m.Replica] = now.MonoNS
	if m.Handed {
		p.handed = max(p.handed, m.Epoch)
	}
	if m.Kind == MsgPing {
		n.send(from, n.sign(MsgPong, m.SentNS))
	} else {
		p.anyNS = max(p.anyNS, m.SentNS)
		if m.Epoch == n.epoch && m.Sure {
			p.echoNS = max(p.echoNS, m.SentNS)
		}
	}
	if m.Epoch < n.epoch && n.decree.Epoch == n.epoch {
		d := n.decree
		n.send(from, Message{Kind: MsgDecree, Decree: &d})
	}
}

// majorityNS is the latest moment at which a majority of the voters was in touch,
// counting by at.
func (n *Node) majorityNS(now Instant, voters []uint32, at func(*peer) int64) int64 {
	if len(voters) == 0 {
		return now.MonoNS
	}
	seen := make([]int64, 0, len(voters))
	for _, v := range voters {
		latest := int64(-1 << 62)
		if v == stable(n.o.Self) {
			latest = now.MonoNS
		}
		for m, p := range n.peers {
			if stable(m) == v {
				latest = max(latest, at(p))
			}
		}
		seen = append(seen, latest)
	}
	slices.SortFunc(seen, func(a, b int64) int { return cmp.Compare(b, a) })
	return seen[len(voters)/2]
}

// followedNS is when a majority followed our decree last.
func (n *Node) followedNS(now Instant) int64 {
	if !n.sure {
		return -1 << 62
	}
	echo := func(p *peer) int64 { return p.echoNS }
	return min(n.majorityNS(now, n.decree.Voters, echo), n.majorityNS(now, n.decree.Before, echo))
}

// quorate reports whether a majority follows our decree.
func (n *Node) quorate(now Instant) bool { return now.MonoNS-n.followedNS(now) < int64(QuorumFor) }

// follow goes on under d if it is newer.
func (n *Node) follow(now Instant, d Decree) {
	if d.Epoch <= n.epoch && !(d.Epoch == n.epoch && n.decree.Epoch != d.Epoch) {
		return
	}
	newer := d.Epoch > n.epoch
	n.decree = d
	n.quorateNS = 0
	for _, p := range n.peers {
		p.echoNS = -1 << 62
		if p.epoch == d.Epoch {
			p.echoNS = 0
		}
	}
	if newer {
		n.enter(now, d.Epoch)
	} else {
		n.beginShipping() // to others than was thought
	}
	for _, b := range n.shelf {
		b.waiting = nil
	}
	for _, m := range n.members {
		if m != n.o.Self {
			n.send(m, Message{Kind: MsgDecree, Decree: &d})
		}
	}
}

// govern proposes a decree when one is called for. Only the first of the voters
// that are there does, so that proposals do not fight.
func (n *Node) govern(now Instant) {
	if n.startNS == 0 {
		n.startNS = now.MonoNS
	}
	up := now.MonoNS - n.startNS
	// A node that has just started may have followed a decree in its earlier life.
	// It does not count before it has asked around.
	if !n.sure && up > int64(settleTime) {
		n.sure = n.enough(now)
	}
	if !n.sure || now.MonoNS-n.governNS < int64(time.Second) {
		return
	}
	any := func(p *peer) int64 { return p.anyNS }
	voters := n.decree.Voters
	if len(voters) == 0 {
		voters = n.stables()
	}
	if now.MonoNS-n.majorityNS(now, voters, any) > int64(QuorumFor) || n.leader(now, voters) != stable(n.o.Self) {
		n.redisLostNS, n.redisHereNS = 0, 0
		return
	}
	next := Decree{By: n.decree.By, Before: n.decree.Voters, Voters: n.nextVoters(now, voters), Homes: n.decree.Homes}
	highest := n.epoch
	for _, p := range n.peers {
		if now.MonoNS-p.heardNS < int64(silentFor) {
			highest = max(highest, p.epoch)
		}
	}
	redis := n.redisWanted(now, voters)
	if redis {
		next.By, next.Homes = ByRedis, nil
	} else {
		next.By, next.Homes, next.Whole = ByHome, n.nextHomes(now), n.decree.Whole
		if n.keeps() && n.whole == n.epoch {
			next.Whole = n.decree.Homes
		}
	}
	first := n.decree.Epoch == 0 || n.decree.Epoch != n.epoch
	if next.By == ByRedis && n.epoch == 0 && n.redis.knows == 0 {
		return // the register's epoch comes first
	}
	changed := next.By != n.decree.By || !slices.Equal(next.Homes, n.decree.Homes) || !slices.Equal(next.Voters, n.decree.Voters) || highest > n.epoch
	if !first && !changed {
		return
	}
	n.governNS = now.MonoNS
	if next.By == ByRedis && (first || n.decree.By == ByRedis) && highest == n.epoch {
		// Redis keeps the books and its epoch: only the voters are new.
		next.Epoch = n.epoch
		n.decree = next
		for _, m := range n.members {
			if m != n.o.Self {
				n.send(m, Message{Kind: MsgDecree, Decree: &next})
			}
		}
		return
	}
	next.Epoch = (max(highest, n.redis.knows)>>16+1)<<16 | uint64(stable(n.o.Self))&0xffff
	n.follow(now, next)
	if next.By == ByRedis {
		n.redis.claim = true
	}
}

// enough reports whether more than half of the nodes that there should be are in
// touch, so that what a majority had decided before this node started is known.
func (n *Node) enough(now Instant) bool {
	there := map[uint32]bool{stable(n.o.Self): true}
	for m, p := range n.peers {
		if now.MonoNS-p.anyNS < int64(QuorumFor) {
			there[stable(m)] = true
		}
	}
	return 2*len(there) > max(n.o.Nodes, len(n.stables()))
}

// stables are the stable halves of all members.
func (n *Node) stables() (list []uint32) {
	for _, m := range n.members {
		if !slices.Contains(list, stable(m)) {
			list = append(list, stable(m))
		}
	}
	slices.Sort(list)
	return list
}

// leader is the first voter that is there.
func (n *Node) leader(now Instant, voters []uint32) uint32 {
	least := stable(n.o.Self)
	for m, p := range n.peers {
		if now.MonoNS-p.anyNS < int64(QuorumFor) && p.sure && stable(m) < least && slices.Contains(voters, stable(m)) {
			least = stable(m)
		}
	}
	return least
}

// nextVoters adds one member that is here to stay, or drops one that has long
// been gone: one at a time, and only when a majority follows.
func (n *Node) nextVoters(now Instant, voters []uint32) []uint32 {
	if n.decree.Epoch == 0 || n.decree.Epoch != n.epoch {
		return voters
	}
	if !n.quorate(now) && n.decree.By == ByHome || now.MonoNS-n.epochNS < int64(10*time.Second) {
		return voters
	}
	for _, m := range n.members {
		p := n.peers[m]
		if p != nil && !slices.Contains(voters, stable(m)) && now.MonoNS-p.anyNS < int64(QuorumFor) && now.MonoNS-n.joinedNS[m] > int64(10*time.Second) {
			next := append(slices.Clone(voters), stable(m))
			slices.Sort(next)
			return next
		}
	}
	for i, v := range voters {
		if !slices.Contains(n.stables(), v) && now.MonoNS-n.lastSeen(v) > int64(10*time.Minute) {
			return slices.Delete(slices.Clone(voters), i, i+1)
		}
	}
	return voters
}

// lastSeen is when a voter that is no member was last heard of.
func (n *Node) lastSeen(v uint32) int64 {
	latest := n.startNS
	for r, at := range n.heard {
		if uint32(r>>32) == v {
			latest = max(latest, at)
		}
	}
	return latest
}

// nextHomes are the members that keep books: those that have answered lately.
func (n *Node) nextHomes(now Instant) []Member {
	homes := []Member{n.o.Self}
	for m, p := range n.peers {
		was := slices.Contains(n.decree.Homes, m)
		quiet := now.MonoNS - p.anyNS
		if p.sure && (was && quiet < int64(silentFor) || quiet < int64(QuorumFor) && now.MonoNS-n.joinedNS[m] > int64(settleTime)) {
			homes = append(homes, m)
		}
	}
	slices.Sort(homes)
	return homes
}

// redisWanted says whether Redis should keep the books: it goes on as it is until
// a majority has been of the other mind for a while.
func (n *Node) redisWanted(now Instant, voters []uint32) bool {
	if !n.o.Redis {
		return false
	}
	with := func(up bool) int64 {
		me := !n.redis.down && n.redis.beat > 0
		if len(n.members) <= 1 {
			if me == up {
				return now.MonoNS
			}
			return -1 << 62
		}
		seen := 0
		for _, v := range voters {
			is := v == stable(n.o.Self) && me == up
			for m, p := range n.peers {
				is = is || stable(m) == v && now.MonoNS-p.anyNS < int64(QuorumFor) && p.redisUp == up
			}
			if is {
				seen++
			}
		}
		if 2*seen > len(voters) {
			return now.MonoNS
		}
		return -1 << 62
	}
	if n.decree.Epoch == 0 && n.epoch == 0 {
		return with(false) != now.MonoNS || now.MonoNS-n.startNS < int64(settleTime+redisGone)
	}
	if n.decree.By == ByRedis {
		if with(false) != now.MonoNS {
			n.redisLostNS = 0
			return true
		}
		if n.redisLostNS == 0 {
			n.redisLostNS = now.MonoNS
		}
		return now.MonoNS-n.redisLostNS < int64(redisGone)
	}
	all := !n.redis.down && n.redis.beat > 0 // whoever could not reach it could not present its rights
	for _, p := range n.peers {
		all = all && p.redisUp
	}
	if !all {
		n.redisHereNS = 0
		return false
	}
	if n.redisHereNS == 0 {
		n.redisHereNS = now.MonoNS
	}
	return now.MonoNS-n.redisHereNS > int64(redisBack)
}

// rendezvous scores a home for a key: a multiplication folded, twice, over the half
// of its name that outlives restarts.
func rendezvous(m Member, k Key) uint64 {
	h, l := bits.Mul64(uint64(stable(m))^0xa0761d6478bd642f, k[0]^0xe7037ed1a0b428db)
	h, l = bits.Mul64(h^l^0x8ebc6af09c88c6e3, k[1]+0x589965cc75374cc3)
	return h ^ l
}

// owners are a key's home and its standby; 0 for one that there is not.
func owners(homes []Member, k Key) (home, standby Member) {
	var first, second uint64
	for _, m := range homes {
		switch s := rendezvous(m, k); {
		case home == 0 || s > first:
			home, standby, first, second = m, home, s, first
		case standby == 0 || s > second:
			standby, second = m, s
		}
	}
	return home, standby
}

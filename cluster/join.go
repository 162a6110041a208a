package cluster

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	joinFirst   = 250 * time.Millisecond // until the second attempt
	joinSoon    = 2 * time.Second        // between the exchanges of a newcomer
	joinSlowest = 15 * time.Second       // between attempts, and between looks at whether all is well
	joinGrowth  = 1.7
	resolveTime = 3 * time.Second
	maxLost     = 256 // addresses of failed members that are tried again
	lostTries   = 3   // of them at a time
)

// keepJoined reaches for the join list until a member answers, and goes on to
// look after it: an address whose node is not a member is tried again, as is one
// of a member that failed. That is how halves of a split find each other after
// the library has given up (it tries the dead for 30 s), and how a node that
// started alone finds company.
//
// A newcomer exchanges members with two more, seconds later: those that came
// while it was coming are otherwise known by gossip alone, which leaves somebody
// out now and then, until the next push/pull.
func (n *Node) keepJoined() {
	wait, exchanges := joinFirst, 2
	for {
		missing := n.missing()
		if len(missing) > 0 {
			n.join(missing)
		}
		switch others := n.roster.others(); {
		case len(others) > 0 && exchanges > 0:
			if wait == joinSoon {
				n.join([]string{others[rand.IntN(len(others))].node.Load().Address()})
				exchanges--
			}
			wait = joinSoon
		case len(others) > 0 || len(missing) == 0:
			wait = joinSlowest
		}
		select {
		case <-time.After(wait/2 + rand.N(wait)): // nodes that start together must not knock together
		case <-n.stop:
			return
		}
		if wait != joinSoon {
			wait = min(time.Duration(float64(wait)*joinGrowth), joinSlowest)
		}
	}
}

// missing returns the addresses where a member should be and none is.
func (n *Node) missing() []string {
	have := map[netip.AddrPort]bool{}
	for _, m := range n.Members() {
		if m.State <= Suspect {
			have[m.Address] = true
		}
	}
	var all []string
	add := func(a netip.AddrPort) {
		if !have[a] && !slices.Contains(all, a.String()) {
			all = append(all, a.String())
		}
	}
	for _, target := range n.o.Config.Join {
		for _, a := range n.resolve(target) {
			add(a)
		}
	}
	for _, a := range n.lost.some() {
		add(a)
	}
	return all
}

// resolve returns the addresses behind one entry of the join list. A name may
// stand for many.
func (n *Node) resolve(target string) []netip.AddrPort {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		host, port = target, ""
		if _, p, err := net.SplitHostPort(n.id.bind); err == nil {
			port = p
		}
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		number = 7946
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), uint16(number))}
	}
	ctx, cancel := context.WithTimeout(n.ctx, resolveTime)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		n.counters.joinFailures.Add(1)
		n.counters.joinLog.Warn(n.log, "name of the join list not found", attrError(err))
		return nil
	}
	var all []netip.AddrPort
	for _, ip := range ips {
		all = append(all, netip.AddrPortFrom(ip.Unmap(), uint16(number)))
	}
	return all
}

func (n *Node) join(addresses []string) {
	for _, a := range addresses {
		select {
		case <-n.stop:
			return
		default:
		}
		n.counters.joins.Add(1)
		if _, err := n.list.Load().Join([]string{a}); err != nil {
			n.counters.joinFailures.Add(1)
			n.counters.joinLog.Warn(n.log, "no member reached, trying again", attrError(err))
		}
	}
}

// lostPeers are addresses of members that failed. They outlive the library's
// memory of them.
type lostPeers struct {
	mu    sync.Mutex
	addrs []netip.AddrPort
}

func (l *lostPeers) add(a netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.addrs, a) {
		l.addrs = append(l.addrs, a)
		l.addrs = l.addrs[max(0, len(l.addrs)-maxLost):]
	}
}

func (l *lostPeers) forget(a netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addrs = slices.DeleteFunc(l.addrs, func(x netip.AddrPort) bool { return x == a })
}

// some returns a few, at random.
func (l *lostPeers) some() []netip.AddrPort {
	l.mu.Lock()
	defer l.mu.Unlock()
	var few []netip.AddrPort
	for _, i := range rand.Perm(len(l.addrs))[:min(lostTries, len(l.addrs))] {
		few = append(few, l.addrs[i])
	}
	return few
}

package sim

import (
	"time"

	"sluice/limiter/lease"
)

// upgrade replaces the node's process, as limiter.Handover does it: requests wait,
// what is in hand goes back for as long as that is waited for, and the successor begins
// with what was left to it and with empty purses, a moment later or, on a machine that
// is short of breath, seconds later.
func (n *node) upgrade() {
	if !n.alive || n.paused || n.held {
		return
	}
	w, before := n.w, n.node
	n.held = true
	n.node.Leave(n.clock())
	n.flush()
	w.after(time.Duration(w.rnd.Int64N(int64(40*time.Millisecond))), func() {
		if n.node != before {
			return // it died meanwhile, and is another
		}
		n.held = false
		if !n.alive || n.paused {
			return // it is given up
		}
		c := n.node.Counts()
		w.Questions += int64(c.Takes + c.Reports)
		for _, k := range w.keysOf(n) {
			w.Refused += int64(len(n.purses[k].waiting))
		}
		n.nonce++
		n.name = lease.Member(uint64(n.id+1)<<32 | uint64(n.nonce))
		n.purses = map[int]*purse{}
		n.node = n.newNode()
		before.Inheritance(n.clock(), true, func(part []byte) {
			if err := n.node.Inherit(part); err != nil {
				panic("BUG: " + err.Error())
			}
		})
		n.name = n.node.Member()
		n.againNS = 0
		gap := 20*time.Millisecond + time.Duration(w.rnd.ExpFloat64()*float64(150*time.Millisecond))
		if !w.Calm && w.rnd.IntN(10) == 0 {
			gap += time.Duration(w.rnd.Int64N(int64(15 * time.Second)))
		}
		n.paused = true
		after := n.node
		w.after(gap, func() {
			if n.node != after || !n.alive {
				return
			}
			n.paused = false
			n.node.SetMembers(n.clock(), []lease.Member{n.name}) // it has not met the others yet
			n.node.Tick(n.clock())
			n.flush()
		})
	})
}

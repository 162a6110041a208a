package limiter

import (
	"time"

	"sluice/limiter/lease"
)

// Times of giving back before another process takes over.
const (
	// giveBackWithin bounds it: requests wait meanwhile. An authority that does not
	// answer within it hears nothing; what was held counts as used then.
	giveBackWithin = 40 * time.Millisecond
	giveBackLook   = time.Millisecond
)

// settle gives back all that this node holds and returns when the authority knows,
// or cannot be reached in time. Nothing may be spent meanwhile. It returns what
// the successor goes on with, in parts; from then on this node hears nobody, and does
// nothing by itself.
func (f *fleet) settle() (inheritance [][]byte) {
	end := time.Now().Add(giveBackWithin)
	settled := make(chan bool)
	look := func(n *lease.Node) { n.Leave(f.now()); settled <- false } // said, not yet sent
	for {
		select {
		case f.look <- look:
		case <-time.After(4 * giveBackWithin): // nobody runs
			return nil
		}
		if <-settled {
			return inheritance
		}
		time.Sleep(giveBackLook)
		look = func(n *lease.Node) {
			done := n.Settled() || time.Now().After(end)
			if done {
				f.deaf.Store(true)
				n.Inheritance(f.now(), bootIsShared, func(part []byte) { inheritance = append(inheritance, part) })
			}
			settled <- done
		}
	}
}

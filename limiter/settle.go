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
// or cannot be reached in time. Nothing may be spent meanwhile.
func (f *fleet) settle() {
	deadline := time.NewTimer(giveBackWithin)
	defer deadline.Stop()
	settled := make(chan bool)
	look := func(n *lease.Node) { n.Leave(f.now()); settled <- false } // said, not yet sent
	for {
		select {
		case f.look <- look:
		case <-deadline.C:
			return
		}
		if <-settled {
			return
		}
		time.Sleep(giveBackLook)
		look = func(n *lease.Node) { settled <- n.Settled() }
	}
}

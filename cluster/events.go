package cluster

import "sync/atomic"

// eventQueue is how many events wait for their subscribers; more are dropped and
// counted, and Members tells what they would have told.
const eventQueue = 1024

type events struct {
	subscribers []func(Event)
	queue       chan Event
	emitted     atomic.Uint64
	dropped     atomic.Uint64
}

// OnEvent has f called when membership changes, one event at a time and in
// order. It must be called before [Node.Run]. f may call the node.
func (n *Node) OnEvent(f func(Event)) { n.events.subscribers = append(n.events.subscribers, f) }

// emit never blocks: the library's lock may be held.
func (e *events) emit(ev Event) {
	e.emitted.Add(1)
	select {
	case e.queue <- ev:
	default:
		e.dropped.Add(1)
	}
}

func (n *Node) deliverEvents() {
	for {
		select {
		case ev := <-n.events.queue:
			n.log.Info("member "+ev.Kind.String(), "node", ev.Member.Name, "address", ev.Member.Address.String(),
				"replica", ev.Member.ID.String(), "state", ev.Member.State.String())
			for _, f := range n.events.subscribers {
				f(ev)
			}
		case <-n.stop:
			return
		}
	}
}

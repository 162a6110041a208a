package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"sluice/cluster/facts"
)

// Node is this process in the cluster.
type Node struct {
	o     Options
	id    identity
	self  NodeID
	log   *slog.Logger
	facts *facts.Store
	owned bool // facts is the node's own
	born  time.Time

	successor bool // of a process that handed over

	transport Transport
	sockets   *socketTransport // transport, when it is ours
	keyring   *keyring
	budget    int // bytes of a frame that fit a datagram

	roster     *roster
	events     events
	counters   counters
	broadcasts broadcasts
	pending    pendingFacts
	keyAsks    keyAsks
	lag        lag
	meta       atomic.Pointer[[]byte] // of the application
	metaNews   chan struct{}
	syncs      chan syncJob
	lost       lostPeers
	past       []remembered // of an earlier life; not changed after New

	topicsMu sync.Mutex
	topics   map[uint32]*Topic // not changed after Run has started
	started  bool

	list atomic.Pointer[memberlist.Memberlist]

	lifeMu sync.Mutex // guards leaving and ending the library, which panics when they come in the wrong order
	ended  bool
	ctx    context.Context // ends when the node does
	cancel context.CancelFunc
	stop   <-chan struct{} // ctx.Done()
	done   chan struct{}   // closed when Run has returned

	spawnMu  sync.Mutex
	stopping bool
	loops    sync.WaitGroup
}

// New checks the options, binds the sockets unless they are given, and loads the
// facts. It starts nothing; [Node.Run] does. Without Run, [Node.Close] gives the
// sockets back. The error wraps ErrAddressTaken when the port is another's.
func New(o Options) (*Node, error) {
	var h *handover
	if o.Handover != nil {
		var err error
		if h, err = parseHandover(o.Handover); err != nil {
			return nil, fmt.Errorf("cluster: %w", err)
		}
	}
	id, err := o.identity(h)
	if err != nil {
		return nil, err
	}
	o.Handover = nil // it holds keys
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	n := &Node{
		o: o, id: id, born: time.Now(), self: makeNodeID(id.name, id.nonce), log: o.Logger,
		budget: datagramBudget(id.label), metaNews: make(chan struct{}, 1), syncs: make(chan syncJob, 1024),
		topics: map[uint32]*Topic{}, done: make(chan struct{}),
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.stop = n.ctx.Done()
	n.o.Config.Secret, n.o.Config.AcceptSecrets = "", nil
	n.meta.Store(&o.Meta)
	n.roster = newRoster(n)
	n.events.queue = make(chan Event, eventQueue)
	n.broadcasts.init(n)
	n.pending.wake = make(chan struct{}, 1)
	if n.keyring, err = newKeyring(id.keys); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}

	if n.facts = o.Store; n.facts == nil {
		n.owned = true
		o.Facts.Node, o.Facts.Now = uint64(n.self), o.Now
		o.Facts.Logger = cmp.Or(o.Facts.Logger, o.Logger)
		if n.facts, err = facts.Open(o.Facts); err != nil {
			return nil, fmt.Errorf("cluster: %w", err)
		}
	}
	if h != nil {
		n.successor = true
		if len(h.facts) > 0 {
			if err := n.facts.Restore(h.facts); err != nil {
				return nil, fmt.Errorf("cluster: handover: %w", err)
			}
		}
		n.broadcasts.seq.Store(h.seq) // before peers are made, which count on from there
		n.roster.inherit(h)
	}
	if o.PeersFile != "" {
		n.recall()
	}

	n.transport = o.Transport
	if n.transport == nil {
		if o.Sockets == nil {
			if o.Sockets, err = Listen(id.bind); err != nil {
				return nil, err
			}
		}
		n.sockets = newSocketTransport(o.Sockets, id.bind, id.advertise, n.log)
		n.transport = n.sockets
	}
	n.facts.OnChange(n.pending.add)
	return n, nil
}

// ID names this replica.
func (n *Node) ID() NodeID { return n.self }

// Name is this node's name.
func (n *Node) Name() string { return n.id.name }

// Facts is the store of what all nodes agree on.
func (n *Node) Facts() *facts.Store { return n.facts }

// Addr is where the sockets listen; the zero AddrPort with a foreign transport.
func (n *Node) Addr() netip.AddrPort {
	if n.sockets == nil {
		return netip.AddrPort{}
	}
	ip, port, err := n.sockets.FinalAdvertiseAddr("", 0)
	if err != nil {
		return netip.AddrPort{}
	}
	a, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(a.Unmap(), uint16(port))
}

// Run joins the cluster and takes part until ctx ends, Close or Handover is
// called. A node that finds nobody is a cluster of one and keeps trying. Run may
// be called once. When it returns nothing of this package runs any more; a probe
// of the gossip library that was under way ends within seconds and reaches
// nothing.
func (n *Node) Run(ctx context.Context) error {
	defer close(n.done)
	n.topicsMu.Lock()
	n.started = true
	n.topicsMu.Unlock()

	if n.sockets != nil {
		n.sockets.read()
	}
	n.lifeMu.Lock()
	if n.ended {
		n.lifeMu.Unlock()
		return nil
	}
	list, err := memberlist.Create(n.profile())
	if err != nil {
		n.lifeMu.Unlock()
		n.end()
		return fmt.Errorf("cluster: %w", err)
	}
	n.list.Store(list)
	n.lifeMu.Unlock()
	n.log.Info("gossip started", "node", n.id.name, "replica", n.self.String(), "label", n.id.label, "generation", n.id.generation)

	for _, t := range n.topics {
		n.spawn(func() { t.run(n.stop) })
	}
	n.spawn(n.deliverEvents)
	n.spawn(n.keepJoined)
	n.spawn(n.pulse)
	n.spawn(n.gossipFacts)
	n.spawn(n.syncFacts)
	if n.owned {
		n.spawn(func() { n.facts.Run(n.ctx) }) // what it could not save, Run tries once more
	}
	n.spawn(n.publishMeta)
	if n.o.PeersFile != "" {
		n.spawn(n.remember)
	}

	select {
	case <-ctx.Done():
	case <-n.stop:
	}
	n.end()
	n.loops.Wait()
	if !n.owned {
		return nil
	}
	return n.facts.Save()
}

// spawn starts a goroutine that Run waits for, unless it is ending already. f
// must return soon after n.stop is closed.
func (n *Node) spawn(f func()) bool {
	n.spawnMu.Lock()
	defer n.spawnMu.Unlock()
	if n.stopping {
		return false
	}
	n.loops.Go(f)
	return true
}

// end stops everything, without saying goodbye.
func (n *Node) end() {
	n.cancel()
	n.spawnMu.Lock()
	n.stopping = true
	n.spawnMu.Unlock()
	n.lifeMu.Lock()
	defer n.lifeMu.Unlock()
	if n.ended {
		return
	}
	n.ended = true
	n.facts.OnChange(nil) // what is written from now on, digests find
	if list := n.list.Load(); list != nil {
		list.Shutdown() // its error is the transport's, which it has logged
	} else {
		n.transport.Shutdown()
	}
}

// Close ends the node without saying goodbye: the others find out. Run then
// returns. The sockets are closed in this process, with or without Run.
func (n *Node) Close() {
	n.end()
	n.topicsMu.Lock()
	started := n.started
	n.topicsMu.Unlock()
	if started {
		<-n.done
	}
}

// Leave tells the others that this node goes, so that they need not find out. It
// returns when the message has spread, or with an error at ctx's deadline, or
// after five seconds without one.
// Run goes on: end its context afterwards.
func (n *Node) Leave(ctx context.Context) error {
	n.lifeMu.Lock()
	defer n.lifeMu.Unlock()
	list := n.list.Load()
	if n.ended || list == nil {
		return nil
	}
	n.sayLeaving()
	timeout := 5 * time.Second
	if t, ok := ctx.Deadline(); ok {
		timeout = max(time.Until(t), time.Millisecond)
	}
	if err := list.Leave(timeout); err != nil {
		return fmt.Errorf("cluster: leave: %w", err)
	}
	return nil
}

// errNoHandover is for transports of others.
var errNoHandover = errors.New("the transport cannot stop reading")

// profile is the gossip library's configuration: LAN timing, and every default
// of its that is unsafe here put right.
func (n *Node) profile() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = n.id.name
	c.Transport = n.transport
	c.Label = n.id.label
	c.Keyring = n.keyring.ring
	c.GossipVerifyIncoming, c.GossipVerifyOutgoing = true, true
	c.EnableCompression = false // LZW; frames are compressed with S2
	c.UDPBufferSize = datagram
	c.DeadNodeReclaimTime = 30 * time.Second
	d := delegate{n}
	c.Delegate, c.Events, c.Alive, c.Conflict, c.Ping = d, d, d, d, d
	c.Logger = log.New(&logBridge{n: n}, "", 0)
	if n.o.Profile != nil {
		n.o.Profile(c)
	}
	return c
}

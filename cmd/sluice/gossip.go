package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/cloudflare/tableflip"

	"sluice/admin"
	"sluice/cluster"
	"sluice/cluster/facts"
	"sluice/conf"
	"sluice/telemetry"
)

// gossip is this process's part in the cluster: nothing without a cluster
// section, else a member from the moment that it serves until it drains. In an
// upgrade the member passes from one process to the next: same name, same
// sockets, and one reader of them at a time.
type gossip struct {
	conf  *conf.Cluster // nil: alone
	node  conf.Node
	id    cluster.NodeID // of this process's limiter and, unless it takes over, of its member
	peers *peers
	meta  func() []byte // what others see beside the name
	books *books
	facts *facts.Store
	line  *lineage
	fds   *tableflip.Fds
	log   *slog.Logger

	// introduce is called with each member before it runs, to name its topics.
	introduce []func(*cluster.Node)

	mu     sync.Mutex // guards the fields below
	base   *cluster.Sockets
	member *cluster.Node // nil: not now
	run    *runner
	given  []byte // what the successor was handed; nil: nothing
}

func newGossip(doc *conf.Document, known *facts.Store, line *lineage, log *slog.Logger) *gossip {
	id := cluster.NewID(doc.Node.Name)
	return &gossip{
		conf: doc.Cluster, node: doc.Node, id: id, peers: &peers{self: id}, books: new(books), meta: func() []byte { return nil },
		facts: known, line: line, fds: line.upgrades.Fds, log: log,
	}
}

// become makes this process's limiter the one that its predecessor's was. It is called
// before join.
func (g *gossip) become(limiter cluster.NodeID) { g.id, g.peers.self = limiter, limiter }

// bind takes over the predecessor's sockets, or opens them. Nothing reads them yet.
func (g *gossip) bind() error {
	if g.conf == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	tcp, err := g.fds.Listener("tcp", g.conf.Bind)
	if err != nil {
		return err
	}
	udp, err := g.fds.PacketConn("udp", g.conf.Bind)
	if err != nil {
		return err
	}
	if tcp != nil && udp != nil {
		g.base = &cluster.Sockets{TCP: tcp, UDP: udp}
		return nil
	}
	if g.base, err = cluster.Listen(g.conf.Bind); err != nil {
		return err
	}
	return errors.Join(
		g.fds.AddListener("tcp", g.conf.Bind, g.base.TCP.(*net.TCPListener)),
		g.fds.AddPacketConn("udp", g.conf.Bind, g.base.UDP.(*net.UDPConn)))
}

// join makes this process a member, as its predecessor's successor when there is
// something handed over. It does nothing when it is one.
func (g *gossip) join(handover []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conf == nil || g.member != nil {
		return nil
	}
	sockets, err := duplicate(g.base)
	if err != nil {
		return err
	}
	member, err := cluster.New(cluster.Options{
		Name: g.node.Name, ID: g.id, Meta: g.meta(), Config: *g.conf, Version: version, Generation: uint32(g.line.generation),
		Sockets: sockets, Handover: handover, Store: g.facts, Logger: g.log,
		PeersFile: filepath.Join(g.node.DataDir, "peers.json"),
	})
	if err != nil {
		return fmt.Errorf("join the cluster: %w", err)
	}
	g.peers.attach(member)
	g.books.attach(member)
	for _, f := range g.introduce {
		f(member)
	}
	g.member, g.run, g.given = member, goRun(member.Run), nil
	return nil
}

// duplicate gives a member descriptors of its own: it closes them when it ends,
// and the sockets must outlive it.
func duplicate(base *cluster.Sockets) (*cluster.Sockets, error) {
	tcp, err := base.TCP.(*net.TCPListener).File()
	if err != nil {
		return nil, err
	}
	defer tcp.Close()
	udp, err := base.UDP.(*net.UDPConn).File()
	if err != nil {
		return nil, err
	}
	defer udp.Close()
	l, err := net.FileListener(tcp)
	if err != nil {
		return nil, err
	}
	p, err := net.FilePacketConn(udp)
	if err != nil {
		l.Close()
		return nil, err
	}
	return &cluster.Sockets{TCP: l, UDP: p}, nil
}

// stop says goodbye and ends. After a handover there is nobody to say it for.
func (g *gossip) stop(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.member == nil {
		return nil
	}
	err := g.member.Leave(ctx)
	g.peers.detach()
	err = errors.Join(err, g.run.stop(ctx))
	g.member = nil
	return err
}

// part is the member's in an upgrade.
func (g *gossip) part() part {
	return part{
		name: "cluster",
		give: func(send func([]byte) error) error {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.member == nil {
				return nil
			}
			state, err := g.member.Handover()
			if err != nil {
				return err
			}
			ended, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if err := g.run.stop(ended); err != nil {
				return err
			}
			g.peers.detach()
			g.member, g.given = nil, state
			return send(state)
		},
		take: g.join,
		resume: func() error {
			g.mu.Lock()
			state := g.given
			g.mu.Unlock()
			if state == nil {
				return nil
			}
			return g.join(state)
		},
	}
}

// now returns the member, nil when this process is none.
func (g *gossip) now() *cluster.Node {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.member
}

// keyStatus is one member's keys, by fingerprint.
type keyStatus struct {
	Name    string   `json:"name"`
	Primary string   `json:"primary"`
	Keys    []string `json:"keys"`
	Error   string   `json:"error,omitempty"`
}

// Keys asks or changes the gossip keys of all members, for admin.Cluster.
func (g *gossip) Keys(ctx context.Context, change admin.KeyChange) (any, error) {
	n := g.now()
	if n == nil {
		return nil, errNoCluster
	}
	var list []cluster.KeyStatus
	var err error
	switch change.Action {
	case "":
		list = n.Keys(ctx)
	case "install":
		list, err = n.InstallKey(ctx, change.Secret)
	case "use":
		list, err = n.UseKey(ctx, change.Fingerprint)
	case "remove":
		list, err = n.RemoveKey(ctx, change.Fingerprint)
	}
	out := make([]keyStatus, len(list))
	for i, k := range list {
		out[i] = keyStatus{Name: k.Name, Primary: k.Primary, Keys: k.Keys}
		if k.Err != nil {
			out[i].Error = k.Err.Error()
		}
	}
	return out, err
}

// collect reports the cluster to the metrics.
func (g *gossip) collect(emit telemetry.Emit) {
	n := g.now()
	if n == nil {
		return
	}
	s := n.Stats()
	for _, state := range []cluster.State{cluster.Alive, cluster.Suspect, cluster.Dead, cluster.Left} {
		emit("sluice_cluster_members", float64(s.Members[state]), state.String())
	}
	emit("sluice_gossip_bytes_total", float64(s.PacketBytesIn+s.StreamBytesIn), "in")
	emit("sluice_gossip_bytes_total", float64(s.PacketBytesOut+s.StreamBytesOut), "out")
	for reason, count := range s.Dropped {
		emit("sluice_gossip_dropped_total", float64(count), reason)
	}
	emit("sluice_gossip_lag_seconds", s.Facts.LagMax.Seconds())
	for _, p := range s.Peers {
		emit("sluice_cluster_clock_skew_seconds", p.Skew.Seconds(), p.Name)
	}
}

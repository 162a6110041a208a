package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/cluster"
	"sluice/limiter"
)

// clusterView answers the operator's questions about the cluster; it implements
// admin.Cluster.
type clusterView struct {
	*gossip
	app *app
}

// errNoCluster is the answer to questions about a cluster that there is not.
var errNoCluster = errors.New("this node is in no cluster: its configuration has no cluster section")

// clusterStatus is what GET /api/v1/cluster answers.
type clusterStatus struct {
	Node    string            `json:"node"`
	Address string            `json:"address"`
	Members []memberStatus    `json:"members"`
	Peers   []peerStatus      `json:"peers"`
	Dropped map[string]uint64 `json:"dropped,omitempty"`
	Facts   int               `json:"facts"`
	Gossip  gossipStatus      `json:"gossip"`
	Limits  limitsStatus      `json:"limits"`
}

type memberStatus struct {
	Name       string    `json:"name"`
	Address    string    `json:"address"`
	State      string    `json:"state"`
	Self       bool      `json:"self,omitempty"`
	Since      time.Time `json:"since"`
	Version    string    `json:"version"`
	Generation uint32    `json:"generation"`
}

type peerStatus struct {
	Name   string  `json:"name"`
	SkewMS float64 `json:"skew_ms"`
	RTTMS  float64 `json:"rtt_ms"`
}

// gossipStatus is what this process has sent and received.
type gossipStatus struct {
	BytesIn  uint64  `json:"bytes_in"`
	BytesOut uint64  `json:"bytes_out"`
	LagMS    float64 `json:"lag_ms"` // of the oldest fact of the last minute or two when it came
}

// limitsStatus is who keeps the books of limits, and how this node fares with it.
type limitsStatus struct {
	Authority string       `json:"authority"` // redis, home, none
	Epoch     uint64       `json:"epoch"`
	Ready     bool         `json:"ready"` // it grants
	Fenced    bool         `json:"fenced"`
	Keys      int          `json:"keys"`  // with rights or uses at this node
	Books     int          `json:"books"` // kept at this node, copies too
	Takes     uint64       `json:"takes"`
	Reports   uint64       `json:"reports"`
	Recalls   uint64       `json:"recalls"`
	Reclaims  uint64       `json:"reclaims"`
	Redis     *redisStatus `json:"redis,omitempty"`
}

type redisStatus struct {
	Up        bool     `json:"up"`
	Addresses []string `json:"addresses"`
	LatencyMS float64  `json:"latency_ms"` // of the last pipeline
	Errors    uint64   `json:"errors"`
}

// Status implements admin.Cluster.
func (v *clusterView) Status() (any, error) {
	doc, _ := v.app.reloader.document()
	s := clusterStatus{Node: doc.Node.Name, Members: []memberStatus{}, Peers: []peerStatus{}, Limits: v.limits()}
	n := v.now()
	switch {
	case n != nil:
		v.fill(&s, n)
	case v.conf != nil:
		return nil, errors.New("this process is no member of the cluster at the moment: it starts, or another takes over from it")
	case doc.Redis == nil:
		return nil, errNoCluster
	}
	return s, nil
}

func (v *clusterView) fill(s *clusterStatus, n *cluster.Node) {
	stats := n.Stats()
	s.Node, s.Address, s.Dropped, s.Facts = n.Name(), n.Addr().String(), stats.Dropped, stats.Facts.Live
	s.Gossip = gossipStatus{
		BytesIn: stats.PacketBytesIn + stats.StreamBytesIn, BytesOut: stats.PacketBytesOut + stats.StreamBytesOut, LagMS: milliseconds(stats.Facts.LagMax),
	}
	for _, m := range n.Members() {
		s.Members = append(s.Members, memberStatus{m.Name, m.Address.String(), m.State.String(), m.Self, m.Since, m.Version, m.Generation})
	}
	for _, p := range stats.Peers {
		s.Peers = append(s.Peers, peerStatus{p.Name, milliseconds(p.Skew), milliseconds(p.RTT)})
	}
}

func (v *clusterView) limits() limitsStatus {
	c := v.app.limits.Stats().Cluster
	s := limitsStatus{
		Authority: c.Authority, Epoch: c.Epoch, Ready: c.Ready, Fenced: c.Fenced, Keys: c.Keys, Books: c.Books,
		Takes: c.Takes, Reports: c.Reports, Recalls: c.Recalls, Reclaims: c.Reclaimed,
	}
	if doc, _ := v.app.reloader.document(); doc.Redis != nil {
		s.Redis = &redisStatus{Up: c.RedisUp, Addresses: doc.Redis.Addresses, LatencyMS: milliseconds(c.RedisLatency), Errors: c.RedisFails}
	}
	return s
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// quotaStatus is what GET /api/v1/cluster/quotas/{tenant} answers.
type quotaStatus struct {
	Tenant    string  `json:"tenant"`
	Policy    string  `json:"policy"`
	Known     bool    `json:"known"`     // there are books; the numbers are 0 otherwise
	Authority string  `json:"authority"` // who keeps them: local, redis, home, none
	Home      string  `json:"home,omitempty"`
	Standby   string  `json:"standby,omitempty"`
	Limit     int64   `json:"limit"`
	Used      int64   `json:"used"` // in the window, as reported
	Held      int64   `json:"held"` // by nodes, what they used and have not reported among it
	Free      int64   `json:"free"`
	Nodes     []share `json:"nodes"`
}

// share is what one life of a node holds. A node begins a new life when it starts,
// and when it finds that it had been cut off.
type share struct {
	Node      string `json:"node"`
	Life      string `json:"life"`
	Held      int64  `json:"held"`
	Used      int64  `json:"used"` // since the life began
	Reclaimed bool   `json:"reclaimed,omitempty"`
}

// quotaWait bounds the wait for the one who keeps the books.
const quotaWait = 2 * time.Second

// Quota implements admin.Cluster.
func (v *clusterView) Quota(ctx context.Context, tenant, route string) (any, error) {
	q, err := v.app.gateway.Quota(tenant, route)
	if err != nil {
		return nil, err
	}
	s := quotaStatus{Tenant: tenant, Policy: q.Policy, Nodes: []share{}}
	if !v.app.limits.Shared() {
		u := v.app.limits.Usage(q.Rule, q.Key)
		s.Authority, s.Known, s.Limit, s.Used, s.Free = "local", u.Known, u.Limit, u.Used, u.Remaining
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, quotaWait)
	defer cancel()
	h, err := v.app.limits.Holdings(ctx, q.Key)
	if err != nil {
		return nil, fmt.Errorf("the books of this quota cannot be read: %w", err)
	}
	if !h.Known && h.Home != 0 && h.Home != uint64(v.id) {
		if h, err = v.books.ask(ctx, h.Home, q.Key); err != nil {
			return nil, fmt.Errorf("the books of this quota are at %s, which does not answer: %w", v.nameOf(h.Home), err)
		}
	}
	s.Authority, s.Known, s.Limit, s.Used, s.Held = h.Authority, h.Known, h.Limit, h.Used, h.Held
	s.Home, s.Standby = v.nameOf(h.Home), v.nameOf(h.Standby)
	s.Free = max(0, h.Limit-h.Used-h.Held)
	for _, n := range h.Nodes {
		s.Nodes = append(s.Nodes, v.share(n))
	}
	slices.SortStableFunc(s.Nodes, func(a, b share) int { return int(b.Held - a.Held) })
	return s, nil
}

func (v *clusterView) share(h limiter.Holding) share {
	return share{Node: v.nameOf(h.Replica), Life: fmt.Sprintf("%08x", uint32(h.Replica)), Held: h.Held, Used: h.Used, Reclaimed: h.Reclaimed}
}

// nameOf is the name of a replica's node; its number when it is not known any more.
func (v *clusterView) nameOf(replica uint64) string {
	id := cluster.NodeID(replica)
	if id == 0 {
		return ""
	}
	if id.Stable() == v.id.Stable() {
		return v.node.Name
	}
	if n := v.now(); n != nil {
		for _, m := range n.Members() {
			if m.ID.Stable() == id.Stable() {
				return m.Name
			}
		}
	}
	return fmt.Sprintf("%08x", id.Stable())
}

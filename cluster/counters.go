package cluster

import (
	"log/slog"
	"sync/atomic"
	"time"

	"sluice/telemetry"
)

type counters struct {
	framesIn, framesOut [kindEnd]atomic.Uint64
	dropped             [dropReasons]atomic.Uint64
	conflicts           atomic.Uint64
	joins, joinFailures atomic.Uint64
	syncs               atomic.Uint64
	reliableFailed      atomic.Uint64
	pending             atomic.Int64 // messages that wait for a stream

	conflictLog, reliableLog, joinLog, skewLog telemetry.Throttle
}

func attrNode(p *peer) slog.Attr    { return slog.String("node", p.node.Load().Name) }
func attrError(err error) slog.Attr { return slog.String("error", err.Error()) }

// trafficOf is implemented by transports that count.
type trafficOf interface {
	Traffic() (packetsIn, packetsOut, packetBytesIn, packetBytesOut, streamBytesIn, streamBytesOut uint64)
}

// Traffic returns what went over the wire: UDP packets, their bytes, and the
// bytes of TCP streams.
func (t *socketTransport) Traffic() (packetsIn, packetsOut, packetBytesIn, packetBytesOut, streamBytesIn, streamBytesOut uint64) {
	c := &t.traffic
	return c.packetsIn.Load(), c.packetsOut.Load(), c.packetBytesIn.Load(), c.packetBytesOut.Load(), c.streamBytesIn.Load(), c.streamBytesOut.Load()
}

// Stats returns the node's numbers.
func (n *Node) Stats() Stats {
	s := Stats{
		Members: map[State]int{}, FramesIn: map[string]uint64{}, FramesOut: map[string]uint64{},
		Dropped: map[string]uint64{}, Topics: map[string]TopicStats{},
	}
	for _, m := range n.Members() {
		s.Members[m.State]++
	}
	if t, ok := n.transport.(trafficOf); ok {
		s.PacketsIn, s.PacketsOut, s.PacketBytesIn, s.PacketBytesOut, s.StreamBytesIn, s.StreamBytesOut = t.Traffic()
	}
	c := &n.counters
	for k := kind(1); k < kindEnd; k++ {
		s.FramesIn[kindNames[k]] = c.framesIn[k].Load()
		s.FramesOut[kindNames[k]] = c.framesOut[k].Load()
	}
	for i, name := range dropNames {
		s.Dropped[name] = c.dropped[i].Load()
	}
	s.Dropped["undelivered"] = c.reliableFailed.Load()
	s.Dropped["broadcast_pruned"] = n.broadcasts.waste.Load()
	if n.sockets != nil {
		s.Dropped["stream_refused"] = n.sockets.refused.Load()
	}
	n.topicsMu.Lock()
	for _, t := range n.topics {
		s.Topics[t.name] = t.stats()
	}
	n.topicsMu.Unlock()
	s.BroadcastQueue = n.broadcasts.queue.NumQueued()
	s.ReliableQueue = int(c.pending.Load())
	s.Events, s.EventsDropped = n.events.emitted.Load(), n.events.dropped.Load()
	s.Conflicts = c.conflicts.Load()
	s.Joins, s.JoinFailures = c.joins.Load(), c.joinFailures.Load()

	f := n.facts.Stats()
	s.Facts = FactStats{
		Live: f.Live, Tombstones: f.Tombstones, Refused: f.Refused, Syncs: c.syncs.Load(),
		LagSum: time.Duration(n.lag.sum.Load()), LagCount: n.lag.count.Load(), LagMax: n.lag.largest(),
	}
	for _, p := range n.roster.others() {
		best, at := p.clock.best()
		s.Peers = append(s.Peers, PeerStats{Name: p.node.Load().Name, ID: p.id, Skew: best.skew, RTT: best.rtt, Measured: at})
	}
	return s
}

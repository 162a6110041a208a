package cluster

import "time"

// Stats are plain numbers about a node, for metrics. Counters start at zero
// with the process.
type Stats struct {
	Members map[State]int // this node included

	PacketBytesIn, PacketBytesOut uint64 // UDP payload, encrypted
	StreamBytesIn, StreamBytesOut uint64 // TCP payload, encrypted
	PacketsIn, PacketsOut         uint64

	FramesIn, FramesOut map[string]uint64 // by type
	Dropped             map[string]uint64 // frames and packets that were not accepted, by reason

	Topics         map[string]TopicStats
	BroadcastQueue int // broadcasts still to be repeated
	ReliableQueue  int // messages that wait for a stream

	Events, EventsDropped uint64
	Conflicts             uint64 // claims of a name by two addresses
	Joins, JoinFailures   uint64 // attempts to reach an address of the join list

	Facts FactStats
	Peers []PeerStats
}

// TopicStats are the numbers of one topic.
type TopicStats struct {
	Received, Dropped uint64 // dropped because the queue was full
	Queued            int
}

// FactStats are the numbers of the replicated facts.
type FactStats struct {
	Live, Tombstones int
	Refused          map[string]uint64 // by reason
	Syncs            uint64            // differences found and repaired with a peer
	// Lag is how old facts were when they arrived by gossip, by the clocks of
	// both ends: sum and count, and the largest of the last minute or two.
	LagSum   time.Duration
	LagCount uint64
	LagMax   time.Duration
}

// PeerStats are what was measured of one peer.
type PeerStats struct {
	Name string
	ID   NodeID
	// Skew is how far the peer's wall clock is ahead of ours, RTT the round trip
	// it was measured with; its error is at most half of that. Both are zero
	// while Measured is.
	Skew, RTT time.Duration
	Measured  time.Time
}

// Package cluster makes processes into a cluster: who is a member, messages
// between them, small facts that all of them agree on, and one gossip that goes
// on while the binary is replaced.
//
//	Topic ─ Send, Broadcast ─┐                    ┌─ Subscribe
//	Facts ─ Set, Delete ─────┤                    ├─ Watch
//	Keys, clock probes ──────┤                    │
//	                      frames ── memberlist ── frames
//	                                    │
//	                  Transport: sockets that a successor can inherit,
//	                             or package simnet
//
// What is one package below: facts, the store and its merging, knows no network;
// simnet is the network of the tests.
//
// # Words
//
// A node is this process, a peer another one. A replica is one life of a node:
// its name and a nonce, which together are a [NodeID]. A restart is a new replica;
// an upgrade that hands over is the same one, a generation on.
//
// # Invariants
//
//  1. Nothing is believed that was not encrypted with a key of the cluster, under
//     its label.
//  2. A frame is taken once, by the replica it is for, from a replica that is a
//     member: what somebody recorded is of no use later, elsewhere, or after a
//     restart.
//  3. No packet is longer than 1,400 bytes.
//  4. What the gossip library calls never waits: not for a subscriber, a disk or
//     another node. Every queue has a size, and what it drops is counted.
//  5. Two processes never read one socket: [Node.Handover] returns when this one
//     has stopped.
//  6. Nodes that see the same members name the same homes of a key, and of the
//     two sides of a split at most one has a [Node.Majority].
//  7. When [Node.Run] has returned, no goroutine of this package runs.
//
// # Concurrency
//
// A [Node] is safe for concurrent use, except that topics, subscribers and
// event handlers are named before Run. Subscribers of one topic are called one
// at a time, and so are event handlers and watchers of facts; different ones run
// at once. Locks are taken in this order, none of them while calling out: the
// library's, roster.mu, those of a peer, of broadcasts, of counters.
//
// # Failure
//
// A node that finds nobody is a cluster of one and keeps trying, four times a
// minute at least. A member that does not answer is suspect to this node after
// four seconds of silence ([SuspectAfter]), and dead to all when the library's
// members agree, after four seconds or more: no safety may rest on that alone.
// Dead members are tried again for as long as they are not replaced. The name of
// a dead one can move to another address after 30 s; two living nodes of one name
// are reported, and the first keeps it.
//
// Datagrams are lost now and then, broadcasts hardly ever, facts never for long:
// digests are compared with every clock probe and at push/pull. A message by
// stream is tried three times.
//
// # What it does not do
//
// It elects nobody, orders nothing, and does not tell the holders of the key
// apart: whoever has it can speak as any node. It does not decide what a
// majority means for a limit; that is the limiter's.
//
// # Sources
//
// Das, Gupta and Motivala, SWIM (2002), and Dadgar and others, Lifeguard (2018),
// for the library's protocol; Thaler and Ravishankar, Using Name-Based Mappings
// to Increase Hit Rates (1998), for homes; RFC 6479 for replay windows; RFC 5905
// §10 for the clock filter. What the library does and does not was read in
// memberlist v0.7.0.
package cluster

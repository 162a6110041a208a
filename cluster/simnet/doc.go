// Package simnet is a network in memory, for tests that run many nodes in one
// process: packets are late, lost, doubled and overtaken as a seed says, and
// links can be cut, also one way.
//
//	net := simnet.New(seed)
//	net.Shape(simnet.Link{Delay: time.Millisecond, Loss: 0.2})
//	a := net.Transport("10.0.0.1:7946") // for cluster.Options.Transport
//	net.Split([]string{"10.0.0.1:7946"}, []string{"10.0.0.2:7946", "10.0.0.3:7946"})
//	net.Heal()
//
// # Invariants
//
//  1. A packet that is sent over a cut link never arrives, not after it heals
//     either; what a stream carries over it arrives after it heals, if the stream
//     still lives.
//  2. Bytes of a stream arrive in order, once.
//  3. Nothing waits for real time: within testing/synctest everything runs on the
//     bubble's clock.
//
// # Concurrency
//
// All of it may be used by several goroutines. A [Transport] starts none; packets
// on their way are timers.
//
// # What it does not do
//
// It makes no run repeatable to the last packet: the seed fixes the sequence of
// throws, but goroutines take them in the order in which they are scheduled.
package simnet

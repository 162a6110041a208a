// Package rig runs a cluster of real sluice processes that can be made to fail, and
// clients that keep asking it.
//
//	clients ──▶ node 0 ─┐ gossip, cut off on demand
//	        ──▶ node 1 ─┼──▶ redis-server: killed, stopped, emptied
//	        ──▶ node 2 ─┘
//	              │ killed, stopped, started
//	              └──▶ decisions, for the oracle
//
// Where the machine allows it, each node is in a network namespace of its own on a
// bridge that the rig makes and takes away again, with packet filters that drop
// what is cut off, one way or both; and with delay and loss, where the kernel can.
// Elsewhere all nodes are on loopback, and gossip cannot be cut. [Detect] says which,
// and why.
//
// The binary is built with the tag drill, so that it writes its decisions down; the
// rest of it is what is shipped.
package rig

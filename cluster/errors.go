package cluster

import "errors"

// Errors that a caller may branch on.
var (
	ErrAddressTaken = errors.New("the gossip address is taken by another process")
	ErrNotRunning   = errors.New("the node is not running")
	ErrUnknownNode  = errors.New("no such member")
	ErrTooLarge     = errors.New("the message is too large")
	ErrQueueFull    = errors.New("the queue is full")
	ErrKeyInUse     = errors.New("the key is in use")
	ErrKeyMissing   = errors.New("not every member has the key")
	ErrUnknownKey   = errors.New("no such key")
)

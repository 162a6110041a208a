//go:build !linux

// Package rawsock reads and writes connected sockets with the fewest
// instructions, on Linux. Elsewhere it supports nothing, and callers go through
// net.Conn.
package rawsock

import "syscall"

// Supported says that Recv and Send work on this system.
const Supported = false

// Recv is not supported here.
func Recv(uintptr, []byte) (int, error) { return 0, syscall.ENOTSUP }

// Send is not supported here.
func Send(uintptr, []byte) (int, error) { return 0, syscall.ENOTSUP }

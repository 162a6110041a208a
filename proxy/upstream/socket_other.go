//go:build !linux

package upstream

import "syscall"

// rawSupported is false: connections are read and written in the ordinary way,
// and an idle one that has ended is found by its first error.
const rawSupported = false

func peekFD(uintptr) error                           { return syscall.ENOTSUP }
func bytesAcked(syscall.RawConn) (n uint64, ok bool) { return 0, false }

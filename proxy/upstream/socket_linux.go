package upstream

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// rawSupported says that the functions below work here.
const rawSupported = true

// peekFD returns EAGAIN when the socket is open and has nothing to read.
func peekFD(fd uintptr) error {
	var b [1]byte
	for {
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return err
		}
	}
}

// bytesAcked returns how many bytes the other end has acknowledged since the
// connection began (RFC 4898, tcpEStatsAppHCThruOctetsAcked). It works on a
// socket that was reset, too.
func bytesAcked(raw syscall.RawConn) (n uint64, ok bool) {
	err := raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n, ok = info.Bytes_acked, true
		}
	})
	return n, ok && err == nil
}

package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/cloudflare/tableflip"
)

// socket is a listening TCP socket that can be duplicated, so that a new server
// takes over an address without a moment in which nobody accepts.
type socket struct{ *net.TCPListener }

// Duplicate returns another listener on the same kernel socket.
func (s socket) Duplicate() (net.Listener, error) {
	f, err := s.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	return socket{l.(*net.TCPListener)}, nil
}

// Unlisten makes the kernel refuse connections, whoever else holds the socket:
// tableflip keeps a duplicate of every socket it has been told of, and has no way
// to forget one. Where the kernel cannot do this (it can on Linux), connections to
// the address wait until the next upgrade closes the duplicate.
func (s socket) Unlisten() {
	raw, err := s.SyscallConn()
	if err != nil {
		return // closed already
	}
	_ = raw.Control(func(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RDWR) })
}

// sockets opens listening sockets, or takes over the predecessor's.
type sockets struct{ fds *tableflip.Fds }

// listen opens a TCP socket. The error says what to do when that is known.
func (s sockets) listen(network, address string) (net.Listener, error) {
	// The same address may be spelt in two ways before and after an upgrade.
	key := address
	if host, port, err := net.SplitHostPort(address); err == nil && (host == "" || host == "[::]") {
		key = net.JoinHostPort("::", port)
	}
	l, err := s.fds.Listener(network, key)
	if err != nil {
		return nil, err
	}
	if l != nil {
		return socket{l.(*net.TCPListener)}, nil
	}
	l, err = net.Listen(network, address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use by another process; stop it or choose another address", address)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("no permission to listen on %s; ports below 1024 need CAP_NET_BIND_SERVICE", address)
	case err != nil:
		return nil, err
	}
	tcp := l.(*net.TCPListener)
	if err := s.fds.AddListener(network, key, tcp); err != nil {
		tcp.Close()
		return nil, err
	}
	return socket{tcp}, nil
}

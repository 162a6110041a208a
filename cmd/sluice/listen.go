package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"
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

// listen opens a TCP socket. The error says what to do when that is known.
func listen(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use by another process; stop it or choose another address", address)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("no permission to listen on %s; ports below 1024 need CAP_NET_BIND_SERVICE", address)
	case err != nil:
		return nil, err
	}
	return socket{l.(*net.TCPListener)}, nil
}

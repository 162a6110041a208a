// Package poll is the little epoll loop under the comparison's responder and
// its constant-rate load. Both must cost far less than the proxies between
// them, and the load must start each request within microseconds of its time:
// one thread on epoll and a timerfd does both, where goroutines would add a
// hand-over per event and millisecond timers.
//
// A Poller belongs to one goroutine. It does not own the descriptors added.
package poll

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// What a descriptor is watched for; levels, not edges. Its end and its errors
// are always reported.
const (
	Read  = unix.EPOLLIN
	Write = unix.EPOLLOUT
)

// Poller waits for many descriptors at once.
type Poller struct {
	fd     int
	events [256]unix.EpollEvent
}

// New returns an empty Poller; Close releases it.
func New() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &Poller{fd: fd}, nil
}

// Add watches fd for interest ([Read] or [Write]).
func (p *Poller) Add(fd int, interest uint32) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, interest)
}

// Change replaces what fd is watched for.
func (p *Poller) Change(fd int, interest uint32) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, interest)
}

func (p *Poller) control(op, fd int, interest uint32) error {
	if err := unix.EpollCtl(p.fd, op, fd, &unix.EpollEvent{Events: interest, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// Wait blocks until a descriptor is ready. The events are valid until the next Wait.
func (p *Poller) Wait() ([]unix.EpollEvent, error) {
	for {
		n, err := unix.EpollWait(p.fd, p.events[:], -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("epoll_wait: %w", err)
		}
		return p.events[:n], nil
	}
}

// Close releases the epoll descriptor.
func (p *Poller) Close() error { return unix.Close(p.fd) }

// Alarm is a timerfd: a descriptor that becomes readable when its time has
// come, to the microsecond, which the runtime's timers do not promise.
type Alarm struct{ FD int }

// NewAlarm returns an alarm that is not set; Close releases it.
func NewAlarm() (Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return Alarm{}, fmt.Errorf("timerfd_create: %w", err)
	}
	return Alarm{fd}, nil
}

// Set makes the alarm ring once, d from now; setting it again replaces and silences it.
func (a Alarm) Set(d time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, 1)))} // 0 would disarm it
	if err := unix.TimerfdSettime(a.FD, 0, &spec, nil); err != nil {
		return fmt.Errorf("timerfd_settime: %w", err)
	}
	return nil
}

// Close releases the descriptor.
func (a Alarm) Close() error { return unix.Close(a.FD) }

package load

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sluice/loadtest/compare/poll"
)

// Rate sends perSecond requests a second for d, evenly spaced, and measures
// each from the time it was meant to start. A request whose time has come while
// every connection is busy waits for one, and its wait counts. Requests that are
// unanswered two seconds after the end are errors, with the latency reached.
func Rate(ctx context.Context, target Target, perSecond float64, d time.Duration) (Result, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := newRater(target, perSecond, d)
	if err != nil {
		return Result{}, err
	}
	defer r.close()
	return r.run(ctx)
}

// patience is how long the last answers are waited for.
const patience = 2 * time.Second

// rater is one run at a constant rate; it belongs to one goroutine.
type rater struct {
	target   Target
	requests [][]byte
	interval time.Duration
	total    int // requests to send

	poller *poll.Poller
	alarm  poll.Alarm
	conns  map[int]*client
	free   []*client // without a request under way, longest free first: all take part
	buf    [64 << 10]byte

	start     time.Time
	begun     int // requests written to a connection
	latencies []time.Duration
	answered  int64 // with 2xx
	failed    int64 // answered otherwise, or not at all
	closed    int64 // connections closed between requests
}

// client is one keep-alive connection, with at most one request under way.
type client struct {
	fd      int
	due     time.Duration // when the request under way was meant to start; <0: none
	part    []byte        // response head so far
	rest    int64         // body bytes still to come, once the head is whole
	inBody  bool
	success bool
}

func newRater(target Target, perSecond float64, d time.Duration) (*rater, error) {
	r := &rater{target: target, interval: time.Duration(float64(time.Second) / perSecond), conns: map[int]*client{}}
	r.total = int(d / max(r.interval, 1))
	if r.total < 1 || len(target.Tokens) == 0 || target.Conns < 1 {
		return nil, errors.New("constant rate: nothing to send")
	}
	r.latencies = make([]time.Duration, 0, r.total)
	for _, token := range target.Tokens {
		r.requests = append(r.requests, []byte("GET "+target.Path+" HTTP/1.1\r\nHost: "+target.Address+"\r\nAuthorization: Bearer "+token+"\r\n\r\n"))
	}
	var err error
	if r.poller, err = poll.New(); err != nil {
		return nil, err
	}
	if r.alarm, err = poll.NewAlarm(); err != nil {
		return nil, errors.Join(err, r.poller.Close())
	}
	if err := r.poller.Add(r.alarm.FD, poll.Read); err != nil {
		r.close()
		return nil, err
	}
	for range target.Conns {
		if err := r.dial(); err != nil {
			r.close()
			return nil, err
		}
	}
	return r, nil
}

func (r *rater) run(ctx context.Context) (Result, error) {
	r.start = time.Now()
	for int(r.answered+r.failed) < r.total && ctx.Err() == nil {
		now := time.Since(r.start)
		if err := r.sendDue(now); err != nil {
			return Result{}, err
		}
		end := time.Duration(r.total)*r.interval + patience
		if now > end {
			break
		}
		next := end
		if r.begun < r.total && len(r.free) > 0 { // otherwise an answer is what comes next
			next = time.Duration(r.begun) * r.interval
		}
		if err := r.alarm.Set(next - time.Since(r.start)); err != nil {
			return Result{}, err
		}
		events, err := r.poller.Wait()
		if err != nil {
			return Result{}, err
		}
		for _, e := range events {
			if c := r.conns[int(e.Fd)]; c != nil {
				if err := r.receive(c); err != nil {
					return Result{}, err
				}
			} else {
				var count [8]byte
				_, _ = unix.Read(r.alarm.FD, count[:]) // silences the alarm
			}
		}
	}
	if ctx.Err() != nil {
		return Result{}, ctx.Err()
	}
	elapsed := time.Since(r.start)
	for _, c := range r.conns { // given up
		if c.due >= 0 {
			r.latencies = append(r.latencies, elapsed-c.due)
		}
	}
	for ; r.begun < r.total; r.begun++ {
		r.latencies = append(r.latencies, elapsed-time.Duration(r.begun)*r.interval)
	}
	res := Result{Requests: r.answered, Errors: int64(r.total) - r.answered + r.closed, Elapsed: elapsed}
	res.summarize(r.latencies)
	return res, nil
}

// sendDue writes the requests whose time has come, as far as connections are free.
func (r *rater) sendDue(now time.Duration) error {
	for r.begun < r.total && len(r.free) > 0 {
		due := time.Duration(r.begun) * r.interval
		if due > now {
			return nil
		}
		c := r.free[0]
		r.free = r.free[1:]
		c.due = due
		request := r.requests[r.begun%len(r.requests)]
		r.begun++
		// A request is far smaller than an empty socket buffer.
		if n, err := unix.Write(c.fd, request); err != nil || n != len(request) {
			if err := r.fail(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// receive reads what has come for c and completes its request when that is all.
func (r *rater) receive(c *client) error {
	n, err := unix.Read(c.fd, r.buf[:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return nil
	}
	if err != nil || n <= 0 || c.due < 0 { // closed, or speaking without being asked
		return r.fail(c)
	}
	data := r.buf[:n]
	if !c.inBody {
		if len(c.part) > 0 {
			c.part = append(c.part, data...)
			data = c.part
		}
		h, size, err := parseHead(data)
		if err != nil {
			return r.fail(c)
		}
		if size == 0 {
			if len(c.part) == 0 {
				c.part = append(c.part, data...)
			}
			return nil
		}
		c.inBody, c.rest, c.success = true, h.length, h.status/100 == 2
		data = data[size:]
	}
	c.rest -= int64(len(data))
	switch {
	case c.rest < 0:
		return r.fail(c)
	case c.rest == 0:
		r.latencies = append(r.latencies, time.Since(r.start)-c.due)
		if c.success {
			r.answered++
		} else {
			r.failed++
		}
		c.due, c.inBody, c.part = -1, false, c.part[:0]
		r.free = append(r.free, c)
	}
	return nil
}

// fail counts c's request as failed and replaces the connection. One closed
// between requests is counted and replaced too: keep-alive is what was asked for.
func (r *rater) fail(c *client) error {
	if c.due >= 0 {
		r.failed++
		r.latencies = append(r.latencies, time.Since(r.start)-c.due)
	} else {
		r.closed++
		r.free = slices.DeleteFunc(r.free, func(f *client) bool { return f == c })
	}
	delete(r.conns, c.fd)
	unix.Close(c.fd)
	return r.dial()
}

// dial opens one connection and frees it for requests.
func (r *rater) dial() error {
	fd, err := dialRaw(r.target.Address)
	if err != nil {
		return err
	}
	if err := r.poller.Add(fd, poll.Read); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	c := &client{fd: fd, due: -1}
	r.conns[fd] = c
	r.free = append(r.free, c)
	return nil
}

func (r *rater) close() {
	for fd := range r.conns {
		unix.Close(fd)
	}
	_ = r.alarm.Close()
	_ = r.poller.Close()
}

// dialRaw connects to an IPv4 host:port and returns the non-blocking socket.
func dialRaw(address string) (int, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return 0, err
	}
	to := &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	if err = unix.Connect(fd, to); err == nil {
		if err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err == nil {
			err = unix.SetNonblock(fd, true)
		}
	}
	if err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("connect to %s: %w", address, err)
	}
	return fd, nil
}

package front

import "golang.org/x/sys/unix"

// watched are connections whose handler is running, to be asked all at once
// whether their client is still there.
type watched struct {
	conns []*conn
	words []uint64
	polls []unix.PollFd
}

func (w *watched) add(c *conn, word uint64) {
	fd := c.fd.Load()
	if fd == 0 {
		return
	}
	w.conns = append(w.conns, c)
	w.words = append(w.words, word)
	// RDHUP is seen behind input that nobody has read; a peek would not see it.
	w.polls = append(w.polls, unix.PollFd{Fd: int32(fd - 1), Events: unix.POLLRDHUP})
}

// check ends the requests of clients that have gone: with one system call for
// all of them. A descriptor may have been closed, and be another's, by now: the
// answer counts only for a request that is still the same one.
func (w *watched) check() {
	if len(w.conns) == 0 {
		return
	}
	n, err := unix.Poll(w.polls, 0)
	if err == nil && n > 0 {
		for i, p := range w.polls {
			gone := p.Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
			// A client may end its half behind the request. As in net/http, that is
			// taken for going away, but not before the body has been read.
			half := p.Revents&unix.POLLRDHUP != 0 && w.conns[i].bodyRead.Load()
			if gone || half {
				if x := w.conns[i].request.Load(); x != nil {
					x.cancelIf(w.conns[i], w.words[i])
				}
			}
		}
	}
	clear(w.conns)
	w.conns, w.words, w.polls = w.conns[:0], w.words[:0], w.polls[:0]
}

// dataWaits reports whether the client has sent something that has not been read.
func (c *conn) dataWaits() bool {
	fd := c.fd.Load()
	if fd == 0 {
		return false
	}
	polls := []unix.PollFd{{Fd: int32(fd - 1), Events: unix.POLLIN | unix.POLLRDHUP}}
	n, err := unix.Poll(polls, 0)
	return err == nil && n > 0 && polls[0].Revents&unix.POLLIN != 0 && polls[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) == 0
}

package rig

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// client keeps connections to one node and asks on them: as little HTTP as the
// gateway's answers need, since it shares two cores with what it measures.
type client struct {
	address string
	slots   chan struct{} // one for each connection that may be

	mu   sync.Mutex // guards idle
	idle []*conn
}

type conn struct {
	net.Conn
	r *bufio.Reader
}

// maxConns is how many connections there are to a node at most.
const maxConns = 512

// answerWithin is how long a client waits for an answer.
const answerWithin = 10 * time.Second

func newClient(address string) *client {
	return &client{address: address, slots: make(chan struct{}, maxConns)}
}

// ask sends a request and returns the answer's status. A kept connection that the
// other side has closed in the meantime is no failure: the request is sent again on
// a new one, as every client does.
func (c *client) ask(request []byte) (status int, err error) {
	c.slots <- struct{}{}
	defer func() { <-c.slots }()
	for {
		k := c.take()
		fresh := k == nil
		if fresh {
			raw, err := net.DialTimeout("tcp", c.address, time.Second)
			if err != nil {
				return 0, err
			}
			k = &conn{raw, bufio.NewReaderSize(raw, 4096)}
		}
		status, keep, err := k.ask(request)
		if keep {
			c.put(k)
		} else {
			k.Close()
		}
		if errors.Is(err, errClosed) && !fresh {
			continue
		}
		return status, err
	}
}

func (c *client) take() *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.idle) == 0 {
		return nil
	}
	k := c.idle[len(c.idle)-1]
	c.idle = c.idle[:len(c.idle)-1]
	return k
}

func (c *client) put(k *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = append(c.idle, k)
}

// close closes the idle connections.
func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.idle {
		k.Close()
	}
	c.idle = nil
}

// errClosed says that the connection ended before a byte of the answer.
var errClosed = errors.New("connection closed")

func (k *conn) ask(request []byte) (status int, keep bool, err error) {
	if err := k.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return 0, false, err
	}
	if _, err := k.Write(request); err != nil {
		return 0, false, errors.Join(errClosed, err)
	}
	if _, err := k.r.Peek(1); err != nil {
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			return 0, false, fmt.Errorf("no answer: %w", err)
		}
		return 0, false, errors.Join(errClosed, err)
	}
	keep = true
	length := int64(0)
	for first := true; ; first = false {
		line, err := k.r.ReadSlice('\n')
		if err != nil {
			return 0, false, fmt.Errorf("head of the answer: %w", err)
		}
		line = bytes.TrimRight(line, "\r\n")
		if first {
			if len(line) < 12 {
				return 0, false, fmt.Errorf("answer begins with %q", line)
			}
			if status, err = strconv.Atoi(string(line[9:12])); err != nil {
				return 0, false, fmt.Errorf("answer begins with %q", line)
			}
			continue
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return 0, false, fmt.Errorf("content length %q", value)
			}
		case bytes.EqualFold(name, []byte("Connection")) && bytes.EqualFold(value, []byte("close")):
			keep = false
		}
	}
	_, err = io.CopyN(io.Discard, k.r, length)
	return status, keep && err == nil, err
}

// Answers counts what clients were told.
type Answers struct {
	OK, Refused, Other, Failed atomic.Int64
	lastMu                     sync.Mutex // guards last
	last                       error
}

// note counts an answer.
func (a *Answers) note(status int, err error) {
	switch {
	case err != nil:
		a.Failed.Add(1)
		a.remember(err)
	case status == 200:
		a.OK.Add(1)
	case status == 429:
		a.Refused.Add(1)
	default:
		a.Other.Add(1)
		a.remember(fmt.Errorf("status %d", status))
	}
}

func (a *Answers) remember(err error) {
	a.lastMu.Lock()
	defer a.lastMu.Unlock()
	a.last = err
}

// Last is the last answer that was neither 200 nor 429, nil when there was none.
func (a *Answers) Last() error {
	a.lastMu.Lock()
	defer a.lastMu.Unlock()
	return a.last
}

package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"sluice/cluster"
	"sluice/limiter/lease"
	"sluice/telemetry"
)

// The handover socket joins a process with its successor from the start of the
// latter to the end of the former:
//
//	predecessor                                   successor
//	hello      who I am                ──▶
//	part…      what it compiles with   ──▶        keys, health of upstreams
//	ready      nothing more for now    ──▶        compiles, opens its sockets, waits
//	                                   ◀── ready  for keys and health
//	           decisions wait from here …
//	part…      the counts              ──▶
//	ready                              ──▶        takes them in; tells tableflip
//	go         it is yours             ──▶        accepts, writes the pid file
//	           … to here
//	question   of a last connection    ──▶
//	                                   ◀── answer
//	streams, again                     ──▶
//
// Until go, the successor has admitted nothing, so that the predecessor can go on
// as if nothing had happened: when the successor says failed, ends, or is late.
// After go, the predecessor has no rights. Should it end before it can say go, the
// successor, which has everything by then, goes on without.
const handoverProtocol = 1

// Kinds of messages.
const (
	msgHello    = 'h'
	msgPart     = 'p' // name with its length (1), content
	msgReady    = 'r'
	msgGo       = 'g'
	msgAbort    = 'x' // the predecessor goes on
	msgFailed   = 'f' // the successor cannot; the reason
	msgQuestion = 'q'
	msgAnswer   = 'a'
	msgStreams  = 's'
	msgAgain    = 'u' // another upgrade was asked for
)

// maxMessage bounds a message; a part larger than this must be sent in pieces.
const maxMessage = 256 << 20

// hello is the predecessor's first message.
type hello struct {
	Protocol   int    `json:"protocol"`
	Generation int    `json:"generation"`
	PID        int    `json:"pid"`
	Version    string `json:"version"`
}

// introduction is what the successor says of itself when it is ready.
type introduction struct {
	PID     int    `json:"pid"`
	Version string `json:"version"`
}

// errAborted is the predecessor's decision to go on by itself.
var errAborted = errors.New("the predecessor goes on by itself")

// wire sends and receives messages: kind (1), length (4), content. It is for one
// reader; several may send.
type wire struct {
	conn net.Conn
	mu   sync.Mutex // guards sending
}

// socketPair returns a wire and the other end of it.
func socketPair() (*wire, *os.File, error) {
	syscall.ForkLock.RLock() // no child may get a copy that keeps the socket open
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	other := os.NewFile(uintptr(fds[1]), "handover")
	w, err := newWire(os.NewFile(uintptr(fds[0]), "handover"))
	if err != nil {
		other.Close()
		return nil, nil, err
	}
	return w, other, nil
}

// newWire takes f over.
func newWire(f *os.File) (*wire, error) {
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("open the handover socket: %w", err)
	}
	return &wire{conn: conn}, nil
}

func (w *wire) send(kind byte, content []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sendLocked(kind, content)
}

func (w *wire) sendLocked(kind byte, content []byte) error {
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(content)))
	_, err := (&net.Buffers{head, content}).WriteTo(w.conn)
	return err
}

func (w *wire) sendJSON(kind byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return w.send(kind, text)
}

// sendPart sends a piece of what is called name.
func (w *wire) sendPart(name string, content []byte) error {
	return w.send(msgPart, append(append([]byte{byte(len(name))}, name...), content...))
}

func (w *wire) receive() (kind byte, content []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(w.conn, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxMessage {
		return 0, nil, fmt.Errorf("a message of %d bytes on the handover socket", n)
	}
	content = make([]byte, n)
	_, err = io.ReadFull(w.conn, content)
	return head[0], content, err
}

// parts reads messages up to ready and calls take for each part.
func (w *wire) parts(take func(name string, content []byte) error) error {
	for {
		kind, content, err := w.receive()
		switch {
		case err != nil:
			return fmt.Errorf("read from the predecessor: %w", err)
		case kind == msgReady:
			return nil
		case kind == msgAbort:
			return errAborted
		case kind != msgPart || len(content) == 0 || len(content) < 1+int(content[0]):
			return fmt.Errorf("unexpected message %q from the predecessor", kind)
		}
		n := 1 + int(content[0])
		if err := take(string(content[1:n]), content[n:]); err != nil {
			return err
		}
	}
}

// askTimeout bounds a question: the successor answers in microseconds, or is gone.
const askTimeout = 2 * time.Second

// ask sends a question and waits for its answer. Questions go one at a time: they
// are few, those of connections that are told to close.
func (w *wire) ask(question []byte) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.conn.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return nil, err
	}
	if err := w.sendLocked(msgQuestion, question); err != nil {
		return nil, err
	}
	kind, answer, err := w.receive()
	if err == nil && kind != msgAnswer {
		err = fmt.Errorf("message %q instead of an answer", kind)
	}
	if err != nil {
		w.conn.Close() // an answer that comes late must not answer the next question
		return nil, err
	}
	return answer, w.conn.SetDeadline(time.Time{})
}

// part is what a room has to hand over.
type part struct {
	name string
	// early parts go before the successor compiles its configuration; the others
	// when it can do all else, and decisions wait meanwhile.
	early bool
	// give sends the state, in as many pieces as it likes.
	give func(send func([]byte) error) error
	// take takes a piece in. Of early parts an error costs what the part would have
	// saved; of the others it ends the successor.
	take func([]byte) error
	// resume makes the room go on after give, because the successor failed; nil:
	// nothing to do.
	resume func() error
	// leave tells the room that the successor has it, and how to ask it; nil:
	// nothing to do.
	leave func(ask func([]byte) ([]byte, error))
}

// parts are what this process takes over and hands over. Bans join the list with
// their room.
func (a *app) parts() []part {
	whole := func(export func() []byte) func(func([]byte) error) error {
		return func(send func([]byte) error) error { return send(export()) }
	}
	return []part{
		{name: "keys", early: true, give: whole(a.keys.Export), take: a.keys.Import},
		{name: "upstreams", early: true, give: whole(a.upstreams.Export), take: a.upstreams.Import},
		a.limitsPart(), // before gossip, by which rights are given back
		a.inheritancePart(),
		{name: "limiters", give: whole(a.gossip.limiters), take: a.gossip.peers.inherit},
		a.gossip.part(),
		factsPart(a.facts), // after gossip, which adds to them
		{name: "series", give: whole(a.metrics.Live().Store().Encode), take: a.metrics.Live().Store().Restore},
	}
}

// inheritancePart is what the limiter knows of the cluster: without Redis, also the
// books of quotas that it keeps. A successor that cannot read it finds out again what
// it needs, as after a restart.
func (a *app) inheritancePart() part {
	return part{
		name: "limits of the cluster",
		give: func(send func([]byte) error) error {
			for _, p := range a.held.Inheritance() {
				if err := send(p); err != nil {
					return err
				}
			}
			return nil
		},
		take: func(p []byte) error {
			self, err := a.limits.Inherit(p)
			if errors.Is(err, lease.ErrMessage) {
				a.log.Warn("what the predecessor knew of the cluster is not used", telemetry.KeyError, err)
				return nil
			}
			if err == nil && self != 0 {
				a.gossip.become(cluster.NodeID(self))
			}
			return err
		},
	}
}

// limitsPart is the limiter's.
func (a *app) limitsPart() part {
	p := part{name: "limits", take: a.limits.Import}
	p.give = func(send func([]byte) error) error {
		h, err := a.limits.Hold()
		if err != nil {
			return err
		}
		a.held = h
		return h.Export(send)
	}
	p.resume = func() error {
		if a.held == nil {
			return nil
		}
		h := a.held
		a.held = nil
		return h.Resume()
	}
	p.leave = func(ask func([]byte) ([]byte, error)) { a.held.Forward(ask) }
	return p
}

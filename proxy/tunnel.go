package proxy

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// tunnel joins client and upstream after 101 Switching Protocols: bytes go
// both ways, untouched, until one side ends or falls silent for the idle time.
func (g *Gateway) tunnel(e *exchange) {
	h := e.in.Header
	e.setResponseHeaders(h)
	webSocket := strings.EqualFold(h.Get("Upgrade"), "websocket")
	back, err := e.in.Hijack()
	if err != nil {
		clear(h)
		g.answer(e, refuseCause(codeUpstreamMalformed, err))
		return
	}
	defer back.Close()
	// The 101 goes out through the server, which knows how to write a head; the
	// connection is ours afterwards.
	e.respond(http.StatusSwitchingProtocols, originUpstream)
	control := http.NewResponseController(e.w)
	front, buffered, err := control.Hijack()
	if err != nil {
		e.record.Error, e.abort = err.Error(), true
		return
	}
	defer front.Close()
	var early []byte
	if n := buffered.Reader.Buffered(); n > 0 {
		// What is buffered can be read without a wait, and without an error.
		early, _ = buffered.Reader.Peek(n)
	}
	t := newTunnelled(front, back, webSocket)
	if !g.streams.add(t) {
		t.end() // draining: it ends as the others did
	}
	defer g.streams.remove(t)
	e.tunnelled = true
	up, down := t.join(early)
	e.body.read += up
	e.wrote += down
}

// tunnelled is one joined pair of connections. Of WebSockets the frames are
// followed, so that they can be closed properly.
type tunnelled struct {
	front, back net.Conn
	up, down    *framed // nil: not a WebSocket
	ending      atomic.Bool
	cut         *time.Timer // set before ending is
}

func newTunnelled(front, back net.Conn, webSocket bool) *tunnelled {
	t := &tunnelled{front: front, back: back}
	if webSocket {
		t.up = &framed{dst: back, goodbye: goingAwayToServer}
		t.down = &framed{dst: front, goodbye: goingAwayToClient}
	}
	t.cut = time.AfterFunc(1<<62, t.close)
	return t
}

func (t *tunnelled) kind() string {
	if t.up != nil {
		return StreamWebSocket
	}
	return StreamTunnel
}

// closeGrace is how long a WebSocket's sides have to answer a close frame.
const closeGrace = time.Second

// end ends the tunnel: a WebSocket with 1001 to both sides, which then have a
// moment to answer; any other protocol by closing.
func (t *tunnelled) end() {
	if t.ending.Swap(true) {
		return
	}
	if t.up == nil {
		t.close()
		return
	}
	t.cut.Reset(closeGrace)
	// A side that takes nothing must not hold up the other, nor the drain.
	soon := time.Now().Add(closeGrace)
	_ = t.front.SetWriteDeadline(soon) // if it cannot be set, the connection is closed already
	_ = t.back.SetWriteDeadline(soon)
	t.down.ending.Store(true)
	t.up.ending.Store(true)
	go t.down.end()
	go t.up.end()
}

// join copies both ways until both directions have ended, and returns how much
// went each way. When one side ends its half, the other is told so; when a copy
// fails, both are closed.
func (t *tunnelled) join(early []byte) (up, down int64) {
	defer t.cut.Stop()
	var wg sync.WaitGroup
	wg.Go(func() { up = t.pump(t.back, t.front, t.up, early) })
	down = t.pump(t.front, t.back, t.down, nil)
	wg.Wait()
	return up, down
}

// The buffer of a direction is small until a read has filled it: most tunnels are
// quiet, and there may be many.
const (
	quietBytes = 2 << 10
	busyBytes  = 32 << 10
)

var busyBuffers = sync.Pool{New: func() any { return new([busyBytes]byte) }}

// pump copies from src to dst until src ends, and then ends the direction.
func (t *tunnelled) pump(dst, src net.Conn, ws *framed, early []byte) (n int64) {
	err := t.pass(dst, ws, early)
	n = int64(len(early))
	quiet := make([]byte, quietBytes)
	for p := quiet; err == nil; {
		var k int
		k, err = src.Read(p)
		n += int64(k)
		if werr := t.pass(dst, ws, p[:k]); werr != nil {
			err = werr
		}
		if k == len(quiet) && err == nil {
			k, err = t.pumpBusy(dst, src, ws)
			n += int64(k)
		}
	}
	if err == io.EOF {
		err = nil
	}
	t.finish(dst, err)
	return n
}

// pumpBusy copies with a large buffer for as long as it is of use.
func (t *tunnelled) pumpBusy(dst, src net.Conn, ws *framed) (n int, err error) {
	p := busyBuffers.Get().(*[busyBytes]byte)
	defer busyBuffers.Put(p)
	for {
		k, err := src.Read(p[:])
		n += k
		if werr := t.pass(dst, ws, p[:k]); werr != nil {
			err = werr
		}
		if err != nil || k <= quietBytes {
			return n, err
		}
	}
}

// pass writes what one side sent to the other.
func (t *tunnelled) pass(dst net.Conn, ws *framed, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if ws == nil {
		_, err := dst.Write(p)
		return err
	}
	closes, err := ws.write(p)
	if closes && ws == t.up && t.ending.Load() {
		t.close() // the client has answered our close frame: there is nothing to wait for
	}
	return err
}

// finish ends the direction towards dst.
func (t *tunnelled) finish(dst net.Conn, err error) {
	if half, ok := dst.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
		return
	}
	t.close()
}

func (t *tunnelled) close() {
	t.front.Close()
	t.back.Close()
}

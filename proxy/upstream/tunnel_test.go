package upstream

import (
	"bufio"
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// shouting switches protocols, says something at once, and then returns every line.
func shouting(_ int, c *net.TCPConn, r *bufio.Reader) {
	if req := readRequest(r); req == nil || req.Header.Get("Upgrade") != "websocket" || req.Header.Get("Connection") != "Upgrade" {
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		return
	}
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\nSec-Websocket-Accept: x\r\n\r\nhello\n")
	io.Copy(c, r)
}

func upgrade() *Request {
	out := get("/")
	out.Upgrade = "websocket"
	return out
}

func TestUpgrade(t *testing.T) {
	e := endpointOf(t, script(t, shouting))
	in := new(Response)
	if err := e.Do(context.Background(), upgrade(), in); err != nil {
		t.Fatal(err)
	}
	if in.Status != 101 || in.Header.Get("Upgrade") != "WebSocket" || in.Header.Get("Connection") != "Upgrade" || in.Header.Get("Sec-Websocket-Accept") != "x" {
		t.Errorf("%d %v", in.Status, in.Header)
	}
	c, err := in.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	if e.inflight() != 1 {
		t.Error("a tunnel is not counted as under way")
	}
	io.WriteString(c, "back\n")
	r := bufio.NewReader(c)
	for _, want := range []string{"hello\n", "back\n"} {
		if line, err := r.ReadString('\n'); line != want || err != nil {
			t.Errorf("got %q, %v", line, err)
		}
	}
	c.Close()
	c.Close()
	quiet(t, e)
}

func TestTunnelEndsWithSilenceAndWithItsContext(t *testing.T) {
	e := endpointOf(t, script(t, shouting))
	for _, idle := range []bool{true, false} {
		out := upgrade()
		ctx, cancel := context.WithCancel(context.Background())
		if idle {
			out.Timeouts.Idle = 60 * time.Millisecond
		}
		out.Deadline = time.Now().Add(time.Millisecond * 500) // does not hold for a tunnel
		in := new(Response)
		if err := e.Do(ctx, out, in); err != nil {
			t.Fatal(err)
		}
		c, err := in.Hijack()
		if err != nil {
			t.Fatal(err)
		}
		if !idle {
			time.AfterFunc(30*time.Millisecond, cancel)
		}
		if _, err := io.Copy(io.Discard, c); err == nil {
			t.Error("the tunnel ended as if the upstream had ended it")
		}
		c.Close()
		cancel()
	}
	quiet(t, e)
}

func TestHijackNeedsASwitch(t *testing.T) {
	e := endpointOf(t, serve(t, echo))
	in := new(Response)
	if err := e.Do(context.Background(), get("/"), in); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if c, err := in.Hijack(); err == nil {
		t.Errorf("got %v", c)
	}
}

func TestSwitchToAnotherProtocolIsMalformed(t *testing.T) {
	e := endpointOf(t, script(t, shouting))
	out := upgrade()
	out.Upgrade = "websocket2"
	if err := e.Do(context.Background(), out, new(Response)); err == nil {
		t.Log("refused by the server") // 400 is a proper answer
	}
	e = endpointOf(t, script(t, answers("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n")))
	if err := e.Do(context.Background(), upgrade(), new(Response)); kindOf(err) != Malformed {
		t.Errorf("got %v", err)
	}
}

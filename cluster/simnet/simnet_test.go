package simnet

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

const a, b = "10.0.0.1:7946", "10.0.0.2:7946"

func TestPacketsSufferAsTheLinkSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		from, to := n.Transport(a), n.Transport(b)
		defer from.Shutdown()
		defer to.Shutdown()
		n.Shape(Link{Delay: 10 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.25, Duplicate: 0.1, Reorder: 0.1})
		began := time.Now()
		const sent = 2000
		for i := range sent {
			from.WriteTo([]byte{byte(i), byte(i >> 8)}, b)
		}
		time.Sleep(time.Second)
		got, late, reordered, last := 0, 0, 0, -1
		for len(to.PacketCh()) > 0 {
			p := <-to.PacketCh()
			got++
			switch took := p.Timestamp.Sub(began); {
			case took < 10*time.Millisecond:
				t.Fatalf("a packet took %v", took)
			case took >= 30*time.Millisecond:
				late++
			}
			if i := int(p.Buf[0]) | int(p.Buf[1])<<8; i < last {
				reordered++
			} else {
				last = i
			}
			if p.From.String() != a {
				t.Fatalf("from %v", p.From)
			}
		}
		if want := sent * 3 / 4 * 11 / 10; got < want*9/10 || got > want*11/10 || reordered == 0 || late == 0 {
			t.Errorf("of %d packets %d arrived (about %d wanted), %d late, %d overtaken", sent, got, want, late, reordered)
		}
	})
}

// Invariant 1.
func TestACutLinkLosesPacketsAndHoldsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		x, y := n.Transport(a), n.Transport(b)
		defer x.Shutdown()
		defer y.Shutdown()
		out, err := x.DialTimeout(b, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		in := <-y.StreamCh()
		n.Cut(a, b)
		x.WriteTo([]byte("lost"), b)
		y.WriteTo([]byte("the other way"), a)
		out.Write([]byte("held"))
		in.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := in.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("over a cut link: %v", err)
		}
		if _, err := y.DialTimeout(a, time.Second); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("dial: %v", err)
		}
		if len(x.PacketCh()) != 1 {
			t.Error("the way back is cut, too")
		}
		n.Heal()
		in.SetReadDeadline(time.Time{})
		buf := make([]byte, 10)
		if m, err := in.Read(buf); err != nil || string(buf[:m]) != "held" {
			t.Errorf("after it healed: %q, %v", buf[:m], err)
		}
		if len(y.PacketCh()) != 0 {
			t.Error("a lost packet came back")
		}
	})
}

// Invariant 2.
func TestStreamsKeepOrderAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(7)
		n.Shape(Link{Delay: time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.2})
		x, y := n.Transport(a), n.Transport(b)
		defer x.Shutdown()
		defer y.Shutdown()
		out, err := x.DialTimeout(b, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		in := <-y.StreamCh()
		var sent []byte
		for i := range 200 {
			part := bytes.Repeat([]byte{byte(i)}, i)
			sent = append(sent, part...)
			if _, err := out.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		out.Close()
		got, err := io.ReadAll(in)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d of %d bytes, %v", len(got), len(sent), err)
		}
		if _, err := in.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write to a closed stream: %v", err)
		}
		if _, err := out.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read from a stream that we closed: %v", err)
		}
	})
}

func TestWhereNobodyListensADialIsRefused(t *testing.T) {
	n := New(1)
	x := n.Transport(a)
	_, err := x.DialAddressTimeout(memberlist.Address{Addr: b}, time.Second)
	var op *net.OpError
	if !errors.As(err, &op) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
	y := n.Transport(b)
	if _, err := x.DialTimeout(b, time.Second); err != nil {
		t.Error(err)
	}
	y.Shutdown()
	if _, err := (<-y.StreamCh()).Read(make([]byte, 1)); err == nil {
		t.Error("a stream outlives its node")
	}
	y = n.Transport(b) // the address is free again
	y.Shutdown()
	x.Shutdown()
	if _, err := x.WriteTo(nil, b); err == nil {
		t.Error("a node that is down sends")
	}
}

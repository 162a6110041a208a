package testkit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// echoServer answers lines and datagrams with themselves, at host.
func echoServer(t *testing.T, host string) string {
	t.Helper()
	_, port, _ := net.SplitHostPort(FreeAddr(t))
	addr := net.JoinHostPort(host, port)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); u.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); io.Copy(c, c) }()
		}
	}()
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			u.WriteTo(buf[:n], from)
		}
	}()
	return addr
}

// line sends one on c and returns what comes back.
func line(c net.Conn, text string, within time.Duration) error {
	c.SetDeadline(time.Now().Add(within))
	if _, err := fmt.Fprintln(c, text); err != nil {
		return err
	}
	got, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && got != text+"\n" {
		err = fmt.Errorf("got %q", got)
	}
	return err
}

func dial(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

const patience = 20 * time.Second // for what must happen

func TestFaultProxyDoesAsItIsTold(t *testing.T) {
	p := StartFaultProxy(t, echoServer(t, "127.0.0.1"))
	c := dial(t, "tcp", p.Addr)
	if err := line(c, "one", patience); err != nil {
		t.Fatal(err)
	}

	p.Set(Blackhole)
	if err := line(c, "two", 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("blackholed: %v", err)
	}
	p.Set(Pass)
	c.SetDeadline(time.Now().Add(patience))
	if got, err := bufio.NewReader(c).ReadString('\n'); got != "two\n" {
		t.Errorf("after a blackhole: %q, %v", got, err)
	}

	p.Delay(300 * time.Millisecond)
	began := time.Now()
	if err := line(c, "three", patience); err != nil || time.Since(began) < 300*time.Millisecond {
		t.Errorf("delayed: %v after %v", err, time.Since(began))
	}
	p.Delay(0)

	p.Set(Close)
	if err := line(c, "four", patience); err == nil {
		t.Error("an open connection was not closed")
	}
	if err := line(dial(t, "tcp", p.Addr), "five", patience); err == nil {
		t.Error("a new connection was not closed")
	}

	p.Set(Refuse)
	if _, err := net.Dial("tcp", p.Addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refused: %v", err)
	}
	p.Set(Pass)
	if err := line(dial(t, "tcp", p.Addr), "six", patience); err != nil {
		t.Errorf("after all of it: %v", err)
	}
}

func TestPartitionCutsGroupsApart(t *testing.T) {
	one, two := echoServer(t, "127.9.0.1"), echoServer(t, "127.9.0.2")
	p1, p2 := StartFaultProxy(t, one), StartFaultProxy(t, two)
	// from opens a connection from where the target of a proxy listens.
	from := func(network, host, to string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
		if network == "udp" {
			d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(host)}
		}
		c, err := d.Dial(network, to)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	for _, network := range []string{"tcp", "udp"} {
		c := from(network, "127.9.0.2", p1.Addr)
		if err := line(c, "before", patience); err != nil {
			t.Fatal(network, err)
		}
		Partition([]*FaultProxy{p1}, []*FaultProxy{p2})
		if err := line(c, "lost", 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s across: %v", network, err)
		}
		if err := line(from(network, "127.9.0.1", p1.Addr), "own", patience); err != nil {
			t.Errorf("%s within: %v", network, err)
		}
		Partition([]*FaultProxy{p1, p2})
		if err := line(from(network, "127.9.0.2", p1.Addr), "healed", patience); err != nil {
			t.Errorf("%s healed: %v", network, err)
		}
	}
}

//go:build linux

package rawsock

import (
	"bytes"
	"io"
	"net"
	"syscall"
	"testing"
)

// pair returns the raw side of a connection, and its other end.
func pair(t testing.TB) (syscall.RawConn, *net.TCPConn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	raw, err := a.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return raw, a.(*net.TCPConn), b.(*net.TCPConn)
}

// recv waits for and reads what comes.
func recv(t *testing.T, raw syscall.RawConn, p []byte) (n int, err error) {
	t.Helper()
	if rerr := raw.Read(func(fd uintptr) bool {
		n, err = Recv(fd, p)
		return err != syscall.EAGAIN
	}); rerr != nil {
		t.Fatal(rerr)
	}
	return n, err
}

func TestBytesGoBothWays(t *testing.T) {
	raw, _, other := pair(t)
	if err := raw.Control(func(fd uintptr) {
		if n, err := Recv(fd, make([]byte, 8)); n != 0 || err != syscall.EAGAIN {
			t.Errorf("nothing there: %d, %v", n, err)
		}
		if n, err := Send(fd, []byte("hello")); n != 5 || err != nil {
			t.Errorf("Send: %d, %v", n, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(other, got); err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := other.Write([]byte("and back")); err != nil {
		t.Fatal(err)
	}
	if n, err := recv(t, raw, got); string(got[:n]) != "and b" || err != nil {
		t.Errorf("%q, %v", got[:n], err)
	}
	if n, err := recv(t, raw, got); string(got[:n]) != "ack" || err != nil {
		t.Errorf("%q, %v", got[:n], err)
	}
	other.CloseWrite()
	if n, err := recv(t, raw, got); n != 0 || err != nil {
		t.Errorf("the end: %d, %v", n, err)
	}
}

func TestFullSocketTakesAPart(t *testing.T) {
	raw, _, other := pair(t)
	big := bytes.Repeat([]byte("x"), 64<<20)
	sent := 0
	if err := raw.Control(func(fd uintptr) {
		for {
			n, err := Send(fd, big[sent:])
			sent += n
			if err != nil {
				if err != syscall.EAGAIN {
					t.Error(err)
				}
				return
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if sent == 0 || sent == len(big) {
		t.Fatalf("the socket took %d bytes", sent)
	}
	if n, err := io.CopyN(io.Discard, other, int64(sent)); err != nil || n != int64(sent) {
		t.Errorf("%d of %d arrived: %v", n, sent, err)
	}
}

// A peer that has gone is an error, not a signal that ends the process.
func TestGonePeerIsAnError(t *testing.T) {
	raw, _, other := pair(t)
	if err := other.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	other.Close()
	if _, err := recv(t, raw, make([]byte, 1)); err != syscall.ECONNRESET {
		t.Errorf("Recv: %v", err)
	}
	if err := raw.Control(func(fd uintptr) {
		if _, err := Send(fd, []byte("x")); err != syscall.EPIPE {
			t.Errorf("Send: %v", err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAllocNothing(t *testing.T) {
	raw, _, other := pair(t)
	go io.Copy(io.Discard, other)
	p := []byte("some bytes")
	send := func(fd uintptr) { Send(fd, p); Recv(fd, p) }
	if n := testing.AllocsPerRun(100, func() { raw.Control(send) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

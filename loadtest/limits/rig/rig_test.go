package rig

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"sluice/loadtest/compare/responder"
)

func TestQuantilesAreAtMostAnEighthTooLong(t *testing.T) {
	var l latencies
	for d := time.Duration(1); d < time.Second; d = d*9/8 + 1 {
		if got := upper(step(d)); got < d || got > d+d/8+1 {
			t.Fatalf("%v is in the step that ends at %v", d, got)
		}
	}
	for range 99 {
		l.add(time.Millisecond)
	}
	l.add(time.Second)
	q := l.quantiles(0.5, 0.99, 1)
	if q[0] < time.Millisecond || q[0] > 1200*time.Microsecond || q[1] != q[0] || q[2] < time.Second {
		t.Errorf("%v", q)
	}
}

func TestAClientAsksAgainOnlyWhereNothingWasAnswered(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	c := newClient(address)
	if _, err := c.ask([]byte("GET / HTTP/1.1\r\n\r\n")); err == nil {
		t.Error("an answer from nobody")
	}
	serve := func() (stop func()) {
		s, err := responder.Listen(address, map[string][]byte{"/": []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		return func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	stop := serve()
	for path, want := range map[string]int{"/": 200, "/other": 404} {
		if status, err := c.ask([]byte("GET " + path + " HTTP/1.1\r\n\r\n")); status != want || err != nil {
			t.Errorf("%s: %d, %v", path, status, err)
		}
	}
	stop() // closes the kept connection
	stop = serve()
	defer stop()
	if status, err := c.ask([]byte("GET / HTTP/1.1\r\n\r\n")); status != 200 || err != nil {
		t.Errorf("on a kept connection that was closed meanwhile: %d, %v", status, err)
	}
	c.close()

	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	go func() {
		for {
			k, err := mute.Accept()
			if err != nil {
				return
			}
			k.Write([]byte("HTTP/1.1 20")) //nolint:errcheck // and no more
			k.Close()
		}
	}()
	if _, err := newClient(mute.Addr().String()).ask([]byte("GET / HTTP/1.1\r\n\r\n")); err == nil || errors.Is(err, errClosed) {
		t.Errorf("half an answer: %v", err)
	}
}

// TestNodesCanBeCutOff needs what the machine may not have; then the rig
// says so, and that is what is tested.
func TestNodesCanBeCutOff(t *testing.T) {
	n := Detect(2, false)
	defer n.Close()
	t.Log(n.Kind)
	if !n.Namespaces() {
		if err := n.CutGossip(0); !errors.Is(err, ErrLoopback) {
			t.Errorf("cut on loopback: %v", err)
		}
		return
	}
	// Between this process, on the bridge, and node 0, which says nothing: its kernel
	// refuses a connection at once, unless what it answers is lost.
	reach := func() bool {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(n.nodes[0], "9"), 300*time.Millisecond)
		if err == nil {
			c.Close()
			return true
		}
		var late net.Error
		return !errors.As(err, &late) || !late.Timeout()
	}
	if !reach() {
		t.Fatal("node 0 is not in reach")
	}
	if err := n.Drop(0, n.Host, 1); err != nil {
		t.Fatal(err)
	}
	if reach() {
		t.Error("node 0 is in reach of whom it drops")
	}
	if err := n.Heal(); err != nil {
		t.Fatal(err)
	}
	if !reach() {
		t.Error("node 0 is out of reach after healing")
	}
}

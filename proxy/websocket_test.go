package proxy

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"sluice/internal/testkit"
)

// frame is one of so many bytes, masked as a client's when asked for.
func frame(opcode byte, n int, masked bool) []byte {
	b := []byte{0x80 | opcode}
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	switch {
	case n < 126:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	if masked {
		b = append(b, 1, 2, 3, 4)
	}
	return append(b, bytes.Repeat([]byte{0xff}, n)...)
}

func TestFramesAreFollowedWhereverTheyAreCut(t *testing.T) {
	var stream []byte
	var ends []int
	for i, n := range []int{0, 1, 125, 126, 70000, 0, 5} {
		stream = append(stream, frame(byte(i), n, i%2 == 0)...)
		ends = append(ends, len(stream))
	}
	for _, piece := range []int{1, 2, 3, 7, 1000, len(stream)} {
		var f frames
		var got []int
		for at := 0; at < len(stream); {
			p := stream[at:min(at+piece, len(stream))]
			for len(p) > 0 {
				n := f.take(p)
				at += n
				p = p[n:]
				if f.boundary() {
					got = append(got, at)
				}
			}
		}
		if len(got) != len(ends) {
			t.Fatalf("in pieces of %d: %d frames, want %d", piece, len(got), len(ends))
		}
		for i := range ends {
			if got[i] != ends[i] {
				t.Fatalf("in pieces of %d: frame %d ends at %d, want %d", piece, i, got[i], ends[i])
			}
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(append(frame(1, 3, true), frame(8, 2, false)...), 2)
	f.Add([]byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, 1)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		// However the bytes are cut, the state afterwards is the same.
		var whole, parts frames
		feed := func(f *frames, p []byte) {
			for len(p) > 0 {
				n := f.take(p)
				if n < 1 || n > len(p) {
					t.Fatalf("took %d of %d bytes", n, len(p))
				}
				p = p[n:]
			}
		}
		feed(&whole, b)
		cut = min(max(cut, 0), len(b))
		feed(&parts, b[:cut])
		feed(&parts, b[cut:])
		if whole.left != parts.left || whole.have != parts.have || whole.opcode != parts.opcode {
			t.Errorf("%+v, cut at %d %+v", whole, cut, parts)
		}
	})
}

// TestEndingATunnelWaitsForTheFrameUnderWay ends a WebSocket between the two halves
// of a frame: both sides get 1001 where a frame may begin.
func TestEndingATunnelWaitsForTheFrameUnderWay(t *testing.T) {
	testkit.CheckLeaks(t)
	client, front := net.Pipe()
	server, back := net.Pipe()
	tunnel := newTunnelled(front, back, true)
	done := make(chan struct{})
	go func() { defer close(done); tunnel.join(nil) }()
	read := func(from net.Conn, want []byte) {
		t.Helper()
		got := make([]byte, len(want))
		if err := from.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(from, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %x, %v, want %x", got, err, want)
		}
	}
	message := frame(1, 200, false)
	send := func(to net.Conn, b []byte) {
		t.Helper()
		if _, err := to.Write(b); err != nil {
			t.Error(err)
		}
	}
	go send(server, message[:50])
	read(client, message[:50])
	tunnel.end()
	tunnel.end() // again does nothing
	read(server, goingAwayToServer)
	go send(server, append(message[50:], frame(1, 10, false)...)) // a second one comes too late
	read(client, message[50:])
	read(client, goingAwayToClient)
	go send(client, frame(8, 2, true)) // which the client answers
	<-done
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open after the answer")
	}
	client.Close()
	server.Close()
}

package proxy

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
)

// frames follows the framing of a WebSocket connection in one direction
// (RFC 6455 §5.2), so that a frame of our own can go between two of theirs.
// The zero value is at the begin of a frame.
type frames struct {
	head   [14]byte
	have   int    // bytes of a head that is not complete
	left   uint64 // bytes of payload to come
	opcode byte   // of the last head that was complete
}

// boundary reports whether no frame is under way.
func (f *frames) boundary() bool { return f.have == 0 && f.left == 0 }

// take follows p to the end of the frame under way at most, and returns how much
// of p that is.
func (f *frames) take(p []byte) (n int) {
	for n < len(p) {
		if f.left > 0 {
			k := min(f.left, uint64(len(p)-n))
			f.left -= k
			n += int(k)
			if f.left == 0 {
				return n
			}
			continue
		}
		f.head[f.have] = p[n]
		f.have++
		n++
		if f.have < f.headLength() {
			continue
		}
		f.opcode, f.left, f.have = f.head[0]&0xf, f.payload(), 0
		if f.left == 0 {
			return n
		}
	}
	return n
}

// headLength is how long the head under way is, as far as can be told.
func (f *frames) headLength() int {
	if f.have < 2 {
		return 2
	}
	n := 2
	switch f.head[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if f.head[1]&0x80 != 0 {
		n += 4 // masking key
	}
	return n
}

// payload is the length that a complete head announces.
func (f *frames) payload() uint64 {
	switch n := f.head[1] & 0x7f; n {
	case 126:
		return uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		return binary.BigEndian.Uint64(f.head[2:])
	default:
		return uint64(n)
	}
}

const opcodeClose = 8

// The close frames of an endpoint that is going away (1001, RFC 6455 §7.4.1), for
// a client and for a server, to which frames are masked; a constant needs no
// secret key.
var (
	goingAwayToClient = []byte{0x88, 2, 0x03, 0xe9}
	goingAwayToServer = []byte{0x88, 0x80 | 2, 0, 0, 0, 0, 0x03, 0xe9}
)

// framed is one direction of a WebSocket tunnel.
type framed struct {
	dst     net.Conn
	goodbye []byte      // what ends the direction
	ending  atomic.Bool // goodbye is to be sent at the next boundary

	mu     sync.Mutex // guards what follows, and writing to dst
	frames frames
	ended  bool // goodbye has been sent: what still comes is dropped
}

// write passes p on, as far as it goes on. It reports whether p ends with, or has
// in it, the end of a close frame.
func (d *framed) write(p []byte) (closes bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	pass := 0
	for rest := p; len(rest) > 0; {
		n := d.frames.take(rest)
		rest = rest[n:]
		if !d.ended {
			pass += n
		}
		if !d.frames.boundary() {
			break
		}
		closes = closes || d.frames.opcode == opcodeClose
		if d.ending.Load() && !d.ended {
			d.ended = true
			if _, err := d.dst.Write(p[:pass]); err != nil {
				return closes, err
			}
			pass = 0
			if _, err := d.dst.Write(d.goodbye); err != nil {
				return closes, err
			}
		}
	}
	if pass > 0 {
		_, err = d.dst.Write(p[:pass])
	}
	return closes, err
}

// end says goodbye, ending being set: now, or when the frame under way is complete.
func (d *framed) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended && d.frames.boundary() {
		d.ended = true
		_, _ = d.dst.Write(d.goodbye) // who does not take it is cut off soon
	}
}

package cluster

import (
	"encoding/binary"
	"errors"
)

// A frame is what one node sends to another inside the gossip library's user
// messages, which are encrypted and authenticated but name no sender:
//
//	magic  version  kind  flags   1 byte each
//	from                          8 bytes, replica that made the frame
//	to                            8 bytes, replica it is for; 0 for broadcasts
//	seq                           varint, see window
//	topic                         4 bytes, when kind is message
//	sent                          varint, Unix ms, when flags has broadcast
//	name                          length and bytes, when flags has broadcast
//	part                          index and count, 1 byte each, first seq as a varint, when flags has part
//	payload                       the rest
const (
	frameMagic   = 0xC5
	frameVersion = 1

	// APIVersion is the version of all messages between nodes.
	APIVersion = frameVersion
)

type kind uint8

const (
	kindMessage kind = iota + 1 // of a topic
	kindFacts                   // entries
	kindDigest                  // of facts
	kindWant                    // ranges of facts
	kindProbe                   // clock question
	kindEcho                    // clock answer
	kindKeyAsk
	kindKeyAnswer
	kindLeaving
	kindEnd
)

var kindNames = [kindEnd]string{"", "message", "facts", "digest", "want", "probe", "echo", "key_ask", "key_answer", "leaving"}

const (
	flagS2        = 1 << iota // the payload, whole, is compressed
	flagPart                  // the payload is a part
	flagBroadcast             // passed on by those who receive it
	flagStream                // came by a stream: counted apart, since it may be late
	flagsKnown    = 1<<iota - 1
)

const maxBroadcastName = 255

type frame struct {
	kind      kind
	flags     byte
	from, to  NodeID
	seq       uint64
	topic     uint32
	sent      int64
	name      string
	index, of byte
	first     uint64
	payload   []byte
}

// maxHeader is the longest header without a name: fixed bytes, topic, and the
// varints of seq, sent and part.
const maxHeader = 20 + 10 + 4 + 10 + 12

func (f *frame) append(b []byte) []byte {
	b = append(b, frameMagic, frameVersion, byte(f.kind), f.flags)
	b = binary.LittleEndian.AppendUint64(b, uint64(f.from))
	b = binary.LittleEndian.AppendUint64(b, uint64(f.to))
	b = binary.AppendUvarint(b, f.seq)
	if f.kind == kindMessage {
		b = binary.LittleEndian.AppendUint32(b, f.topic)
	}
	if f.flags&flagBroadcast != 0 {
		b = binary.AppendUvarint(b, uint64(f.sent))
		b = append(b, byte(len(f.name)))
		b = append(b, f.name...)
	}
	if f.flags&flagPart != 0 {
		b = append(b, f.index, f.of)
		b = binary.AppendUvarint(b, f.first)
	}
	return append(b, f.payload...)
}

var (
	errMalformed = errors.New("malformed")
	errVersion   = errors.New("version")
)

// parseFrame reads a frame. The payload is part of b; the name is a copy.
func parseFrame(b []byte) (f frame, err error) {
	if len(b) < 21 || b[0] != frameMagic {
		return f, errMalformed
	}
	if b[1] != frameVersion {
		return f, errVersion
	}
	f.kind, f.flags = kind(b[2]), b[3]
	f.from = NodeID(binary.LittleEndian.Uint64(b[4:]))
	f.to = NodeID(binary.LittleEndian.Uint64(b[12:]))
	r := reader{b: b[20:]}
	f.seq = r.uvarint()
	if f.kind == 0 || f.kind >= kindEnd || f.flags&^flagsKnown != 0 || f.from == 0 {
		return f, errMalformed
	}
	if f.kind == kindMessage {
		f.topic = r.uint32()
	}
	if f.flags&flagBroadcast != 0 {
		f.sent = int64(r.uvarint() & (1<<63 - 1))
		f.name = string(r.bytes(int(r.byte())))
	}
	if f.flags&flagPart != 0 {
		f.index, f.of = r.byte(), r.byte()
		f.first = r.uvarint()
		if f.of < 2 || f.of > MaxDatagrams || f.index >= f.of || f.first+uint64(f.index) != f.seq || f.flags&flagBroadcast != 0 {
			return f, errMalformed
		}
	}
	if r.bad || (f.to == 0) != (f.flags&flagBroadcast != 0) {
		return f, errMalformed
	}
	f.payload = r.b
	return f, nil
}

// reader takes fields off a buffer; after the first that is missing, bad is set
// and everything reads as zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) bytes(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte {
	if v := r.bytes(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if v := r.bytes(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if v := r.bytes(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	if r.bad {
		return 0
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// text reads a length byte and as many bytes.
func (r *reader) text() string { return string(r.bytes(int(r.byte()))) }

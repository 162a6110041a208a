package lease

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"sluice/limiter/core"
)

// The format of a message, integers as varints unless a size is given:
//
//	version (1)  kind (1)  flags (1)  epoch
//	pings and pongs: sentNS  replica (8)
//	decree:          epoch  by (1)  voters  before  homes  whole
//	items:           count, and of each: key (16), and by kind
//	  takes, copies: limit  take  [reply of copies]
//	  grants:        reply
//	  copied:        to (8)  seq
//	  recall, snapped: nothing
//	  snaps:         limit  rows with their uses
//
// A reader of another version drops the message: nodes of two versions each keep
// to what both know, which is this.
const wireVersion = 1

const (
	flagRedisUp = 1 << iota
	flagSure
	flagHanded
)

// Bounds of what is read: a peer may be of another make.
const (
	mostItems  = 4096
	mostUses   = 1024
	mostNames  = 4096
	mostRights = 1 << 40
)

// ErrMessage says that bytes are no message of this version.
var ErrMessage = errors.New("limiter: not a message of this version")

// Append appends the message to b.
func (m *Message) Append(b []byte) []byte {
	flags := byte(0)
	if m.RedisUp {
		flags |= flagRedisUp
	}
	if m.Sure {
		flags |= flagSure
	}
	if m.Handed {
		flags |= flagHanded
	}
	b = append(b, wireVersion, byte(m.Kind), flags)
	b = binary.AppendUvarint(b, m.Epoch)
	switch m.Kind {
	case MsgPing, MsgPong:
		b = binary.AppendVarint(b, m.SentNS)
		return binary.LittleEndian.AppendUint64(b, uint64(m.Replica))
	case MsgDecree:
		d := m.Decree
		b = binary.AppendUvarint(b, d.Epoch)
		b = append(b, byte(d.By))
		for _, list := range [][]uint32{d.Voters, d.Before} {
			b = binary.AppendUvarint(b, uint64(len(list)))
			for _, v := range list {
				b = binary.LittleEndian.AppendUint32(b, v)
			}
		}
		for _, list := range [][]Member{d.Homes, d.Whole} {
			b = binary.AppendUvarint(b, uint64(len(list)))
			for _, h := range list {
				b = binary.LittleEndian.AppendUint64(b, uint64(h))
			}
		}
		return b
	}
	b = binary.AppendUvarint(b, uint64(len(m.Items)))
	for i := range m.Items {
		it := &m.Items[i]
		b = binary.LittleEndian.AppendUint64(b, it.Key[0])
		b = binary.LittleEndian.AppendUint64(b, it.Key[1])
		switch m.Kind {
		case MsgTake:
			b = appendTake(appendLimit(b, it.Limit), &it.Take)
		case MsgCopy:
			b = appendReply(appendTake(appendLimit(b, it.Limit), &it.Take), &it.Reply)
		case MsgGrant:
			b = appendReply(b, &it.Reply)
		case MsgCopied:
			b = binary.LittleEndian.AppendUint64(b, uint64(it.Reply.To))
			b = binary.AppendUvarint(b, it.Reply.Seq)
		case MsgSnap:
			b = appendLimit(b, it.Limit)
			b = binary.AppendUvarint(b, uint64(len(it.Snap.Rows)))
			for _, r := range it.Snap.Rows {
				b = binary.LittleEndian.AppendUint64(b, uint64(r.Replica))
				b = appendRow(b, r.Row)
				b = binary.AppendUvarint(b, r.Seq)
				b = append(b, bit(r.Gone))
				b = appendUses(b, r.Uses)
			}
		}
	}
	return b
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func appendLimit(b []byte, l Limit) []byte {
	b = binary.AppendUvarint(b, uint64(l.Rights))
	b = binary.AppendUvarint(b, uint64(l.Window))
	b = append(b, bit(l.Fixed))
	return binary.AppendUvarint(b, l.Version)
}

func appendRow(b []byte, r core.Row) []byte {
	b = binary.AppendUvarint(b, uint64(r.Granted))
	b = binary.AppendUvarint(b, uint64(r.Settled))
	return binary.AppendUvarint(b, uint64(r.Returned))
}

func appendUses(b []byte, uses []core.Uses) []byte {
	b = binary.AppendUvarint(b, uint64(len(uses)))
	for _, u := range uses {
		b = binary.AppendUvarint(b, uint64(u.Age))
		b = binary.AppendUvarint(b, uint64(u.N))
	}
	return b
}

func appendTake(b []byte, t *core.Take) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(t.From))
	b = binary.AppendUvarint(b, t.Epoch)
	b = binary.AppendUvarint(b, t.Seq)
	b = appendRow(b, t.Row)
	b = append(b, bit(t.Whole))
	b = binary.AppendVarint(b, t.Want)
	return appendUses(b, t.Uses)
}

func appendReply(b []byte, r *core.Reply) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(r.To))
	b = append(b, byte(r.Verdict))
	for _, n := range []uint64{r.Epoch, r.Seq, uint64(r.Granted), uint64(r.Pool), uint64(r.Wait), uint64(r.Reset), uint64(len(r.Holders))} {
		b = binary.AppendUvarint(b, n)
	}
	for _, h := range r.Holders {
		b = binary.LittleEndian.AppendUint64(b, uint64(h))
	}
	return b
}

// Parse reads a message and keeps nothing of b.
func Parse(b []byte) (m Message, err error) {
	r := wireReader{b: b}
	if r.byte() != wireVersion {
		return m, ErrMessage
	}
	m.Kind = MessageKind(r.byte())
	flags := r.byte()
	m.RedisUp, m.Sure, m.Handed = flags&flagRedisUp != 0, flags&flagSure != 0, flags&flagHanded != 0
	m.Epoch = r.uvarint(1 << 62)
	switch {
	case m.Kind == MsgPing || m.Kind == MsgPong:
		m.SentNS, m.Replica = r.varint(), core.Replica(r.u64())
	case m.Kind == MsgDecree:
		m.Decree = r.decree()
	case m.Kind < MsgTake || m.Kind > MsgSnapped:
		return m, ErrMessage
	default:
		for range r.count(mostItems, 16) {
			m.Items = append(m.Items, r.item(m.Kind))
			if r.bad {
				break
			}
		}
	}
	if r.bad || len(r.b) > 0 {
		return Message{}, ErrMessage
	}
	return m, nil
}

// wireReader takes a message apart. Once something was missing it gives zeros and
// is bad.
type wireReader struct {
	b   []byte
	bad bool
}

func (r *wireReader) fail() { r.b, r.bad = nil, true }

func (r *wireReader) bytes(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *wireReader) byte() byte   { return r.bytes(1)[0] }
func (r *wireReader) u64() uint64  { return binary.LittleEndian.Uint64(r.bytes(8)) }
func (r *wireReader) u32() uint32  { return binary.LittleEndian.Uint32(r.bytes(4)) }
func (r *wireReader) bool() bool   { return r.byte() == 1 }
func (r *wireReader) key() (k Key) { k[0], k[1] = r.u64(), r.u64(); return k }

func (r *wireReader) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > most {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *wireReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many things of at least so many bytes follow.
func (r *wireReader) count(most, bytes int) int {
	n := int(r.uvarint(uint64(most)))
	if n*bytes > len(r.b) {
		r.fail()
		return 0
	}
	return n
}

func (r *wireReader) rights() int64     { return int64(r.uvarint(mostRights)) }
func (r *wireReader) stamp() core.Stamp { return core.Stamp(r.uvarint(1<<31 - 1)) }

func (r *wireReader) decree() *Decree {
	d := &Decree{Epoch: r.uvarint(1 << 62), By: Authority(r.byte())}
	if d.By > ByHome {
		r.fail()
	}
	for _, list := range []*[]uint32{&d.Voters, &d.Before} {
		for range r.count(mostNames, 4) {
			*list = append(*list, r.u32())
		}
	}
	for _, list := range []*[]Member{&d.Homes, &d.Whole} {
		for range r.count(mostNames, 8) {
			*list = append(*list, Member(r.u64()))
		}
	}
	return d
}

func (r *wireReader) item(kind MessageKind) (it Item) {
	it.Key = r.key()
	switch kind {
	case MsgTake:
		it.Limit, it.Take = r.limit(), r.take()
	case MsgCopy:
		it.Limit, it.Take, it.Reply = r.limit(), r.take(), r.reply()
	case MsgGrant:
		it.Reply = r.reply()
	case MsgCopied:
		it.Reply.To, it.Reply.Seq = core.Replica(r.u64()), r.uvarint(1<<62)
	case MsgSnap:
		it.Limit = r.limit()
		for range r.count(mostNames, 8) {
			it.Snap.Rows = append(it.Snap.Rows, core.SnapshotRow{Replica: core.Replica(r.u64()), Row: r.row(), Seq: r.uvarint(1 << 62), Gone: r.bool(), Uses: r.uses()})
		}
	}
	return it
}

func (r *wireReader) limit() (l Limit) {
	l.Rights, l.Window, l.Fixed, l.Version = r.rights(), time.Duration(r.uvarint(uint64(400*24*time.Hour))), r.bool(), r.uvarint(1<<63-1)
	if l.Rights < 1 || l.Window < time.Millisecond {
		r.fail()
	}
	return l
}

// row reads a row that makes sense: nobody has used or returned more than was granted.
func (r *wireReader) row() core.Row {
	row := core.Row{Granted: r.rights(), Settled: r.rights(), Returned: r.rights()}
	if row.Held() < 0 {
		r.fail()
	}
	return row
}

func (r *wireReader) uses() (uses []core.Uses) {
	for range r.count(mostUses, 2) {
		uses = append(uses, core.Uses{Age: r.stamp(), N: int64(r.uvarint(1<<32 - 1))})
	}
	return uses
}

func (r *wireReader) take() (t core.Take) {
	t.From, t.Epoch, t.Seq, t.Row, t.Whole = core.Replica(r.u64()), r.uvarint(1<<62), r.uvarint(1<<62), r.row(), r.bool()
	if t.Want = r.varint(); t.Want < core.ReportOnly || t.Want > mostRights {
		r.fail()
	}
	t.Uses = r.uses()
	return t
}

func (r *wireReader) reply() (p core.Reply) {
	p.To, p.Verdict = core.Replica(r.u64()), core.Verdict(r.byte())
	if p.Verdict > core.Reclaimed {
		r.fail()
	}
	p.Epoch, p.Seq, p.Granted, p.Pool = r.uvarint(1<<62), r.uvarint(1<<62), r.rights(), r.rights()
	p.Wait, p.Reset = r.stamp(), r.stamp()
	for range r.count(mostNames, 8) {
		p.Holders = append(p.Holders, core.Replica(r.u64()))
	}
	slices.Sort(p.Holders)
	return p
}

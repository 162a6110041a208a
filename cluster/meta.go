package cluster

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/hashicorp/memberlist"
)

// nodeMeta is what a node says about itself beside its name and address. The
// library spreads it with the membership.
//
//	magic  version  nonce (4)  API (2)  generation (4)  version text  application's bytes
type nodeMeta struct {
	nonce      uint32
	api        uint16
	generation uint32
	version    string
	app        []byte
}

const metaVersion = 1

func (m *nodeMeta) append(b []byte) []byte {
	b = append(b, frameMagic, metaVersion)
	b = binary.LittleEndian.AppendUint32(b, m.nonce)
	b = binary.LittleEndian.AppendUint16(b, m.api)
	b = binary.LittleEndian.AppendUint32(b, m.generation)
	b = append(b, byte(len(m.version)))
	b = append(b, m.version...)
	return append(b, m.app...)
}

var errMeta = errors.New("no node of ours: its meta data cannot be read")

func parseMeta(b []byte) (m nodeMeta, err error) {
	r := reader{b: b}
	magic, version := r.byte(), r.byte()
	m.nonce = r.uint32()
	m.api = uint16(r.byte()) | uint16(r.byte())<<8
	m.generation = r.uint32()
	m.version = r.text()
	if r.bad || magic != frameMagic || version != metaVersion || m.nonce == 0 ||
		len(m.version) > maxVersion || len(r.b) > MaxMeta {
		return nodeMeta{}, errMeta
	}
	if len(r.b) > 0 {
		m.app = append([]byte(nil), r.b...)
	}
	return m, nil
}

// SetMeta changes what [Member.Meta] of this node is everywhere, within about a
// second. At most MaxMeta bytes; it is copied.
func (n *Node) SetMeta(b []byte) error {
	if len(b) > MaxMeta {
		return ErrTooLarge
	}
	b = append([]byte(nil), b...)
	n.meta.Store(&b)
	select {
	case n.metaNews <- struct{}{}:
	default: // one is waiting, and will read what was just stored
	}
	return nil
}

// publishMeta has the library spread new meta data. One goroutine does it: the
// library's UpdateNode is not made for two at once, and it waits.
//
// A successor says twice more who it is. It counts its incarnation on from what
// its peers tell it, and a word of the predecessor that is still on the way may
// carry the same number; what peers hear second under one number they ignore.
func (n *Node) publishMeta() {
	var again <-chan time.Time
	left := 0
	if n.successor {
		again, left = time.After(500*time.Millisecond), 2
	}
	for {
		select {
		case <-n.metaNews:
		case <-again:
			if left--; left > 0 {
				again = time.After(2500 * time.Millisecond)
			}
		case <-n.stop:
			return
		}
		if err := n.list.Load().UpdateNode(time.Second); err != nil {
			n.log.Debug("meta data still spreading", "error", err)
		}
	}
}

// delegate is what the gossip library calls. Some of it is called while the
// library holds its lock: nothing here may call back into it or wait.
type delegate struct{ n *Node }

func (d delegate) NodeMeta(limit int) []byte {
	n := d.n
	m := nodeMeta{nonce: n.id.nonce, api: APIVersion, generation: n.id.generation, version: n.o.Version, app: *n.meta.Load()}
	return m.append(make([]byte, 0, limit))
}

func (d delegate) NotifyMsg(b []byte) { d.n.receive(b) }

func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.n.broadcasts.queue.GetBroadcasts(overhead, limit)
}

func (d delegate) LocalState(bool) []byte            { return d.n.localState() }
func (d delegate) MergeRemoteState(b []byte, _ bool) { d.n.mergeState(b) }

// NotifyAlive refuses nodes that are not ours, and one whose name is another's
// in the 32 bits that frames carry.
func (d delegate) NotifyAlive(peer *memberlist.Node) error {
	if _, err := parseMeta(peer.Meta); err != nil {
		return err
	}
	return d.n.roster.admit(peer.Name)
}

func (d delegate) NotifyJoin(peer *memberlist.Node)   { d.n.roster.joined(peer) }
func (d delegate) NotifyUpdate(peer *memberlist.Node) { d.n.roster.joined(peer) }
func (d delegate) NotifyLeave(peer *memberlist.Node)  { d.n.roster.left(peer.Name) }

func (d delegate) NotifyConflict(existing, other *memberlist.Node) {
	d.n.roster.conflict(existing, other)
}

func (d delegate) AckPayload() []byte { return nil }

func (d delegate) NotifyPingComplete(other *memberlist.Node, _ time.Duration, _ []byte) {
	if p := d.n.roster.byName(other.Name); p != nil {
		p.hear()
	}
}

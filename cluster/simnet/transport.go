package simnet

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

// queued is how many packets wait for a receiver; a kernel drops the rest, too.
const queued = 4096

// Transport is one node's access to a network. It implements what the gossip
// library asks for.
type Transport struct {
	net     *Network
	addr    netip.AddrPort
	name    string
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	close   sync.Once

	packetsIn, packetsOut, packetBytesIn, packetBytesOut, streamBytesIn, streamBytesOut atomic.Uint64

	mu    sync.Mutex
	conns map[*conn]struct{}
}

var _ memberlist.NodeAwareTransport = (*Transport)(nil)

// Transport returns the transport at an address, such as 10.0.0.1:7946. A former
// one at that address that was shut down is replaced; one that was not panics,
// as does an address that is none.
func (n *Network) Transport(addr string) *Transport {
	t := &Transport{
		net: n, addr: netip.MustParseAddrPort(addr), name: addr,
		packets: make(chan *memberlist.Packet, queued), streams: make(chan net.Conn, queued),
		done: make(chan struct{}), conns: map[*conn]struct{}{},
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nodes[addr] != nil {
		panic("simnet: " + addr + " is taken")
	}
	n.nodes[addr] = t
	return t
}

// FinalAdvertiseAddr returns the transport's address.
func (t *Transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.addr.Addr().AsSlice(), int(t.addr.Port()), nil
}

// WriteTo sends a packet, to nobody when nobody is there.
func (t *Transport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress sends a packet, to nobody when nobody is there.
func (t *Transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	now := time.Now()
	if t.isDown() {
		return now, net.ErrClosed
	}
	t.net.tapped(t.name, a.Addr, b)
	t.packetsOut.Add(1)
	t.packetBytesOut.Add(uint64(len(b)))
	for _, d := range t.net.throw(t.name, a.Addr) {
		t.Inject(a.Addr, b, d)
	}
	return now, nil
}

// Inject puts a packet on the network that claims to come from t, whatever state
// the link is in: for tests that play an attacker.
func (t *Transport) Inject(to string, b []byte, delay time.Duration) {
	p := &memberlist.Packet{Buf: append([]byte(nil), b...), From: net.UDPAddrFromAddrPort(t.addr)}
	arrive := func() {
		if dest := t.net.node(to); dest != nil {
			dest.take(p)
		}
	}
	if delay <= 0 {
		arrive()
		return
	}
	time.AfterFunc(delay, arrive)
}

func (t *Transport) take(p *memberlist.Packet) {
	if t.isDown() {
		return
	}
	p.Timestamp = time.Now()
	select {
	case t.packets <- p:
		t.packetsIn.Add(1)
		t.packetBytesIn.Add(uint64(len(p.Buf)))
	default:
	}
}

// PacketCh is where received packets come out.
func (t *Transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh is where accepted streams come out.
func (t *Transport) StreamCh() <-chan net.Conn { return t.streams }

// DialTimeout opens a stream.
func (t *Transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout opens a stream. Over a cut link it takes the whole timeout
// and fails; where nobody listens it is refused.
func (t *Transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Source: t.tcp(), Err: err}
	}
	if t.net.isCut(t.name, a.Addr) || t.net.isCut(a.Addr, t.name) {
		if !t.sleep(timeout) {
			return fail(net.ErrClosed)
		}
		return fail(syscall.ETIMEDOUT)
	}
	if !t.sleep(t.net.latency(t.name, a.Addr) + t.net.latency(a.Addr, t.name)) {
		return fail(net.ErrClosed)
	}
	dest := t.net.node(a.Addr)
	if dest == nil || dest.isDown() {
		return fail(syscall.ECONNREFUSED)
	}
	here, there := pipe(t, dest)
	if !t.adopt(here) {
		return fail(net.ErrClosed)
	}
	if !dest.adopt(there) {
		here.Close()
		return fail(syscall.ECONNREFUSED)
	}
	select {
	case dest.streams <- there:
		return here, nil
	default:
		here.Close()
		there.Close()
		return fail(syscall.ECONNREFUSED)
	}
}

func (t *Transport) tcp() net.Addr { return net.TCPAddrFromAddrPort(t.addr) }

// sleep waits, and says whether the transport is still up.
func (t *Transport) sleep(d time.Duration) bool {
	if d <= 0 {
		return !t.isDown()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.done:
		return false
	}
}

func (t *Transport) isDown() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

func (t *Transport) adopt(c *conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isDown() {
		return false
	}
	t.conns[c] = struct{}{}
	return true
}

// Shutdown takes the node off the network and ends its streams.
func (t *Transport) Shutdown() error {
	t.close.Do(func() {
		t.net.mu.Lock()
		if t.net.nodes[t.name] == t {
			delete(t.net.nodes, t.name)
		}
		t.net.mu.Unlock()
		t.mu.Lock()
		close(t.done)
		conns := t.conns
		t.conns = nil
		t.mu.Unlock()
		for c := range conns {
			c.Close()
		}
	})
	return nil
}

// Traffic returns what went over the network: packets, their bytes, and the
// bytes of streams.
func (t *Transport) Traffic() (packetsIn, packetsOut, packetBytesIn, packetBytesOut, streamBytesIn, streamBytesOut uint64) {
	return t.packetsIn.Load(), t.packetsOut.Load(), t.packetBytesIn.Load(), t.packetBytesOut.Load(), t.streamBytesIn.Load(), t.streamBytesOut.Load()
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

// Sockets are what gossip runs on: one TCP listener and one UDP socket on the
// same port. They may come from outside, so that a tool for upgrades can pass
// them to a successor process.
type Sockets struct {
	TCP net.Listener
	UDP net.PacketConn
}

// Listen binds both sockets to host:port. With port 0 it finds one that is free
// for both. The error wraps ErrAddressTaken when another process has the port.
func Listen(bind string) (*Sockets, error) {
	host, port, err := net.SplitHostPort(bind)
	if err != nil {
		return nil, fmt.Errorf("gossip on %s: %w", bind, err)
	}
	for attempt := 0; ; attempt++ {
		tcp, err := net.Listen("tcp", bind)
		if err != nil {
			return nil, taken(bind, "tcp", err)
		}
		at := net.JoinHostPort(host, strconv.Itoa(tcp.Addr().(*net.TCPAddr).Port))
		udp, err := net.ListenPacket("udp", at)
		if err == nil {
			return &Sockets{tcp, udp}, nil
		}
		tcp.Close()
		if port != "0" || attempt == 10 {
			return nil, taken(at, "udp", err)
		}
	}
}

func taken(at, network string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("gossip on %s/%s: %w; cluster.bind says where this node listens", at, network, ErrAddressTaken)
	}
	return fmt.Errorf("gossip on %s/%s: %w", at, network, err)
}

// Close closes this process's descriptors of both.
func (s *Sockets) Close() error { return errors.Join(s.TCP.Close(), s.UDP.Close()) }

// Bounds of what strangers can make the transport hold.
const (
	maxStreams   = 256              // open at once, in each direction
	maxPerSource = 64               // of those that one address opened
	streamLimit  = 30 * time.Second // no exchange between nodes takes longer
	dialLimit    = 5 * time.Second
	receiveBytes = 2 << 20 // kernel's queue of packets
)

// socketTransport carries packets by UDP and streams by TCP. Reading can be
// stopped for good while writing goes on, so that a successor process, which
// has the same sockets, can start to read.
type socketTransport struct {
	sockets   *Sockets
	udp       *net.UDPConn // sockets.UDP, when it is one
	bind      string
	advertise netip.AddrPort
	log       *slog.Logger

	packets chan *memberlist.Packet
	streams chan net.Conn
	traffic traffic
	refused atomic.Uint64 // streams over those bounds

	ctx    context.Context // ends with Shutdown
	cancel context.CancelFunc
	stop   atomic.Bool // readers must end
	loops  sync.WaitGroup
	start  sync.Once

	mu      sync.Mutex
	conns   map[*stream]struct{}
	in, out int
	sources map[netip.Addr]int
}

// traffic counts what went over the wire.
type traffic struct{ packetsIn, packetsOut, packetBytesIn, packetBytesOut, streamBytesIn, streamBytesOut atomic.Uint64 }

func newSocketTransport(s *Sockets, bind string, advertise netip.AddrPort, log *slog.Logger) *socketTransport {
	t := &socketTransport{
		sockets: s, bind: bind, advertise: advertise, log: log,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), conns: map[*stream]struct{}{}, sources: map[netip.Addr]int{},
	}
	t.udp, _ = s.UDP.(*net.UDPConn)
	if t.udp != nil {
		t.udp.SetReadBuffer(receiveBytes) // what the kernel grants is enough
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// read starts the loops that read.
func (t *socketTransport) read() {
	t.start.Do(func() {
		t.loops.Go(t.readPackets)
		t.loops.Go(t.accept)
	})
}

// StopReading returns when nothing reads the sockets any more; what arrives
// from then on waits in the kernel for whoever reads next.
func (t *socketTransport) StopReading() {
	t.stop.Store(true)
	past := time.Unix(1, 0)
	t.sockets.UDP.SetReadDeadline(past)
	if l, ok := t.sockets.TCP.(interface{ SetDeadline(time.Time) error }); ok {
		l.SetDeadline(past)
	} else {
		t.sockets.TCP.Close()
	}
	t.loops.Wait()
}

func (t *socketTransport) readPackets() {
	buf := make([]byte, 1<<16)
	for !t.stop.Load() {
		n, from, err := t.sockets.UDP.ReadFrom(buf)
		if err != nil {
			if t.over(err) {
				return
			}
			t.log.Warn("gossip packet not read", "error", err)
			t.pause()
			continue
		}
		t.traffic.packetsIn.Add(1)
		t.traffic.packetBytesIn.Add(uint64(n))
		if n == 0 {
			continue
		}
		// The library keeps the slice and decrypts in place.
		p := &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: from, Timestamp: time.Now()}
		select {
		case t.packets <- p:
		case <-t.ctx.Done():
			return
		}
	}
}

func (t *socketTransport) accept() {
	for !t.stop.Load() {
		c, err := t.sockets.TCP.Accept()
		if err != nil {
			if t.over(err) {
				return
			}
			t.log.Warn("gossip stream not accepted", "error", err)
			t.pause()
			continue
		}
		s := t.adopt(c, true)
		if s == nil {
			continue
		}
		select {
		case t.streams <- s:
		case <-t.ctx.Done():
			s.Close()
			return
		}
	}
}

// over says whether an error of a reader means that it must end.
func (t *socketTransport) over(err error) bool {
	return t.stop.Load() || t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)
}

// pause waits before a failed read is tried again, so that an error that stays
// does not keep a core busy.
func (t *socketTransport) pause() {
	select {
	case <-time.After(50 * time.Millisecond):
	case <-t.ctx.Done():
	}
}

// FinalAdvertiseAddr returns the address at which other nodes reach this one:
// the configured one, else the bound one, else that of the default route.
func (t *socketTransport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	if t.advertise.IsValid() {
		a := t.advertise.Addr().Unmap()
		port := int(t.advertise.Port())
		if port == 0 {
			port = t.port()
		}
		return a.AsSlice(), port, nil
	}
	addr, ok := t.sockets.TCP.Addr().(*net.TCPAddr)
	if !ok {
		return nil, 0, fmt.Errorf("gossip listens on %s: give cluster.advertise", t.sockets.TCP.Addr())
	}
	ip, _ := netip.AddrFromSlice(addr.IP)
	if ip = ip.Unmap(); !ip.IsValid() || ip.IsUnspecified() {
		ip = defaultRoute(ip.Is4() || !ip.IsValid())
	}
	return ip.AsSlice(), addr.Port, nil
}

func (t *socketTransport) port() int {
	if a, ok := t.sockets.TCP.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}

// defaultRoute returns the address that packets to the world would come from.
// Connecting a UDP socket asks the routing table and sends nothing; the
// addresses are those reserved for documentation (RFC 5737, RFC 3849).
func defaultRoute(v4only bool) netip.Addr {
	targets := []string{"192.0.2.1:9"}
	if !v4only {
		targets = append(targets, "[2001:db8::1]:9")
	}
	for _, target := range targets {
		c, err := net.Dial("udp", target)
		if err != nil {
			continue
		}
		a := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
		c.Close()
		return a
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1}) // no network: nodes of one machine
}

// WriteTo sends a packet.
func (t *socketTransport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress sends a packet.
func (t *socketTransport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	to, err := netip.ParseAddrPort(a.Addr)
	if err != nil {
		return time.Time{}, err
	}
	if t.udp != nil {
		_, err = t.udp.WriteToUDPAddrPort(b, to)
	} else {
		_, err = t.sockets.UDP.WriteTo(b, net.UDPAddrFromAddrPort(to))
	}
	if err == nil {
		t.traffic.packetsOut.Add(1)
		t.traffic.packetBytesOut.Add(uint64(len(b)))
	}
	return time.Now(), err
}

// PacketCh is where received packets come out.
func (t *socketTransport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh is where accepted streams come out.
func (t *socketTransport) StreamCh() <-chan net.Conn { return t.streams }

// DialTimeout opens a stream.
func (t *socketTransport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout opens a stream.
func (t *socketTransport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: min(timeout, dialLimit)}
	if at, ok := t.sockets.TCP.Addr().(*net.TCPAddr); ok && !at.IP.IsUnspecified() {
		// Streams come from where packets come from, for the peers' firewalls.
		d.LocalAddr = &net.TCPAddr{IP: at.IP, Zone: at.Zone}
	}
	c, err := d.DialContext(t.ctx, "tcp", a.Addr)
	if err != nil {
		return nil, err
	}
	if s := t.adopt(c, false); s != nil {
		return s, nil
	}
	return nil, errors.New("too many streams")
}

// Shutdown closes this process's descriptors and every stream, and returns when
// nothing reads any more. Duplicates that another process has stay open.
func (t *socketTransport) Shutdown() error {
	t.cancel()
	err := t.sockets.Close()
	t.mu.Lock()
	for c := range t.conns {
		c.Conn.Close()
	}
	t.mu.Unlock()
	t.loops.Wait()
	return err
}

// adopt counts a connection and bounds its life: the library sets no deadline
// where it only writes. It returns nil when there are too many; strangers cannot
// use up those that this node opens.
func (t *socketTransport) adopt(c net.Conn, incoming bool) *stream {
	s := &stream{Conn: c, t: t, incoming: incoming}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		s.source = a.AddrPort().Addr().Unmap()
	}
	t.mu.Lock()
	full := t.ctx.Err() != nil
	if incoming {
		full = full || t.in >= maxStreams || t.sources[s.source] >= maxPerSource
	} else {
		full = full || t.out >= maxStreams
	}
	if !full {
		t.conns[s] = struct{}{}
		t.count(s, 1)
	}
	t.mu.Unlock()
	if full {
		t.refused.Add(1)
		c.Close()
		return nil
	}
	c.SetDeadline(time.Now().Add(streamLimit))
	return s
}

// count adds to the numbers of open streams. The caller holds mu.
func (t *socketTransport) count(s *stream, n int) {
	if !s.incoming {
		t.out += n
		return
	}
	t.in += n
	if t.sources[s.source] += n; t.sources[s.source] == 0 {
		delete(t.sources, s.source)
	}
}

type stream struct {
	net.Conn
	t        *socketTransport
	incoming bool
	source   netip.Addr
}

func (s *stream) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	s.t.traffic.streamBytesIn.Add(uint64(n))
	return n, err
}

func (s *stream) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	s.t.traffic.streamBytesOut.Add(uint64(n))
	return n, err
}

func (s *stream) Close() error {
	s.t.mu.Lock()
	if _, open := s.t.conns[s]; open {
		delete(s.t.conns, s)
		s.t.count(s, -1)
	}
	s.t.mu.Unlock()
	return s.Conn.Close()
}

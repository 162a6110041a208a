package testkit

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// Fault is what a FaultProxy does to traffic.
type Fault uint8

// The faults. Each ends what the one before did; connections and datagrams that a
// fault has hurt stay hurt.
const (
	// Pass forwards.
	Pass Fault = iota
	// Refuse answers connections with a reset, as a host on which nothing listens,
	// and resets those that are open.
	Refuse
	// Close accepts connections and closes them at once, as a server that is full or
	// ends; those that are open are closed, too.
	Close
	// Blackhole accepts connections and forwards nothing, as a host that hangs. What
	// was sent is forwarded once the fault is over, as a network would send it again.
	Blackhole
)

// FaultProxy forwards TCP connections and UDP datagrams to a target, and does to
// them what it is told. Its methods may be called from any goroutine.
type FaultProxy struct {
	// Addr is where it listens: host:port, for TCP and UDP.
	Addr   string
	target string

	mu      sync.Mutex // guards what follows
	fault   Fault
	delay   time.Duration
	cut     func(netip.Addr) bool
	change  chan struct{} // closed when one of these changes
	tcp     net.Listener  // nil: refuses
	udp     *net.UDPConn
	conns   map[net.Conn]struct{}
	sources map[netip.AddrPort]*net.UDPConn
	ended   bool
	loops   sync.WaitGroup
}

// StartFaultProxy puts a proxy before target, on an address of its own, until the
// test ends.
func StartFaultProxy(t testing.TB, target string) *FaultProxy {
	t.Helper()
	p, err := NewFaultProxy(FreeAddr(t), target)
	if err != nil {
		t.Fatalf("testkit: %v", err)
	}
	t.Cleanup(p.End)
	return p
}

// NewFaultProxy listens on addr, TCP and UDP, and forwards to target until End.
func NewFaultProxy(addr, target string) (*FaultProxy, error) {
	p := &FaultProxy{
		Addr: addr, target: target, change: make(chan struct{}),
		conns: make(map[net.Conn]struct{}), sources: make(map[netip.AddrPort]*net.UDPConn),
	}
	at, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	if p.udp, err = net.ListenUDP("udp", at); err != nil {
		return nil, err
	}
	if err := p.listenLocked(); err != nil {
		p.udp.Close()
		return nil, err
	}
	p.loops.Go(p.datagrams)
	return p, nil
}

// Set makes f the fault.
func (p *FaultProxy) Set(f Fault) {
	p.update(func() {
		p.fault = f
		if f == Refuse && p.tcp != nil {
			p.tcp.Close()
			p.tcp = nil
		}
		if f == Refuse || f == Close {
			for c := range p.conns {
				if f == Refuse {
					_ = c.(*net.TCPConn).SetLinger(0) // a reset
				}
				c.Close()
			}
		}
		if f != Refuse && p.tcp == nil && !p.ended {
			if err := p.listenLocked(); err != nil {
				panic(fmt.Sprintf("testkit: fault proxy: %v", err)) // somebody took the port
			}
		}
	})
}

// Delay makes everything that the target answers, and each datagram, so much later.
// It adds to what the fault does.
func (p *FaultProxy) Delay(d time.Duration) { p.update(func() { p.delay = d }) }

// Cut makes traffic from some sources vanish: of those addresses for which from is
// true. nil: of none.
func (p *FaultProxy) Cut(from func(netip.Addr) bool) { p.update(func() { p.cut = from }) }

// Partition cuts what proxies stand before into groups that do not reach each
// other. The targets must send from the addresses that they listen on, each from
// one of its own. One group: all reach each other.
func Partition(groups ...[]*FaultProxy) {
	of := make(map[netip.Addr]int)
	for i, g := range groups {
		for _, p := range g {
			of[netip.MustParseAddrPort(p.target).Addr()] = i
		}
	}
	for i, g := range groups {
		for _, p := range g {
			p.Cut(func(from netip.Addr) bool {
				group, known := of[from]
				return known && group != i
			})
		}
	}
}

// End stops the proxy and everything that goes through it.
func (p *FaultProxy) End() {
	p.update(func() {
		p.ended = true
		p.udp.Close()
		if p.tcp != nil {
			p.tcp.Close()
		}
		for c := range p.conns {
			c.Close()
		}
		for _, c := range p.sources {
			c.Close()
		}
	})
	p.loops.Wait()
}

func (p *FaultProxy) update(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.change)
	p.change = make(chan struct{})
}

func (p *FaultProxy) listenLocked() (err error) {
	if p.tcp, err = net.Listen("tcp", p.Addr); err != nil {
		return err
	}
	l := p.tcp
	p.loops.Go(func() { p.accept(l) })
	return nil
}

// accept takes connections until l is closed.
func (p *FaultProxy) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if !p.adopt(c) {
			c.Close()
			continue
		}
		p.loops.Go(func() { p.serve(c) })
	}
}

// adopt says whether a connection may go on, and remembers it.
func (p *FaultProxy) adopt(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || p.fault == Refuse || p.fault == Close {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *FaultProxy) forget(c net.Conn) {
	c.Close()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

func (p *FaultProxy) serve(client net.Conn) {
	defer p.forget(client)
	source := client.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	if !p.pass(source, client) {
		return
	}
	server, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		return
	}
	if !p.adopt(server) {
		server.Close()
		return
	}
	defer p.forget(server)
	var back sync.WaitGroup
	back.Go(func() { p.pump(client, server, source, true) })
	p.pump(server, client, source, false)
	back.Wait()
}

// piece is what was read at once.
type piece struct {
	data []byte
	at   time.Time
}

// pump forwards from src to dst until one of them ends.
func (p *FaultProxy) pump(dst, src net.Conn, source netip.Addr, answers bool) {
	pieces := make(chan piece, 64)
	var writer sync.WaitGroup
	writer.Go(func() {
		for x := range pieces {
			if p.pass(source, dst) && (!answers || p.late(x.at, dst)) {
				if _, err := dst.Write(x.data); err == nil {
					continue
				}
			}
			src.Close() // the reader must end, too
			for range pieces {
			}
			return
		}
		if c, ok := dst.(*net.TCPConn); ok {
			_ = c.CloseWrite()
		}
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			pieces <- piece{append([]byte(nil), buf[:n]...), time.Now()}
		}
		if err != nil {
			break
		}
	}
	close(pieces)
	writer.Wait()
}

// pass waits while traffic from source goes nowhere. It returns false when c has
// ended meanwhile.
func (p *FaultProxy) pass(source netip.Addr, c net.Conn) bool {
	for {
		p.mu.Lock()
		_, open := p.conns[c]
		held := p.fault == Blackhole || p.cut != nil && p.cut(source)
		change, ended := p.change, p.ended
		p.mu.Unlock()
		if !open || ended {
			return false
		}
		if !held {
			return true
		}
		<-change
	}
}

// late waits until what came at is due. It returns false when c has ended meanwhile.
func (p *FaultProxy) late(at time.Time, c net.Conn) bool {
	for {
		p.mu.Lock()
		_, open := p.conns[c]
		wait := time.Until(at.Add(p.delay))
		change, ended := p.change, p.ended
		p.mu.Unlock()
		if !open || ended {
			return false
		}
		if wait <= 0 {
			return true
		}
		select {
		case <-time.After(wait):
		case <-change:
		}
	}
}

// datagrams forwards from each source through a socket of its own, so that answers
// find back.
func (p *FaultProxy) datagrams() {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := p.udp.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an answer of ICMP to what was sent before
		}
		p.datagram(from, append([]byte(nil), buf[:n]...))
	}
}

func (p *FaultProxy) datagram(from netip.AddrPort, data []byte) {
	source := from.Addr().Unmap()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || p.fault != Pass || p.cut != nil && p.cut(source) {
		return
	}
	out := p.sources[from]
	if out == nil {
		c, err := net.Dial("udp", p.target)
		if err != nil {
			return
		}
		out = c.(*net.UDPConn)
		p.sources[from] = out
		p.loops.Go(func() { p.answers(out, from) })
	}
	if p.delay == 0 {
		_, _ = out.Write(data) // lost, as datagrams may be
		return
	}
	time.AfterFunc(p.delay, func() { _, _ = out.Write(data) })
}

// answers takes datagrams back.
func (p *FaultProxy) answers(c *net.UDPConn, to netip.AddrPort) {
	buf := make([]byte, 1<<16)
	for {
		n, err := c.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		p.mu.Lock()
		drop := p.fault != Pass || p.cut != nil && p.cut(to.Addr().Unmap())
		p.mu.Unlock()
		if err == nil && !drop {
			_, _ = p.udp.WriteToUDPAddrPort(buf[:n], to)
		}
	}
}

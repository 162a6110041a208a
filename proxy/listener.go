package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"sluice/conf"
	"sluice/telemetry"
)

// engine serves HTTP on a listener: net/http's server, or our own front.
type engine interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Close() error
	connections() int64 // open client connections
}

// gauge counts the connections of a net/http server by their states.
type gauge struct{ atomic.Int64 }

func (n *gauge) observe(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		n.Add(1)
	case http.StateClosed, http.StateHijacked:
		n.Add(-1)
	}
}

// Sockets are where listeners come from and how TLS is spoken on them.
type Sockets struct {
	// Listen opens a socket, or takes over one that was inherited.
	Listen func(network, address string) (net.Listener, error)
	// TLS makes the configuration of a TLS listener. It may be called for every
	// revision; what it loads must outlive the revision.
	TLS func(conf.TLS) (*tls.Config, error)
}

// Listeners are the sockets that accept client traffic, each with its server.
// They follow the configuration: a revision opens new ones and closes those
// that it no longer names, and the others never stop accepting.
type Listeners struct {
	gateway *Gateway
	sockets Sockets
	log     *slog.Logger

	mu      sync.Mutex // guards open and retired
	open    map[string]*listening
	retired map[*listening]struct{} // finishing what they have, after a reload
}

// listening is one open socket.
type listening struct {
	conf   conf.Listener
	socket net.Listener
	tls    atomic.Pointer[tls.Config] // nil: plain; swapped by reloads
	engine engine
	at     *endpoint // engine's handler

	stopping atomic.Bool   // the end of Serve is expected
	ended    chan struct{} // closed by it
}

func newListening(c conf.Listener, socket net.Listener) *listening {
	return &listening{conf: c, socket: socket, ended: make(chan struct{})}
}

// NewListeners returns listeners without any open.
func NewListeners(g *Gateway, sockets Sockets, log *slog.Logger) *Listeners {
	return &Listeners{gateway: g, sockets: sockets, log: log, open: make(map[string]*listening), retired: make(map[*listening]struct{})}
}

// Prepared are sockets that a revision needs and that do not accept yet.
type Prepared struct {
	doc    *conf.Document
	opened map[string]*listening
	tls    map[string]*tls.Config
}

// Prepare opens what doc needs and is not open yet, and compiles its TLS. On
// failure nothing has changed, and the problems say why.
func (l *Listeners) Prepare(doc *conf.Document) (*Prepared, conf.Problems) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &Prepared{doc: doc, opened: make(map[string]*listening), tls: make(map[string]*tls.Config)}
	var problems conf.Problems
	fault := func(i int, field string, err error) {
		path := fmt.Sprintf("listeners[%d].%s", i, field)
		problems = append(problems, conf.Problem{Position: doc.Pos(path), Path: path, Message: err.Error()})
	}
	for i, c := range doc.Listeners {
		if c.TLS != nil {
			config, err := l.sockets.TLS(*c.TLS)
			if err != nil {
				fault(i, "tls", err)
			}
			p.tls[c.Address] = config
		}
		if _, open := l.open[c.Address]; open {
			continue
		}
		socket, err := l.sockets.Listen("tcp", c.Address)
		if err != nil {
			fault(i, "address", err)
			continue
		}
		p.opened[c.Address] = newListening(c, socket)
	}
	if len(problems) > 0 {
		p.Close()
		return nil, problems
	}
	return p, nil
}

// Close gives up what was opened, when the revision is not applied after all.
func (p *Prepared) Close() {
	for _, o := range p.opened {
		o.socket.Close()
	}
}

// Commit begins to accept on new sockets, changes the servers of those whose
// settings changed, and stops accepting on those that the document no longer
// names. Requests under way on the latter finish; ctx bounds nothing here.
func (l *Listeners) Commit(p *Prepared) {
	l.mu.Lock()
	defer l.mu.Unlock()
	named := make(map[string]bool)
	for _, c := range p.doc.Listeners {
		named[c.Address] = true
		o, fresh := p.opened[c.Address]
		if !fresh {
			o = l.open[c.Address]
			o.tls.Store(p.tls[c.Address])
			if !needsNewServer(o.conf, c) {
				o.conf = c
				continue
			}
			renewed, err := l.renew(o, c)
			if err != nil {
				l.log.Error("listener keeps its former settings", telemetry.KeyListener, c.Address, telemetry.KeyError, err)
				continue
			}
			o = renewed
		}
		o.tls.Store(p.tls[c.Address])
		l.open[c.Address] = o
		l.serve(o)
	}
	for address, o := range l.open {
		if !named[address] {
			delete(l.open, address)
			if s, ok := o.socket.(interface{ Unlisten() }); ok {
				s.Unlisten()
			}
			l.retire(o)
			l.log.Info("listener closed", telemetry.KeyListener, address)
		}
	}
}

// needsNewServer reports whether the change of a listener's settings is one
// that a running server cannot follow.
func needsNewServer(was, is conf.Listener) bool {
	return (was.TLS == nil) != (is.TLS == nil) || was.Engine != is.Engine ||
		was.Timeout != is.Timeout || was.MaxHeader != is.MaxHeader
}

// renew makes a new server on a duplicate of the socket, so that the address
// never stops accepting, and lets the old one finish what it has.
func (l *Listeners) renew(o *listening, c conf.Listener) (*listening, error) {
	filer, ok := o.socket.(interface{ Duplicate() (net.Listener, error) })
	if !ok {
		return nil, errors.New("the socket cannot be duplicated; restart to apply")
	}
	socket, err := filer.Duplicate()
	if err != nil {
		return nil, err
	}
	l.retire(o)
	return newListening(c, socket), nil
}

// serve starts the server of o.
func (l *Listeners) serve(o *listening) {
	o.engine = l.newEngine(o)
	go func() {
		defer close(o.ended)
		if err := o.engine.Serve(o.socket); err != nil && !o.stopping.Load() {
			l.log.Error("listener failed", telemetry.KeyListener, o.conf.Address, telemetry.KeyError, err)
			l.gateway.deps.Health.Set("listener "+o.conf.Address, err)
		}
	}()
	l.log.Info("listening", telemetry.KeyListener, o.conf.Address, telemetry.KeyAddress, o.socket.Addr().String(), "tls", o.tls.Load() != nil)
}

// Addresses returns the addresses that sockets are bound to, by the address in
// the configuration.
func (l *Listeners) Addresses() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]string, len(l.open))
	for address, o := range l.open {
		out[address] = o.socket.Addr().String()
	}
	return out
}

// Connections returns the number of open client connections, by the listener's
// address in the configuration.
func (l *Listeners) Connections() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]int64, len(l.open))
	for address, o := range l.open {
		out[address] = o.engine.connections()
	}
	return out
}

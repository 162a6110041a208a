package cluster

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/hashicorp/memberlist"

	"sluice/cluster/facts"
	"sluice/conf"
)

// DefaultLabel is the label of a cluster whose configuration names none. A
// label keeps other users of the same gossip library apart even when nobody
// chose one.
const DefaultLabel = "sluice"

// Options say who a node is and what it stands on. Name and Config.Secret must
// be given; everything else has a default that is safe.
type Options struct {
	// Name tells this node from all others and outlives restarts: 1 to 128
	// bytes. Default: the host name.
	Name string

	// ID names this replica, made by [NewID] of Name, for a caller that has to know it
	// before. Default: one is made. A successor is called as its predecessor was.
	ID NodeID

	// Config is the cluster section of the document.
	Config conf.Cluster

	// Version is the version of the software, for people. At most 64 bytes.
	Version string

	// Meta is what [Node.SetMeta] changes later: bytes that every node sees
	// beside this one's name. At most MaxMeta.
	Meta []byte

	// Generation counts the processes of one line of upgrades, from 0. A node
	// made from [Options.Handover] has its predecessor's plus one.
	Generation uint32

	// Sockets are the gossip sockets, when they come from outside: from a
	// predecessor, or from a tool that passes them on to a successor. The node
	// closes its descriptors of them, not those of others. Default: New binds
	// Config.Bind, TCP and UDP.
	Sockets *Sockets

	// Transport replaces the sockets altogether; package simnet has one.
	Transport Transport

	// Handover is what [Node.Handover] of the predecessor returned. It holds
	// the keys: it may travel over a private descriptor and nowhere else.
	Handover []byte

	// Store is what the nodes agree on, when it belongs to somebody who outlives
	// the node and runs it. Handover then leaves it to that one, too. Default: a
	// store of the node's own.
	Store *facts.Store

	// Facts says how much a store of the node's own remembers, and where. Node and
	// Now are filled in.
	Facts facts.Options

	// PeersFile is where the node remembers the addresses of the others, which it
	// tries beside Config.Join when it starts again. Default: it remembers nobody.
	PeersFile string

	// Logger takes what happens. Default: nothing is logged.
	Logger *slog.Logger

	// Now is the wall clock. Default: time.Now.
	Now func() time.Time

	// Profile changes the gossip library's timing, after the LAN defaults were
	// set. Default: nothing is changed. Tests shorten intervals with it.
	Profile func(*memberlist.Config)
}

// Transport carries packets and streams between nodes. It is what the gossip
// library asks for.
type Transport = memberlist.NodeAwareTransport

// MaxMeta bounds [Options.Meta], in bytes: the library allows 512 in all, of
// which the node's own part takes some.
const MaxMeta = 384

const (
	maxName    = 128
	maxVersion = 64
)

// identity is what Options have become: checked, with every default in place.
type identity struct {
	name       string
	nonce      uint32
	generation uint32
	label      string
	bind       string
	advertise  netip.AddrPort // invalid: chosen from the sockets
	keys       [][]byte       // the first one encrypts
	configured string         // fingerprint of those of the configuration
}

func (o *Options) identity(h *handover) (identity, error) {
	id := identity{
		name:       o.Name,
		generation: o.Generation,
		label:      cmp.Or(o.Config.Label, DefaultLabel),
		bind:       cmp.Or(o.Config.Bind, "0.0.0.0:7946"),
	}
	if id.name == "" {
		host, err := os.Hostname()
		if err != nil {
			return id, fmt.Errorf("cluster: node name: %w", err)
		}
		id.name = host
	}
	var errs []error
	if len(id.name) > maxName {
		errs = append(errs, fmt.Errorf("cluster: the node's name has %d bytes, at most %d are possible", len(id.name), maxName))
	}
	if len(id.label) > memberlist.LabelMaxSize/4 {
		errs = append(errs, fmt.Errorf("cluster: the label has %d bytes, at most %d are possible", len(id.label), memberlist.LabelMaxSize/4))
	}
	if len(o.Version) > maxVersion {
		errs = append(errs, fmt.Errorf("cluster: the version has %d bytes, at most %d are possible", len(o.Version), maxVersion))
	}
	if len(o.Meta) > MaxMeta {
		errs = append(errs, fmt.Errorf("cluster: %d bytes of meta data, at most %d are possible", len(o.Meta), MaxMeta))
	}
	if o.Config.Advertise != "" {
		a, err := advertised(o.Config.Advertise, id.bind)
		errs = append(errs, err)
		id.advertise = a
	}
	for i, s := range append([]conf.Secret{o.Config.Secret}, o.Config.AcceptSecrets...) {
		key, err := decodeKey(s)
		if err != nil {
			what := "secret"
			if i > 0 {
				what = fmt.Sprintf("accept_secrets[%d]", i-1)
			}
			errs = append(errs, fmt.Errorf("cluster: %s: %w", what, err))
			continue
		}
		id.keys = append(id.keys, key)
	}
	id.configured = Fingerprint(bytes.Join(id.keys, []byte{0}))
	if h == nil {
		if id.nonce = o.ID.Nonce(); id.nonce == 0 {
			id.nonce = newNonce()
		}
		return id, errors.Join(errs...)
	}
	if h.name != id.name {
		errs = append(errs, fmt.Errorf("cluster: the predecessor is called %q, this node %q", h.name, id.name))
	}
	id.nonce, id.generation = h.nonce, h.generation+1
	if h.configured == id.configured {
		// The configuration is as it was, so what was changed since by cluster
		// messages holds. Otherwise the operator has decided anew.
		id.keys = h.keys
	}
	return id, errors.Join(errs...)
}

// advertised reads host:port, or a host alone that then has bind's port.
func advertised(text, bind string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddrPort(text); err == nil {
		return a, nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("cluster: advertise: %q is no IP address, with or without a port", text)
	}
	_, port, err := net.SplitHostPort(bind)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("cluster: bind: %w", err)
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("cluster: bind: %w", err)
	}
	return netip.AddrPortFrom(a, uint16(n)), nil
}

var errKeySize = errors.New("the key is not 16, 24 or 32 bytes in base64")

func decodeKey(s conf.Secret) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(s.Reveal())
	if err != nil || memberlist.ValidateKey(key) != nil {
		return nil, errKeySize // the decoder's error would quote the secret
	}
	return key, nil
}

func newNonce() uint32 {
	var b [4]byte
	for {
		rand.Read(b[:])
		if n := binary.LittleEndian.Uint32(b[:]); n != 0 {
			return n // zero is nobody
		}
	}
}

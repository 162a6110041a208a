package rig

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Network is where the nodes of a cluster are. Its methods are for one goroutine.
type Network struct {
	// Kind says in words what it is.
	Kind string
	// Host is the address of the machine as nodes see it, and Redis the one at which
	// they find Redis.
	Host, Redis string

	nodes  []string // addresses
	spaces []string // names of namespaces; nil: loopback
	bridge string
	rules  map[int][]string // by node
	netem  bool
	seen   map[int]bool // ports given
}

// ErrLoopback is returned for what only namespaces can do.
var ErrLoopback = errors.New("the nodes are on loopback: nobody can be cut off there")

// Detect makes a network for so many nodes: of namespaces where that is possible,
// unless loopback is wanted.
func Detect(nodes int, loopback bool) *Network {
	if !loopback {
		n, err := namespaces(nodes)
		if err == nil {
			return n
		}
		return local(nodes, "loopback, since network namespaces cannot be made: "+err.Error())
	}
	return local(nodes, "loopback")
}

func local(nodes int, kind string) *Network {
	n := &Network{Kind: kind, Host: "127.0.0.1", Redis: "127.0.0.1", seen: map[int]bool{}}
	for range nodes {
		n.nodes = append(n.nodes, "127.0.0.1")
	}
	return n
}

// namespaces makes a bridge with one namespace for each node on it.
func namespaces(nodes int) (_ *Network, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("this needs root")
	}
	for _, program := range []string{"ip", "nft", "tc"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, err
		}
	}
	// A name and a network that no other rig on the machine has.
	id := 1 + rand.IntN(250)
	subnet := fmt.Sprintf("10.213.%d.", id)
	if _, err := net.InterfaceByName(fmt.Sprintf("slbr%d", id)); err == nil {
		return nil, errors.New("the bridge is there already; try again")
	}
	n := &Network{
		Host: subnet + "1", Redis: subnet + "2", bridge: fmt.Sprintf("slbr%d", id), rules: map[int][]string{}, seen: map[int]bool{},
	}
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	if err := run("ip", "link", "add", n.bridge, "type", "bridge"); err != nil {
		return nil, err
	}
	for _, args := range []string{
		"ip addr add " + n.Host + "/24 dev " + n.bridge,
		"ip addr add " + n.Redis + "/24 dev " + n.bridge,
		"ip link set " + n.bridge + " up",
	} {
		if err := run(strings.Fields(args)...); err != nil {
			return nil, err
		}
	}
	for i := range nodes {
		space, link := fmt.Sprintf("%s-%d", n.bridge, i), fmt.Sprintf("slv%d-%d", id, i)
		if err := run("ip", "netns", "add", space); err != nil {
			return nil, err
		}
		n.spaces = append(n.spaces, space)
		n.nodes = append(n.nodes, fmt.Sprintf("%s%d", subnet, 10+i))
		for _, args := range []string{
			"ip link add " + link + " type veth peer name eth0 netns " + space,
			"ip link set " + link + " master " + n.bridge + " up",
			"ip -n " + space + " addr add " + n.nodes[i] + "/24 dev eth0",
			"ip -n " + space + " link set eth0 up",
			"ip -n " + space + " link set lo up",
			"ip -n " + space + " route add default via " + n.Host, // memberlist asks for the default route's address
		} {
			if err := run(strings.Fields(args)...); err != nil {
				return nil, err
			}
		}
	}
	n.Kind = "a network namespace for each node, on a bridge, with nftables drops"
	if run("ip", "netns", "exec", n.spaces[0], "tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "0ms") == nil {
		n.netem = true
		n.Kind += " and netem"
	} else {
		n.Kind += "; no netem in this kernel"
	}
	return n, n.filter(0)
}

// run runs a command of a second at most.
func run(args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Namespaces reports whether each node has a namespace of its own.
func (n *Network) Namespaces() bool { return n.spaces != nil }

// Netem reports whether packets can be delayed.
func (n *Network) Netem() bool { return n.netem }

// command is args as node i runs them.
func (n *Network) command(i int, args ...string) []string {
	if n.spaces == nil {
		return args
	}
	return append([]string{"ip", "netns", "exec", n.spaces[i]}, args...)
}

// Drop makes node to drop what comes from an address (host or host:port), a share
// of it or, with 1, all.
func (n *Network) Drop(to int, from string, share float64) error {
	if n.spaces == nil {
		return ErrLoopback
	}
	rule := "ip saddr " + from
	if host, port, err := net.SplitHostPort(from); err == nil {
		rule = "ip saddr " + host + " tcp sport " + port
	}
	if share < 1 {
		rule += fmt.Sprintf(" numgen random mod 1000 < %d", int(share*1000))
	}
	n.rules[to] = append(n.rules[to], rule+" drop")
	return n.filter(to)
}

// CutGossip cuts a node off from all others, both ways.
func (n *Network) CutGossip(node int) error {
	for i := range n.nodes {
		if i == node {
			continue
		}
		if err := errors.Join(n.Drop(node, n.nodes[i], 1), n.Drop(i, n.nodes[node], 1)); err != nil {
			return err
		}
	}
	return nil
}

// CutOneWay loses what one node sends to another.
func (n *Network) CutOneWay(from, to int) error { return n.Drop(to, n.nodes[from], 1) }

// CutRedis loses what Redis answers a node.
func (n *Network) CutRedis(node int) error { return n.Drop(node, n.Redis, 1) }

// Lossy loses a share of all packets between nodes.
func (n *Network) Lossy(share float64) error {
	for to := range n.nodes {
		for from := range n.nodes {
			if from == to {
				continue
			}
			if err := n.Drop(to, n.nodes[from], share); err != nil {
				return err
			}
		}
	}
	return nil
}

// Heal ends all drops.
func (n *Network) Heal() error {
	var errs []error
	for node := range n.rules {
		delete(n.rules, node)
		errs = append(errs, n.filter(node))
	}
	return errors.Join(errs...)
}

// filter puts the rules of a node in force.
func (n *Network) filter(node int) error {
	text := "table ip rig\ndelete table ip rig\ntable ip rig {\n chain in {\n  type filter hook input priority 0; policy accept;\n"
	for _, r := range n.rules[node] {
		text += "  " + r + "\n"
	}
	cmd := exec.Command("ip", "netns", "exec", n.spaces[node], "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text + " }\n}\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, out)
	}
	return nil
}

// Close takes the network away.
func (n *Network) Close() {
	for _, space := range n.spaces {
		run("ip", "netns", "del", space) //nolint:errcheck // with it go its links
	}
	if n.bridge != "" {
		run("ip", "link", "del", n.bridge) //nolint:errcheck // may not have been made
	}
}

// port returns a free port of the machine's address host, from below the range of
// outgoing connections.
func (n *Network) port(host string) (string, error) {
	for range 1000 {
		port := 12000 + rand.IntN(8000)
		address := net.JoinHostPort(host, strconv.Itoa(port))
		if n.seen[port] {
			continue
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		l.Close()
		p, err := net.ListenPacket("udp", address)
		if err != nil {
			continue
		}
		p.Close()
		n.seen[port] = true
		return address, nil
	}
	return "", errors.New("no free port")
}

// address returns one for a listener of node i; in a namespace all are free.
func (n *Network) address(i int, port string) (string, error) {
	if n.spaces == nil {
		return n.port(n.nodes[i])
	}
	return net.JoinHostPort(n.nodes[i], port), nil
}

// HostAddress returns a free address for a listener of this process that nodes can
// reach.
func (n *Network) HostAddress() (string, error) { return n.port(n.Host) }

// RedisAddress returns a free address for a Redis.
func (n *Network) RedisAddress() (string, error) { return n.port(n.Redis) }

package cluster

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"time"
)

// A node remembers on disk where the others were. A node that everybody joins,
// and that itself names nobody else, is then back among them right after it was
// killed, instead of being alone until one of them tries its address again.

const (
	rememberEvery = time.Second         // between looks at whether the members have changed
	rememberFor   = 30 * 24 * time.Hour // how long one that is not seen again is tried
	maxPeersFile  = 1 << 20
)

// remembered is one line of the file of [Options.PeersFile].
type remembered struct {
	Name    string         `json:"name"`
	Address netip.AddrPort `json:"address"`
	Seen    time.Time      `json:"seen"` // when it was last a member
}

// readPeers reads the file. None, as at the first start, is no error.
func readPeers(path string) (list []remembered, err error) {
	f, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err == nil && f.Size() > maxPeersFile:
		err = errors.New("it is too large")
	}
	if err != nil {
		return nil, fmt.Errorf("read the peers of earlier: %w", err)
	}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("read the peers of earlier from %s: %w", path, err)
	}
	return list, nil
}

// writePeers replaces the file. It may be lost to a power failure, as it only
// saves time.
func writePeers(path string, list []remembered) error {
	text, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// recall has the peers of an earlier life tried, beside those of the join list.
func (n *Node) recall() {
	list, err := readPeers(n.o.PeersFile)
	if err != nil {
		n.log.Warn("where the other nodes were is not known; the join list has to do", attrError(err))
		return
	}
	now := n.o.Now()
	for _, p := range list {
		if p.Name == n.id.name || !p.Address.IsValid() || now.Sub(p.Seen) > rememberFor {
			continue
		}
		n.past = append(n.past, p)
		n.lost.add(p.Address)
	}
}

// remember keeps the file.
func (n *Node) remember() {
	tick := time.NewTicker(rememberEvery)
	defer tick.Stop()
	var last *view
	for {
		if v := n.roster.view.Load(); v != last {
			last = v
			if err := writePeers(n.o.PeersFile, n.rememberable()); err != nil {
				n.log.Warn("where the other nodes are is not kept", attrError(err))
			}
		}
		select {
		case <-tick.C:
		case <-n.stop:
			return
		}
	}
}

// rememberable are the members there are and, of those that were, the ones that
// may come back, newest first.
func (n *Node) rememberable() []remembered {
	list := []remembered{}
	now, members := n.o.Now(), n.Members()
	for _, m := range members {
		switch {
		case m.Self:
		case m.State <= Suspect:
			list = append(list, remembered{m.Name, m.Address, now})
		case m.State == Dead:
			list = append(list, remembered{m.Name, m.Address, m.Since})
		}
	}
	for _, p := range n.past {
		// Once it was met again, what has become of it since counts.
		met := func(m Member) bool { return m.Name == p.Name || m.Address == p.Address }
		if !slices.ContainsFunc(members, met) {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b remembered) int {
		return cmp.Or(b.Seen.Compare(a.Seen), cmp.Compare(a.Name, b.Name))
	})
	return list[:min(len(list), maxLost)]
}

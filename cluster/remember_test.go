package cluster

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A node that everybody joins names nobody itself: killed, it has to know from
// before where the others are.
func TestASeedThatWasKilledFindsTheOthersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 1)
		defer s.stop()
		file := filepath.Join(t.TempDir(), "peers.json")
		keeps := func(o *Options) { o.PeersFile = file }
		seed := s.add(0, keeps)
		s.add(1)
		s.add(2)
		s.converged(20 * time.Second)
		time.Sleep(2 * rememberEvery)
		seed.kill()
		s.nodes = s.nodes[1:]
		time.Sleep(time.Minute) // to the others it is dead

		again := s.add(0, keeps)
		eventually(t, 2*time.Second, "the seed sees the others", func() bool { return again.Stats().Members[Alive] == 3 })

		// The file names who is there, not who said goodbye.
		if err := s.nodes[0].Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "who left is forgotten", func() bool {
			list, err := readPeers(file)
			return err == nil && len(list) == 1 && list[0].Name == "gw-2"
		})
	})
}

// What cannot be read, is too old or is the node itself is nobody to look for.
func TestPeersOfEarlierAreCheckedBeforeUse(t *testing.T) {
	dir := t.TempDir()
	recall := func(text string) []remembered {
		t.Helper()
		file := filepath.Join(dir, "peers.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := New(Options{Name: "gw-0", Config: simConfig(), PeersFile: file, Transport: newSim(t, 1).net.Transport(simAddr(0))})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		return n.past
	}
	now := time.Now()
	good := remembered{"gw-1", netip.MustParseAddrPort("10.0.0.2:7946"), now.Add(-time.Hour)}
	file := filepath.Join(dir, "written.json")
	if err := writePeers(file, []remembered{
		good, {"gw-0", good.Address, now}, {"gw-2", good.Address, now.Add(-rememberFor - time.Hour)},
	}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := recall(string(text)); len(got) != 1 || got[0].Name != "gw-1" || got[0].Address != good.Address {
		t.Errorf("got %+v", got)
	}
	for _, bad := range []string{"", "{", `[{"address": "nowhere"}]`, `[{"name": "gw-1"}]`, "[" + string(make([]byte, maxPeersFile)) + "]"} {
		if got := recall(bad); len(got) != 0 {
			t.Errorf("%.20q: %+v", bad, got)
		}
	}
}

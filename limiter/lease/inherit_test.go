package lease

import (
	"bytes"
	"testing"
	"time"

	"sluice/limiter/core"
)

// keeper is a node that keeps books, in the middle of its life.
func keeper() *Node {
	n := NewNode(Options{Self: 1<<32 | 7, Nodes: 3, Nonce: func() uint32 { return 99 }})
	now := Instant{MonoNS: int64(time.Hour), UnixNS: int64(time.Hour)}
	n.SetMembers(now, []Member{1<<32 | 7, 2<<32 | 1, 3<<32 | 1})
	n.decree = Decree{Epoch: 5 << 16, By: ByHome, Voters: []uint32{1, 2, 3}, Homes: []Member{1<<32 | 7, 2<<32 | 1, 3<<32 | 1}}
	n.epoch, n.whole, n.sure, n.reached = 5<<16, 5<<16, true, true
	n.quorateNS, n.epochNS, n.startNS, n.contactNS = now.MonoNS-int64(HoldDown), now.MonoNS-2, now.MonoNS-3, now.MonoNS-4
	for m, p := range n.peers {
		p.replica, p.epoch, p.handed, p.sure = m, n.epoch, n.epoch, true
		p.echoNS, p.anyNS, p.heardNS = now.MonoNS-5, now.MonoNS-6, now.MonoNS-7
		n.heard[m] = now.MonoNS - 7
	}
	limit := Limit{Rights: 100, Window: time.Minute, Version: 3}
	for i := range uint64(50) {
		b := n.bucketOf(now, Key{i, i * i}, limit)
		for seq := range uint64(4) {
			b.ledger.Serve(limit.Stamp(now), limit.core(now), core.Take{
				From: 2<<32 | 1, Epoch: n.epoch, Seq: seq + 1, Want: 3, Row: core.Row{Granted: 3 * int64(seq), Settled: 2 * int64(seq)},
				Uses: []core.Uses{{Age: 10, N: 2}},
			}, core.MaxRuns)
		}
	}
	n.shipAt = len(n.shelf)
	return n
}

func left(n *Node) (parts [][]byte) {
	n.Inheritance(Instant{MonoNS: int64(time.Hour)}, true, func(p []byte) { parts = append(parts, p) })
	return parts
}

// Whoever inherits leaves the same: nothing is lost on the way.
func TestAnInheritanceIsWhole(t *testing.T) {
	first := left(keeper())
	heir := NewNode(Options{Self: 1<<32 | 8, Nodes: 3, Nonce: func() uint32 { return 99 }})
	for _, p := range first {
		if err := heir.Inherit(p); err != nil {
			t.Fatal(err)
		}
	}
	if heir.Member() != 1<<32|7 || heir.Self() != 1<<32|99 || heir.Books() != 50 || len(first) != 2 {
		t.Errorf("member %x, replica %x, %d books, %d parts", heir.Member(), heir.Self(), heir.Books(), len(first))
	}
	now := Instant{MonoNS: int64(time.Hour), UnixNS: int64(time.Hour)}
	if !heir.quorate(now) || heir.opensNS(now) > now.MonoNS {
		t.Error("it has to open anew")
	}
	second := left(heir)
	// The replicas that were heard of, and the rows, come in any order, but as many.
	if len(second) != len(first) || len(second[0]) != len(first[0]) || len(second[1]) != len(first[1]) {
		t.Errorf("%d and %d bytes, then %d and %d", len(first[0]), len(first[1]), len(second[0]), len(second[1]))
	}
	if !bytes.Equal(first[1], second[1]) { // one row in each
		t.Error("the books are others")
	}
}

// What a process of another version leaves is not understood, and what is broken is
// not taken over.
func TestAnInheritanceThatCannotBeRead(t *testing.T) {
	parts := left(keeper())
	heir := func() *Node { return NewNode(Options{Self: 1<<32 | 8, Nonce: func() uint32 { return 99 }}) }
	for _, p := range [][]byte{nil, {9}, {inheritVersion}, {inheritVersion, 'x'}, {inheritVersion + 1, inheritHead}} {
		if err := heir().Inherit(p); err != ErrMessage {
			t.Errorf("%v: %v, want %v", p, err, ErrMessage)
		}
	}
	for _, p := range parts {
		for cut := 2; cut < len(p); cut += 1 + len(p)/300 {
			h := heir()
			if err := h.Inherit(p[:cut]); err != nil && err != errInheritance {
				t.Errorf("%d of %d bytes: %v", cut, len(p), err)
			}
		}
	}
	h := heir()
	if h.Inherit(parts[1]) != nil || h.Inherit(parts[1]) == nil {
		t.Error("the same books were taken twice")
	}
	stranger := NewNode(Options{Self: 2<<32 | 8, Nonce: func() uint32 { return 99 }})
	if stranger.Inherit(parts[0]) == nil {
		t.Error("a node of another name has inherited")
	}
}

func FuzzInherit(f *testing.F) {
	for _, p := range left(keeper()) {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, part []byte) {
		n := NewNode(Options{Self: 1<<32 | 8, Nodes: 3, Redis: true, Nonce: func() uint32 { return 99 }})
		if n.Inherit(part) != nil {
			return
		}
		// Whatever it was, a node can go on with it.
		now := Instant{MonoNS: int64(2 * time.Hour), UnixNS: int64(2 * time.Hour)}
		n.SetMembers(now, []Member{n.Member()})
		n.Tick(now)
		n.Dispatch(now)
		n.Outbox()
		left(n)
	})
}

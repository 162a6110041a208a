package lease

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/limiter/core"
)

func messages() []Message {
	take := core.Take{From: 7<<32 | 1, Epoch: 3 << 16, Seq: 9, Row: core.Row{Granted: 100, Settled: 40, Returned: 5}, Uses: []core.Uses{{Age: 300, N: 4}, {Age: 0, N: 1}}, Whole: true, Want: core.ReportOnly}
	reply := core.Reply{To: 7<<32 | 1, Epoch: 3 << 16, Seq: 9, Verdict: core.Closed, Granted: 120, Pool: 3, Holders: []core.Replica{1 << 32, 2 << 32}, Wait: 5, Reset: 100}
	limit := Limit{Rights: 1000, Window: time.Hour, Fixed: true, Version: 4}
	snap := core.Snapshot{Rows: []core.SnapshotRow{{Replica: 1 << 32, Row: core.Row{Granted: 3, Settled: 1}, Seq: 2, Gone: true, Uses: []core.Uses{{Age: 1, N: 2}}}}}
	k := Key{1, 1 << 63}
	return []Message{
		{Kind: MsgPing, Epoch: 5, SentNS: -3, Replica: 1 << 40, RedisUp: true},
		{Kind: MsgPong, Sure: true, Handed: true},
		{Kind: MsgDecree, Decree: &Decree{Epoch: 9, By: ByHome, Voters: []uint32{1, 2}, Before: []uint32{3}, Homes: []Member{1 << 32}, Whole: []Member{2 << 32, 3 << 32}}},
		{Kind: MsgTake, Epoch: 1, Items: []Item{{Key: k, Limit: limit, Take: take}, {Key: k, Limit: limit, Take: take}}},
		{Kind: MsgGrant, Items: []Item{{Key: k, Reply: reply}}},
		{Kind: MsgCopy, Items: []Item{{Key: k, Limit: limit, Take: take, Reply: reply}}},
		{Kind: MsgCopied, Items: []Item{{Key: k, Reply: core.Reply{To: 3, Seq: 4}}}},
		{Kind: MsgRecall, Items: []Item{{Key: k}}},
		{Kind: MsgSnapped, Items: []Item{{Key: k}}},
		{Kind: MsgSnap, Items: []Item{{Key: k, Limit: limit, Snap: snap}}},
	}
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	for _, m := range messages() {
		b := m.Append(nil)
		got, err := Parse(b)
		if diff := cmp.Diff(m, got); err != nil || diff != "" {
			t.Errorf("kind %d: %v %s", m.Kind, err, diff)
		}
		for i := range b {
			if _, err := Parse(b[:i]); err == nil {
				t.Errorf("kind %d: %d of %d bytes are a message", m.Kind, i, len(b))
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, m := range messages() {
		f.Add(m.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(m.Append(nil))
		if err != nil || !bytes.Equal(m.Append(nil), again.Append(nil)) {
			t.Errorf("%+v\n%+v\n%v", m, again, err)
		}
	})
}

// TestGrantsOfOthersAreRefused: rights are money.
func TestGrantsOfOthersAreRefused(t *testing.T) {
	now := Instant{MonoNS: int64(time.Hour)}
	n := NewNode(Options{Self: 1<<32 | 1})
	n.SetMembers(now, []Member{1<<32 | 1, 2<<32 | 1, 3<<32 | 1})
	n.hear(now, Decree{Epoch: 1 << 16, By: ByHome, Voters: []uint32{1, 2, 3}, Homes: []Member{2<<32 | 1}})
	p := &fakePurse{limit: Limit{Rights: 100, Window: time.Minute}, lack: 1}
	n.Ask(now, Key{1, 2}, p)
	h := n.holds[Key{1, 2}]
	n.push(h, true)
	n.Dispatch(now)
	if !h.flying {
		t.Fatal("nothing was asked")
	}
	grant := func(epoch uint64) *Message {
		return &Message{Kind: MsgGrant, Epoch: epoch, Items: []Item{{Key: h.key, Reply: core.Reply{To: n.Self(), Epoch: epoch, Seq: 1, Granted: 50}}}}
	}
	n.Receive(now, 3<<32|1, grant(1<<16))
	n.Receive(now, 4<<32|1, grant(1<<16))
	n.Receive(now, 2<<32|1, grant(1<<16-1))
	n.Receive(now, 2<<32|1, grant(1<<16+1))
	if p.tokens != 0 {
		t.Fatalf("%d rights from somebody who has none to give", p.tokens)
	}
	n.Receive(now, 2<<32|1, grant(1<<16))
	if p.tokens != 50 {
		t.Fatalf("%d rights from the home, want 50", p.tokens)
	}
}

type fakePurse struct {
	limit        Limit
	lack, tokens int64
}

func (p *fakePurse) Limit() Limit                           { return p.limit }
func (p *fakePurse) Spent(Instant, func(core.Stamp, int64)) {}
func (p *fakePurse) Lack() int64                            { return p.lack }
func (p *fakePurse) Tokens() int64                          { return p.tokens }
func (p *fakePurse) Withdraw(n int64) int64                 { k := min(n, p.tokens); p.tokens -= k; return k }
func (p *fakePurse) Answer(_ Instant, a Answer)             { p.tokens += a.Granted }
func (p *fakePurse) Deposit(n int64)                        { p.tokens += n }
func (p *fakePurse) Quiet(Instant) (quiet time.Duration)    { return 0 }
func (p *fakePurse) Release() bool                          { return true }

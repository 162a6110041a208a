package cluster

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/conf"
)

func someFrames() []frame {
	return []frame{
		{kind: kindMessage, from: 1, to: 2, seq: 1, topic: 7, payload: []byte("hello")},
		{kind: kindMessage, flags: flagS2 | flagStream, from: 1 << 63, to: 1<<64 - 1, seq: 1<<64 - 1, topic: 1<<32 - 1, payload: []byte{0}},
		{kind: kindMessage, flags: flagBroadcast, from: 1, seq: 300, topic: 7, sent: 1_700_000_000_000, name: "tier/acme", payload: []byte("x")},
		{kind: kindMessage, flags: flagPart, from: 1, to: 2, seq: 12, topic: 7, index: 2, of: 3, first: 10, payload: []byte("end")},
		{kind: kindFacts, flags: flagBroadcast, from: 1, seq: 4, sent: 5, payload: []byte{}},
		{kind: kindProbe, from: 1, to: 2, seq: 9, payload: make([]byte, 16)},
	}
}

func TestFramesAreReadAsTheyWereWritten(t *testing.T) {
	for _, f := range someFrames() {
		b := f.append(nil)
		got, err := parseFrame(b)
		if err != nil {
			t.Errorf("%+v: %v", f, err)
			continue
		}
		if d := cmp.Diff(f, got, cmp.AllowUnexported(frame{})); d != "" {
			t.Errorf("%s", d)
		}
		if over := len(b) - len(f.payload) - len(f.name); over > maxHeader {
			t.Errorf("the header has %d bytes, at most %d are allowed for", over, maxHeader)
		}
	}
	small := frame{kind: kindMessage, from: 1, to: 2, seq: 100, topic: 7}
	if n := len(small.append(nil)); n != 25 {
		t.Errorf("a usual header has %d bytes, want 25", n)
	}
}

func TestFramesThatContradictThemselvesAreRefused(t *testing.T) {
	for name, f := range map[string]frame{
		"no sender":                  {kind: kindMessage, to: 2, seq: 1},
		"a broadcast for somebody":   {kind: kindMessage, flags: flagBroadcast, from: 1, to: 2, seq: 1},
		"for nobody, no broadcast":   {kind: kindMessage, from: 1, seq: 1},
		"a part beyond the end":      {kind: kindMessage, flags: flagPart, from: 1, to: 2, seq: 4, index: 3, of: 3, first: 1},
		"too many parts":             {kind: kindMessage, flags: flagPart, from: 1, to: 2, seq: 4, index: 3, of: MaxDatagrams + 1, first: 1},
		"a part with another number": {kind: kindMessage, flags: flagPart, from: 1, to: 2, seq: 5, index: 3, of: 4, first: 1},
		"an unknown flag":            {kind: kindMessage, flags: 1 << 7, from: 1, to: 2, seq: 1},
		"an unknown kind":            {kind: kindEnd, from: 1, to: 2, seq: 1},
	} {
		if _, err := parseFrame(f.append(nil)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func FuzzFrame(f *testing.F) {
	for _, fr := range someFrames() {
		f.Add(fr.append(nil))
	}
	f.Add([]byte{frameMagic, frameVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := parseFrame(b)
		if err != nil {
			return
		}
		again, err := parseFrame(fr.append(nil))
		if err != nil {
			t.Fatalf("%+v is not read back: %v", fr, err)
		}
		if d := cmp.Diff(fr, again, cmp.AllowUnexported(frame{})); d != "" {
			t.Fatal(d)
		}
	})
}

// FuzzReceive puts frames into a node that has a peer, as if they came
// decrypted.
func FuzzReceive(f *testing.F) {
	n, err := New(Options{Name: "a", Config: conf.Cluster{Bind: "127.0.0.1:0", Secret: secretOf(1)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(n.Close)
	n.Topic("rows").Subscribe(func(NodeID, []byte) {})
	p := newPeer(n, 7, inherited{})
	n.roster.view.Store(&view{peers: map[NodeID]*peer{7: p}})
	for k := kind(1); k < kindEnd; k++ {
		for _, flags := range []byte{0, flagS2, flagPart, flagBroadcast, flagStream} {
			fr := frame{kind: k, flags: flags, from: 7, to: n.self, seq: 1, topic: topicID("rows"), first: 1, of: 2, payload: []byte("some payload")}
			if flags == flagBroadcast {
				fr.to, fr.sent = 0, time.Now().UnixMilli()
			}
			f.Add(fr.append(nil))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// Sender, receiver and number are made right, or nearly nothing would pass.
		if len(b) > 20 {
			fr := frame{from: 7, to: n.self}
			if b[3]&flagBroadcast != 0 {
				fr.to = 0
			}
			copy(b[4:20], fr.append(nil)[4:20])
		}
		p.windows = [spaces]window{}
		n.receive(b)
		for len(n.syncs) > 0 {
			n.syncFact(<-n.syncs)
		}
		for q := n.topics[topicID("rows")].queue; len(q) > 0; {
			<-q
		}
	})
}

func FuzzMeta(f *testing.F) {
	m := nodeMeta{nonce: 1, api: 1, generation: 3, version: "1.2.3", app: []byte("app")}
	f.Add(m.append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMeta(b)
		if err != nil {
			return
		}
		if !bytes.Equal(m.append(nil), b) {
			t.Fatal("not what was read")
		}
		if len(b) > 512 {
			t.Fatal("longer than the library allows")
		}
	})
}

func FuzzHandover(f *testing.F) {
	h := handover{
		name: "gw-1", nonce: 5, generation: 2, seq: 900, configured: "ab", keys: [][]byte{make([]byte, 32), make([]byte, 16)}, facts: []byte("facts"),
		peers: map[NodeID]inherited{9: {since: time.Unix(1, 2), name: "gw-2", addr: netip.MustParseAddrPort("[2001:db8::1]:7946"), seen: [spaces]uint64{1, 2, 3}}},
	}
	f.Add(h.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHandover(b)
		if err != nil {
			return
		}
		again, err := parseHandover(h.append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(h, again, cmp.AllowUnexported(handover{}, inherited{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzKeyAnswer(f *testing.F) {
	f.Add(append(make([]byte, 8), 2, 'n', 'o', 1, 1, 2, 3, 4, 5, 6, 7, 8))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, s, ok := parseKeyAnswer(b); ok && (len(s.Keys) == 0 || s.Primary != s.Keys[0]) {
			t.Fatalf("%+v", s)
		}
	})
}

func TestTheWindowTakesEveryNumberOnce(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		var w window
		seen := map[uint64]bool{}
		newest := uint64(0)
		at := uint64(1)
		for range 20_000 {
			switch r.IntN(40) {
			case 0:
				at += uint64(r.IntN(3 * windowBits)) // a gap
			case 1:
				at += 64 * uint64(r.IntN(windowBits/32))
			default:
				at++
			}
			seq := at
			if back := uint64(r.IntN(windowBits + 200)); r.IntN(3) > 0 && back < at {
				seq = at - back
			}
			want := seq != 0 && !seen[seq] && seq+windowBits > newest
			if got := w.take(seq); got != want {
				t.Fatalf("seed %d: number %d, newest %d: taken %v, want %v", seed, seq, newest, got, want)
			}
			if want {
				seen[seq] = true
				newest = max(newest, seq)
			}
		}
	}
}

func TestARestartedWindowTakesNothingOld(t *testing.T) {
	for _, last := range []uint64{1, 63, 64, 65, 127, windowBits - 1, windowBits, windowBits + 1, 1 << 40} {
		var w window
		w.restart(last)
		for back := range min(last+1, windowBits+100) {
			if w.take(last - back) {
				t.Fatalf("after restart(%d), %d is taken", last, last-back)
			}
		}
		for seq := last + 1; seq < last+200; seq++ {
			if !w.take(seq) || w.take(seq) {
				t.Fatalf("after restart(%d), %d is not taken once", last, seq)
			}
		}
	}
}

func TestPartsMakeOneMessageInAnyOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var a assembly
	now := time.Now()
	part := func(first uint64, i, of int, payload string) *frame {
		return &frame{flags: flagPart, seq: first + uint64(i), index: byte(i), of: byte(of), first: first, payload: []byte(payload)}
	}
	for round := range uint64(100) {
		first := 1 + round*100
		var whole []byte
		for n, i := range r.Perm(5) {
			got, ok := a.add(part(first, i, 5, string(rune('a'+i))), now)
			if !ok || (got != nil) != (n == 4) {
				t.Fatalf("part %d: %q, %v", i, got, ok)
			}
			whole = got
		}
		if string(whole) != "abcde" {
			t.Fatalf("got %q", whole)
		}
	}
	if len(a.open) != 0 {
		t.Errorf("%d messages are still open", len(a.open))
	}
	a.add(part(1, 0, 2, "old"), now)
	if got, _ := a.add(part(1, 1, 2, "late"), now.Add(2*assemblyLimit)); got != nil {
		t.Errorf("parts of different times became %q", got)
	}
	if _, ok := a.add(part(1, 0, 3, "x"), now.Add(2*assemblyLimit)); ok {
		t.Error("a part with another count was taken")
	}
	for i := range uint64(10 * maxAssemblies) {
		a.add(part(1000+i*10, 0, 2, "x"), now)
	}
	if len(a.open) > maxAssemblies {
		t.Errorf("%d messages are open", len(a.open))
	}
}

func BenchmarkFrameAppend(b *testing.B) {
	f := frame{kind: kindMessage, from: 1 << 60, to: 1 << 61, seq: 123456, topic: 7, payload: make([]byte, 1200)}
	buf := make([]byte, 0, 1400)
	b.ReportAllocs()
	for b.Loop() {
		buf = f.append(buf[:0])
	}
}

func BenchmarkFrameParse(b *testing.B) {
	buf := (&frame{kind: kindMessage, from: 1 << 60, to: 1 << 61, seq: 123456, topic: 7, payload: make([]byte, 1200)}).append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseFrame(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReceive(b *testing.B) {
	n, err := New(Options{Name: "a", Config: conf.Cluster{Bind: "127.0.0.1:0", Secret: secretOf(1)}})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	tp := n.Topic("rows")
	tp.Subscribe(func(NodeID, []byte) {})
	n.roster.view.Store(&view{peers: map[NodeID]*peer{7: newPeer(n, 7, inherited{})}})
	f := frame{kind: kindMessage, from: 7, to: n.self, topic: tp.id, payload: make([]byte, 1200)}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		f.seq++
		buf = f.append(buf[:0])
		n.receive(buf)
		tp.call(<-tp.queue)
	}
}

func BenchmarkHome(b *testing.B) {
	n, err := New(Options{Name: "a", Config: conf.Cluster{Bind: "127.0.0.1:0", Secret: secretOf(1)}})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	v := &view{}
	for i := range 10 {
		v.homes = append(v.homes, makeNodeID(string(rune('a'+i)), 1))
	}
	n.roster.view.Store(v)
	dst := make([]NodeID, 0, 2)
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		dst = n.Home(dst[:0], i*0x9e3779b97f4a7c15, 2)
	}
}

package redis

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"

	"sluice/conf"
	"sluice/limiter/core"
	"sluice/limiter/lease"
	"sluice/limiter/redis/redistest"
	"sluice/limiter/script"
)

// atClock is a script whose time is the list "clock": seconds and microseconds.
func atClock(text string) program {
	return compile(strings.ReplaceAll(text, "redis.call('TIME')", "redis.call('LRANGE', 'clock', 0, 1)"))
}

// state reads a bucket back.
var state = goredis.NewScript(`
local b = redis.call('HGET', KEYS[1], '0')
if not b then return '' end
b = cmsgpack.unpack(b)
local log = {}
for i = 1, #b[7] do log[i] = string.format('%.0f', b[7][i]) end
local rows = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if all[i] ~= '0' then
    local r = cmsgpack.unpack(all[i + 1])
    rows[#rows + 1] = all[i] .. ' ' .. r[1] .. ' ' .. r[2] .. ' ' .. r[3] .. ' ' .. r[6]
  end
end
table.sort(rows)
return cjson.encode({held = b[6], log = table.concat(log, ' '), rows = table.concat(rows, ';')})`)

// TestTheScriptIsTheLedger drives take.lua and core.Ledger with the same messages,
// lost, repeated and overtaken ones among them, and wants the same answers and the
// same state after each.
func TestTheScriptIsTheLedger(t *testing.T) {
	ctx := context.Background()
	server := redistest.Start(t)
	old := take
	take = atClock(script.Take)
	t.Cleanup(func() { take = old })
	c := New(conf.Redis{Addresses: []string{server.Address}, Timeout: conf.Duration(5 * time.Second)}, "")
	defer c.Close()

	for seed := range uint64(150) {
		rnd := rand.New(rand.NewPCG(seed, 11))
		h := history{t: t, seed: seed, rnd: rnd, c: c, ctx: ctx}
		h.limit = lease.Limit{
			Rights: 1 + rnd.Int64N([]int64{4, 50, 2000}[rnd.IntN(3)]),
			Window: []time.Duration{2 * time.Second, time.Minute, 10 * time.Minute}[rnd.IntN(3)],
			Fixed:  rnd.IntN(4) == 0,
		}
		h.run()
	}
}

type history struct {
	t      *testing.T
	seed   uint64
	rnd    *rand.Rand
	c      *Client
	ctx    context.Context
	limit  lease.Limit
	now    int64 // microseconds
	ledger core.Ledger
	nodes  []*core.Holder
	dead   map[core.Replica]bool
	sent   []core.Take
}

func (h *history) run() {
	h.c.rdb.FlushAll(h.ctx)
	h.now = 100_000_000_000 + h.rnd.Int64N(1_000_000_000)
	h.ledger = core.Ledger{Epoch: 7, Dead: func(r core.Replica) bool { return h.dead[r] }, Lenient: h.rnd.IntN(2) == 0}
	h.dead = map[core.Replica]bool{}
	for i := range 1 + h.rnd.IntN(4) {
		h.nodes = append(h.nodes, &core.Holder{Self: core.Replica(i+1) << 32, Epoch: 7})
	}
	reg := map[string]any{"epoch": 7, "open": 0, "since": 0, "quorate": 1 << 50}
	for _, n := range h.nodes {
		reg["n:"+replica(n.Self)] = 1 << 50
	}
	h.c.rdb.HSet(h.ctx, h.c.register(0), reg)
	for range 60 {
		h.step()
	}
}

func (h *history) step() {
	tick := h.limit.Tick()
	stamp, l := h.coreLimit()
	n := h.nodes[h.rnd.IntN(len(h.nodes))]
	switch h.rnd.IntN(12) {
	case 0, 1:
		h.now += h.rnd.Int64N(int64(h.limit.Window/time.Microsecond)/3 + 2)
	case 2:
		h.now += h.rnd.Int64N(2*tick.Microseconds() + 1)
	case 3, 4, 5:
		if !h.dead[n.Self] && n.Tokens() > 0 {
			n.Use(stamp+1, 1+h.rnd.Int64N(n.Tokens()), core.MaxRuns)
		}
	case 6:
		if !h.dead[n.Self] && n.Tokens() > 0 {
			n.GiveBack(1 + h.rnd.Int64N(n.Tokens()))
		}
	case 7:
		if len(h.dead) < len(h.nodes)-1 && h.rnd.IntN(4) == 0 {
			h.dead[n.Self] = true
			h.c.rdb.HDel(h.ctx, h.c.register(0), "n:"+replica(n.Self))
		}
	case 8:
		if h.rnd.IntN(4) == 0 {
			h.limit.Rights = 1 + h.rnd.Int64N(2*h.limit.Rights+1)
		}
	case 9:
		if len(h.sent) > 0 { // again, and late
			h.serve(h.sent[h.rnd.IntN(len(h.sent))], nil)
		}
	default:
		if h.dead[n.Self] {
			return
		}
		n.Expire(stamp, l)
		want := h.rnd.Int64N(h.limit.Rights+2) - 1
		t := n.Take(stamp, want)
		if h.rnd.IntN(5) == 0 {
			t = n.Present(stamp)
		}
		h.sent = append(h.sent, t)
		switch h.rnd.IntN(6) {
		case 0: // lost on the way
		case 1: // the answer is lost
			h.serve(t, nil)
		default:
			h.serve(t, n)
		}
	}
}

func (h *history) coreLimit() (core.Stamp, core.Limit) {
	tick := h.limit.Tick().Microseconds()
	l := core.Limit{Rights: h.limit.Rights, Recent: core.Stamp(60_000_000 / tick)}
	window := h.limit.Window.Microseconds()
	now := h.now / tick
	l.Span = core.Stamp((window + tick - 1) / tick)
	if h.limit.Fixed {
		start := h.now - h.now%window
		l.Span = core.Stamp(now - start/tick)
		l.Ends = core.Stamp((start+window+tick-1)/tick - now)
	}
	return core.Stamp(now), l
}

func (h *history) serve(t core.Take, to *core.Holder) {
	h.c.rdb.Del(h.ctx, "clock")
	h.c.rdb.RPush(h.ctx, "clock", h.now/1_000_000, h.now%1_000_000)
	call := lease.Call{Kind: lease.CallTake, Key: lease.Key{1, 2}, Limit: h.limit, Take: t, Lenient: h.ledger.Lenient}
	results, err := h.c.Execute(h.ctx, []lease.Call{call})
	if err != nil {
		h.t.Fatalf("seed %d: %v", h.seed, err)
	}
	stamp, l := h.coreLimit()
	want, ok := h.ledger.Serve(stamp, l, t, core.MaxRuns)
	got := results[0]
	if got.Old == ok {
		h.t.Fatalf("seed %d: old is %v, but the ledger answers: %v", h.seed, got.Old, ok)
	}
	if ok {
		if diff := cmp.Diff(want, got.Reply); diff != "" {
			h.t.Fatalf("seed %d: %+v\nledger, script: %s", h.seed, t, diff)
		}
		h.compare(stamp, l)
		if to != nil {
			to.Apply(got.Reply)
		}
	}
}

func (h *history) compare(stamp core.Stamp, l core.Limit) {
	bucket, _ := h.c.bucket(lease.Key{1, 2})
	text, err := state.Run(h.ctx, h.c.rdb, []string{bucket}).Text()
	if err != nil {
		h.t.Fatal(err)
	}
	if text == "" {
		return // nothing has been written yet
	}
	var got struct {
		Held int64
		Log  string
		Rows string
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		h.t.Fatal(err)
	}
	// An answer from memory leaves both as they were, expired runs included.
	h.ledger.Prune(stamp, l)
	var stored core.Log
	runs := strings.Fields(got.Log)
	for i := 0; i < len(runs); i += 2 {
		at, _ := strconv.Atoi(runs[i])
		n, _ := strconv.Atoi(runs[i+1])
		stored.Put(core.Stamp(at), uint32(n), core.MaxRuns)
	}
	stored.Expire(stamp, l.Span)
	got.Log = ""
	for _, r := range stored.Runs() {
		got.Log += fmt.Sprintf(" %d %d", r.At, r.N)
	}
	got.Log = strings.TrimSpace(got.Log)
	var log []string
	for _, r := range h.ledger.Log.Runs() {
		log = append(log, fmt.Sprint(uint32(r.At)), fmt.Sprint(r.N))
	}
	if want := strings.Join(log, " "); h.ledger.Held != got.Held || want != got.Log {
		h.t.Fatalf("seed %d: the ledger holds %d and has used %q; the script %d and %q", h.seed, h.ledger.Held, want, got.Held, got.Log)
	}
	for _, n := range h.nodes {
		r := h.ledger.Row(n.Self)
		if row := fmt.Sprintf("%s %d %d %d", replica(n.Self), r.Granted, r.Settled, r.Returned); r != (core.Row{}) && !strings.Contains(got.Rows, row) {
			h.t.Fatalf("seed %d: row %s, but the script has %s", h.seed, row, got.Rows)
		}
	}
}

// TestTheRegister goes through the life of an epoch.
func TestTheRegister(t *testing.T) {
	ctx := context.Background()
	server := redistest.Start(t)
	oldBeat, oldClaim := beat, claim
	beat, claim = atClock(script.Beat), atClock(script.Claim)
	t.Cleanup(func() { beat, claim = oldBeat, oldClaim })
	c := New(conf.Redis{Addresses: []string{server.Address}, Timeout: conf.Duration(5 * time.Second)}, "")
	defer c.Close()
	const a, b = core.Replica(0xaaaaaaaa<<32 | 1), core.Replica(0xbbbbbbbb<<32 | 1)
	at := func(ms int64, call lease.Call) lease.Result {
		t.Helper()
		c.rdb.Del(ctx, "clock")
		c.rdb.RPush(ctx, "clock", 1000+ms/1000, ms%1000*1000)
		r, err := c.Execute(ctx, []lease.Call{call})
		if err != nil {
			t.Fatal(err)
		}
		return r[0]
	}
	beats := func(ms int64, self core.Replica, presented uint64, voters ...uint32) lease.Result {
		return at(ms, lease.Call{Kind: lease.CallBeat, Self: self, Beat: uint64(ms), Presented: presented, Voters: voters, VotersOf: 1 << 16, Votes: true, Alone: len(voters) == 0})
	}
	if r := beats(0, a, 0); r.Epoch != 0 {
		t.Fatalf("an empty server has epoch %d", r.Epoch)
	}
	claims := func(ms int64, epoch uint64) uint64 {
		return at(ms, lease.Call{Kind: lease.CallClaim, New: epoch, Expect: []core.Replica{a, b}}).Epoch
	}
	if got := claims(10, 1<<16); got != 1<<16 {
		t.Fatalf("claimed %d", got)
	}
	if got := claims(11, 1<<16-1); got != 1<<16 {
		t.Fatalf("a lower epoch won: %d", got)
	}
	if r := beats(20, a, 1<<16); r.OpensMS != 11990 || r.Quorate == false {
		t.Fatalf("before b has presented: %+v", r)
	}
	if r := beats(1000, b, 1<<16); r.OpensMS != 2010 {
		t.Fatalf("after b has presented: opens in %d ms, want 2010", r.OpensMS)
	}
	beats(2000, b, 1<<16)
	if r := beats(3010, a, 1<<16, 0xaaaaaaaa, 0xbbbbbbbb, 0xcccccccc); r.OpensMS != 0 || r.Before != 20 || !r.Quorate {
		t.Fatalf("%+v", r)
	}
	if r := beats(4010, a, 1<<16, 0xaaaaaaaa, 0xbbbbbbbb, 0xcccccccc); r.Quorate {
		t.Fatalf("two beats of three, one of them 2.01 s old: %+v", r)
	}
}

package redis

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"sluice/conf"
	"sluice/limiter/core"
	"sluice/limiter/lease"
	"sluice/limiter/script"
)

// clusterTags is over how many hash slots the keys of a Redis Cluster are spread.
const clusterTags = 16

// Client talks to one server, the primary that sentinels name, or a cluster.
// Execute is for one goroutine at a time; the rest for any.
type Client struct {
	rdb     goredis.UniversalClient
	timeout time.Duration
	tags    int
	name    string // of the keys
	latency atomic.Int64
}

// New returns a client that connects when it is first used. prefix keeps the keys
// of several clusters on one server apart.
func New(c conf.Redis, prefix string) *Client {
	timeout := c.Timeout.Std()
	if timeout <= 0 {
		timeout = 50 * time.Millisecond
	}
	if prefix == "" {
		prefix = "sluice"
	}
	tags := 1
	if c.Cluster {
		tags = clusterTags
	}
	return &Client{
		timeout: timeout, tags: tags, name: prefix,
		rdb: goredis.NewUniversalClient(&goredis.UniversalOptions{
			Addrs: c.Addresses, MasterName: c.Master, IsClusterMode: c.Cluster,
			Username: c.Username, Password: string(c.Password),
			MaxRetries: -1, DialerRetries: 1,
			DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, PoolTimeout: timeout,
			ContextTimeoutEnabled:    true,
			PoolSize:                 4,
			DisableIdentity:          true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		}),
	}
}

// Close ends the connections.
func (c *Client) Close() error { return c.rdb.Close() }

// Latency is how long the last pipeline took.
func (c *Client) Latency() time.Duration { return time.Duration(c.latency.Load()) }

// program is a script by its hash.
type program struct{ text, sha string }

func compile(text string) program {
	sum := sha1.Sum([]byte(text)) // what EVALSHA identifies scripts by
	return program{text, hex.EncodeToString(sum[:])}
}

var (
	take  = compile(script.Take)
	beat  = compile(script.Beat)
	claim = compile(script.Claim)
	probe = compile(script.Probe)

	inspect = compile(script.Inspect)
)

// command is one script call; each Call becomes one, or one for each tag.
type command struct {
	program program
	keys    []string
	args    []any
	call    int
	reply   *goredis.Cmd
}

// Execute makes one pipeline of the calls.
func (c *Client) Execute(ctx context.Context, calls []lease.Call) ([]lease.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var commands []command
	for i := range calls {
		commands = c.commands(commands, i, &calls[i])
	}
	start := time.Now()
	if err := c.run(ctx, commands); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	c.latency.Store(int64(time.Since(start)))
	results := make([]lease.Result, len(calls))
	fresh := make([]bool, len(calls))
	for i := range commands {
		cmd := &commands[i]
		var r lease.Result
		var err error
		switch call := &calls[cmd.call]; call.Kind {
		case lease.CallTake:
			r, err = parseTake(cmd.reply, call)
		case lease.CallBeat:
			r, err = parseBeat(cmd.reply)
		case lease.CallClaim, lease.CallProbe:
			var text string
			text, err = cmd.reply.Text()
			r.Epoch = number(text)
		}
		if err != nil {
			return nil, fmt.Errorf("redis: %w", err)
		}
		if !fresh[cmd.call] {
			results[cmd.call], fresh[cmd.call] = r, true
		} else {
			join(&results[cmd.call], r)
		}
	}
	return results, nil
}

// run sends the commands by their hashes, and again in full those that the server
// does not know.
func (c *Client) run(ctx context.Context, commands []command) error {
	pipe := c.rdb.Pipeline()
	for i := range commands {
		cmd := &commands[i]
		cmd.reply = pipe.EvalSha(ctx, cmd.program.sha, cmd.keys, cmd.args...)
	}
	pipe.Exec(ctx) // each command has its own error
	pipe = c.rdb.Pipeline()
	for i := range commands {
		cmd := &commands[i]
		if err := cmd.reply.Err(); goredis.HasErrorPrefix(err, "NOSCRIPT") {
			cmd.reply = pipe.Eval(ctx, cmd.program.text, cmd.keys, cmd.args...)
		}
	}
	if pipe.Len() > 0 {
		pipe.Exec(ctx)
	}
	for i := range commands {
		if err := commands[i].reply.Err(); err != nil {
			return err
		}
	}
	return nil
}

// join merges what two registers of a cluster say: what they do not agree on is
// taken from the worse one.
func join(a *lease.Result, b lease.Result) {
	a.Epoch = min(a.Epoch, b.Epoch)
	a.OpensMS = max(a.OpensMS, b.OpensMS)
	a.Before = min(a.Before, b.Before)
	a.Quorate = a.Quorate && b.Quorate
}

func (c *Client) register(tag int) string { return c.name + ":{" + strconv.Itoa(tag) + "}:register" }

func (c *Client) bucket(k lease.Key) (bucket, register string) {
	tag := int(k[0] % uint64(c.tags))
	return fmt.Sprintf("%s:{%d}:%016x%016x", c.name, tag, k[0], k[1]), c.register(tag)
}

func replica(r core.Replica) string { return fmt.Sprintf("%016x", uint64(r)) }

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// commands appends those of one call.
func (c *Client) commands(to []command, i int, call *lease.Call) []command {
	switch call.Kind {
	case lease.CallTake:
		bucket, register := c.bucket(call.Key)
		return append(to, command{take, []string{bucket, register}, takeArgs(call), i, nil})
	case lease.CallBeat:
		voters := make([]string, len(call.Voters))
		for i, v := range call.Voters {
			voters[i] = fmt.Sprintf("%08x", v)
		}
		list := strings.Join(voters, ",")
		if call.Voters == nil && !call.Alone {
			list = "-"
		}
		args := []any{replica(call.Self), call.Beat, call.Presented, list, lease.QuorumFor.Milliseconds(), call.VotersOf, flag(call.Votes)}
		for tag := range c.tags {
			to = append(to, command{beat, []string{c.register(tag)}, args, i, nil})
		}
	case lease.CallProbe:
		for tag := range c.tags {
			to = append(to, command{probe, []string{c.register(tag)}, nil, i, nil})
		}
	case lease.CallClaim:
		expect := make([]string, len(call.Expect))
		for i, r := range call.Expect {
			expect[i] = replica(r)
		}
		args := []any{call.New, lease.HoldDown.Milliseconds(), lease.FenceDown.Milliseconds(), strings.Join(expect, ",")}
		for tag := range c.tags {
			to = append(to, command{claim, []string{c.register(tag)}, args, i, nil})
		}
	}
	return to
}

func takeArgs(call *lease.Call) []any {
	t, l := &call.Take, &call.Limit
	args := make([]any, 0, 16+2*len(t.Uses))
	args = append(args, t.Epoch, replica(t.From), t.Seq, t.Row.Granted, t.Row.Settled, t.Row.Returned, t.Want,
		flag(t.Whole), l.Version, l.Rights, l.Window.Microseconds(), l.Tick().Microseconds(),
		flag(l.Fixed), flag(call.Lenient), core.MaxRuns, len(t.Uses))
	for _, u := range t.Uses {
		args = append(args, uint32(u.Age), u.N)
	}
	return args
}

// parseTake reads the answer of take.lua.
func parseTake(cmd *goredis.Cmd, call *lease.Call) (r lease.Result, err error) {
	text, err := cmd.Text()
	if err != nil {
		return r, err
	}
	f := strings.Split(text, " ")
	reply := core.Reply{To: call.Take.From, Epoch: call.Take.Epoch, Seq: call.Take.Seq}
	switch f[0] {
	case "old":
		r.Old = true
		return r, nil
	case "unknown":
		reply.Verdict = core.Unknown
	case "reclaimed":
		reply.Verdict = core.Reclaimed
	case "epoch":
		reply.Verdict = core.OtherEpoch
		reply.Epoch = 0
		if len(f) > 1 {
			reply.Epoch = number(f[1])
		}
	case "served", "closed":
		if len(f) != 8 {
			return r, fmt.Errorf("answer %q", text)
		}
		if f[0] == "closed" {
			reply.Verdict = core.Closed
		}
		reply.Granted, reply.Pool = int64(number(f[1])), int64(number(f[2]))
		reply.Wait, reply.Reset = core.Stamp(number(f[3])), core.Stamp(number(f[4]))
		r.Limit = lease.Limit{Version: number(f[5]), Rights: int64(number(f[6]))}
		if f[7] != "" {
			for id := range strings.SplitSeq(f[7], ",") {
				reply.Holders = append(reply.Holders, parseReplica(id))
			}
		}
	default:
		return r, fmt.Errorf("answer %q", text)
	}
	r.Reply = reply
	return r, nil
}

// parseBeat reads the answer of beat.lua.
func parseBeat(cmd *goredis.Cmd) (r lease.Result, err error) {
	list, err := cmd.StringSlice()
	if err != nil {
		return r, err
	}
	if len(list) < 4 {
		return r, nil // no epoch
	}
	r.Epoch, r.OpensMS, r.Before = number(list[0]), int64(number(list[1])), number(list[2])
	r.Quorate = list[3] == "1"
	for i := 4; i+1 < len(list); i += 2 {
		r.Alive = append(r.Alive, lease.Sign{Replica: parseReplica(list[i]), AgeMS: int64(number(list[i+1]))})
	}
	return r, nil
}

func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64) // the scripts write nothing else
	return n
}

func parseReplica(s string) core.Replica {
	n, _ := strconv.ParseUint(s, 16, 64)
	return core.Replica(n)
}

// Inspect returns what the books of a key say; nil when there are none, as before
// the first use of the key. Any goroutine may call it.
func (c *Client) Inspect(ctx context.Context, k lease.Key) (*lease.Books, error) {
	bucket, _ := c.bucket(k)
	cmd := []command{{program: inspect, keys: []string{bucket}}}
	if err := c.run(ctx, cmd); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	list, err := cmd[0].reply.StringSlice()
	if err != nil || len(list) < 3 {
		return nil, fmt.Errorf("redis: inspect: %w", err)
	}
	b := &lease.Books{Held: int64(number(list[0])), Used: int64(number(list[1])), Rights: int64(number(list[2]))}
	if b.Rights == 0 {
		return nil, nil
	}
	for i := 3; i+4 < len(list); i += 5 {
		b.Rows = append(b.Rows, core.SnapshotRow{
			Replica: parseReplica(list[i]), Gone: list[i+4] == "1",
			Row: core.Row{Granted: int64(number(list[i+1])), Settled: int64(number(list[i+2])), Returned: int64(number(list[i+3]))},
		})
	}
	return b, nil
}

package ways

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// asking asks Redis for every request, by a script that answers 1 or 0.
type asking struct {
	rdb    *redis.Client
	window time.Duration
	script *redis.Script
	args   func(key uint64, limit int64, nowNS int64, window time.Duration) (keys []string, args []any)
	start  atomic.Int64 // of the first window, UnixNano
	serial atomic.Int64
}

func newAsking(address string, window time.Duration) *asking {
	return &asking{window: window, rdb: redis.NewClient(&redis.Options{
		// Connections are there before they are needed: dialling is not what is compared.
		Addr: address, MaxRetries: -1, DialerRetries: 1, PoolSize: 64, MinIdleConns: 64, ContextTimeoutEnabled: true,
		DialTimeout: time.Second, ReadTimeout: timeout, WriteTimeout: timeout, PoolTimeout: timeout,
	})}
}

// decide admits when Redis does not answer.
func (a *asking) decide(_ int, key uint64, limit int64) (admitted, asked bool) {
	keys, args := a.args(key, limit, time.Now().UnixNano()-a.start.Load(), a.window)
	ctx, cancel := brief()
	defer cancel()
	n, err := a.script.Run(ctx, a.rdb, keys, args...).Int()
	return err != nil || n == 1, true
}

func (a *asking) forget(int)   {}
func (a *asking) cut(int)      {}
func (a *asking) bytes() int64 { return 0 }
func (a *asking) close()       { a.rdb.Close() }

// buckets.lua: the count of the window that the clock is in, and of the one before
// by the share of it that a trailing window still covers.
var buckets = redis.NewScript(`
local cur = tonumber(redis.call('GET', KEYS[1]) or '0')
local prev = tonumber(redis.call('GET', KEYS[2]) or '0')
if prev * (1 - tonumber(ARGV[1])) + cur + 1 > tonumber(ARGV[2]) then return 0 end
redis.call('INCR', KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`)

// Buckets returns the way of two counters: a sliding window counter in Redis.
func Buckets(address string, nodes int, window time.Duration) *Way {
	a := newAsking(address, window)
	a.script = buckets
	a.args = func(key uint64, limit int64, nowNS int64, window time.Duration) ([]string, []any) {
		n, into := nowNS/int64(window), nowNS%int64(window)
		return []string{fmt.Sprintf("{%x}:%d", key, n), fmt.Sprintf("{%x}:%d", key, n-1)},
			[]any{float64(into) / float64(window), limit, 2 * window.Milliseconds()}
	}
	return newWay("two buckets in Redis", nodes, window, a)
}

// log.lua: every admission with its time, by the server's clock.
var log = redis.NewScript(`
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[1]))
if redis.call('ZCARD', KEYS[1]) + 1 > tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now, ARGV[3])
redis.call('PEXPIRE', KEYS[1], math.ceil(tonumber(ARGV[1]) / 1000))
return 1`)

// EachRequest returns the way of a sliding log in Redis.
func EachRequest(address string, nodes int, window time.Duration) *Way {
	a := newAsking(address, window)
	a.script = log
	a.args = func(key uint64, limit int64, _ int64, window time.Duration) ([]string, []any) {
		return []string{fmt.Sprintf("%x", key)}, []any{window.Microseconds(), limit, a.serial.Add(1)}
	}
	return newWay("Redis on every request", nodes, window, a)
}

-- A new epoch, unless somebody else was faster. Nothing is granted in it before
-- everybody who may hold rights has presented its rows, or has stopped spending.
--
-- KEYS  1 register
-- ARGV  1 the new epoch  2 hold-down, ms
--       3 ms after which those that have not presented have fenced themselves
--       4 replicas that are expected to present, comma separated
-- Answer: the epoch that holds now
local t = redis.call('TIME')
local ms = math.floor(tonumber(t[1]) * 1000 + tonumber(t[2]) / 1000)
local function int(x) return string.format('%.0f', x) end
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch and tonumber(epoch) >= tonumber(ARGV[1]) then return epoch end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'early', int(ms + tonumber(ARGV[2])),
  'open', int(ms + tonumber(ARGV[3])), 'expect', ARGV[4], 'since', int(ms), 'last', int(ms), 'quorate', '0')
return ARGV[1]

-- One take: core.Ledger.Serve, for one key, at the server's clock. It uses only
-- what Redis, Valkey and Dragonfly have in common: HGETALL, HSET, HDEL, HMGET,
-- PEXPIRE, TIME and cmsgpack, and nothing of one version of Lua.
--
-- KEYS  1 bucket  2 register of the cluster (epoch, when it opens, who is alive)
-- ARGV  1 epoch  2 replica  3 seq  4 granted  5 settled  6 returned  7 want (-1: report only)
--       8 whole  9 version  10 rights  11 window in microseconds  12 tick in microseconds
--       13 fixed  14 lenient  15 most runs  16 how many uses, then age and count of each
-- Answer: verdict granted pool wait reset version rights holders
--
-- Fields of the bucket: "0" is {tick, version, rights, window, fixed, held, log};
-- a replica's is {granted, settled, returned, seq, seen, gone, reply}.
local arg = {}
for i = 3, #ARGV do arg[i] = tonumber(ARGV[i]) end
local epoch, me = ARGV[1], ARGV[2]
local unit, most = arg[12], arg[15]

local reg = redis.call('HMGET', KEYS[2], 'epoch', 'open', 'since', 'quorate')
if reg[1] ~= epoch then return 'epoch ' .. (reg[1] or '0') end

local t = redis.call('TIME')
local us = tonumber(t[1]) * 1000000 + tonumber(t[2])
local ms = math.floor(us / 1000)
local now = math.floor(us / unit)
local function int(x) return string.format('%.0f', x) end

-- What is known.
local version, rights, window, fixed, held, log = arg[9], arg[10], arg[11], arg[13], 0, {}
local rows, all = {}, redis.call('HGETALL', KEYS[1])
local old
for i = 1, #all, 2 do
  if all[i] == '0' then old = cmsgpack.unpack(all[i + 1]) else rows[all[i]] = cmsgpack.unpack(all[i + 1]) end
end
if old then
  held, log = old[6], old[7]
  if version < old[2] then version, rights, window, fixed = old[2], old[3], old[4], old[5] end
  if old[1] ~= unit then -- another length of window may have another tick
    local kept = {}
    for i = 1, #log, 2 do
      local at = math.ceil(log[i] * old[1] / unit) + 1
      if #kept > 0 and kept[#kept - 1] >= at then kept[#kept] = kept[#kept] + log[i + 1]
      else kept[#kept + 1] = at; kept[#kept + 1] = log[i + 1] end
    end
    log = kept
    for _, r in pairs(rows) do r[5] = math.floor(r[5] * old[1] / unit) end
  end
end
local span, ends = math.ceil(window / unit), 0
if fixed == 1 then
  local start = math.floor((us - us % window) / unit)
  span, ends = now - start, math.ceil((us - us % window + window) / unit) - now
end
local recent = math.floor(60000000 / unit)

-- Expire.
local used, first = 0, 1
while first <= #log and log[first] + span <= now do first = first + 2 end
local live = {}
for i = first, #log, 2 do
  live[#live + 1] = log[i]; live[#live + 1] = log[i + 1]
  used = used + log[i + 1]
end
log = live

local function put(at, n) -- core.Log.Put
  if n <= 0 then return end
  used = used + n
  local i = #log - 1
  while i >= 1 and log[i] >= at do i = i - 2 end
  if log[i + 2] == at then log[i + 3] = log[i + 3] + n; return end
  table.insert(log, i + 2, n)
  table.insert(log, i + 2, at)
  if #log <= 2 * most then return end
  local best, least
  for k = 1, #log - 3, 2 do
    local w = log[k + 1] * (log[k + 2] - log[k])
    if not least or w < least then best, least = k, w end
  end
  log[best + 3] = log[best + 3] + log[best + 1]
  table.remove(log, best)
  table.remove(log, best)
end

local function wait(at) -- core.Limit.Wait
  if ends > 0 then return ends end
  return at + span - now
end

local function save(mine, others)
  local args = {'0', cmsgpack.pack({unit, version, rights, window, fixed, held, log}), me, cmsgpack.pack(mine)}
  for id, r in pairs(others) do args[#args + 1] = id; args[#args + 1] = cmsgpack.pack(r) end
  redis.call('HSET', KEYS[1], (table.unpack or unpack)(args))
  -- Who holds rights says so at least once a window and half an hour.
  redis.call('PEXPIRE', KEYS[1], int(math.ceil(2 * window / 1000) + 3700000))
end

-- The row of the one who asks.
local row = rows[me]
if row and row[1] - row[2] - row[3] == 0 and now - row[5] > span + ends + recent then
  row, rows[me] = nil, nil
end
local uses = 0
for i = 1, arg[16] do uses = uses + arg[16 + 2 * i] end
if not row then
  if arg[8] == 0 and arg[5] > uses then return 'unknown' end
  row = {0, 0, 0, 0, 0, 0, ''}
  rows[me] = row
elseif row[6] == 1 then return 'reclaimed'
elseif arg[3] == row[4] then return row[7]
elseif arg[3] < row[4] then return 'old' end

-- Merge.
local g, s, r = math.max(row[1], arg[4]), math.max(row[2], arg[5]), math.max(row[3], arg[6])
held = held + g - row[1]
local fresh = s - row[2]
held = held - fresh
local past = uses - fresh
for i = 1, arg[16] do
  local n = arg[16 + 2 * i]
  put(now + 1 - arg[15 + 2 * i], n - math.min(n, math.max(0, past)))
  past = past - n
  fresh = fresh - n
end
if arg[8] == 0 then put(now + 1, fresh) end
held = held - (r - row[3])
row[1], row[2], row[3], row[4], row[5] = g, s, r, arg[3], now

local want, verdict, changed = arg[7], 'served', {}
local open = tonumber(reg[2] or '0')
-- Nobody but a majority that reaches this server may be granted anything: see
-- beat.lua.
if ms < open or ms >= tonumber(reg[4] or '0') then want, verdict = -1, 'closed' end

-- Reclaim from the dead.
if want > rights - used - held and ms - tonumber(reg[3] or ms) > 25000 then
  for id, r in pairs(rows) do
    local h = r[1] - r[2] - r[3]
    if id ~= me and r[6] == 0 and h > 0 then
      local beat = redis.call('HGET', KEYS[2], 'n:' .. id)
      if not beat or ms - tonumber(beat) > 25000 then
        held = held - h
        if arg[14] == 0 then put(now + 1, h); r[2] = r[2] + h else r[3] = r[3] + h end
        r[6] = 1
        changed[id] = r
      end
    end
  end
end

-- Grant.
local granted = 0
local pool = rights - used - held
if want >= 0 then
  local sharers = 0
  for _, r in pairs(rows) do
    if r[6] == 0 and now - r[5] < recent then sharers = sharers + 1 end
  end
  granted = want
  if pool > 2 * sharers then granted = math.max(granted, math.floor(pool / (2 * sharers))) end
  granted = math.max(0, math.min(granted, pool))
end
held = held + granted
row[1] = row[1] + granted
pool = pool - granted

local holders, left = '', 0
if granted < want or want == 0 and granted == 0 then
  local list = {}
  for id, r in pairs(rows) do
    if id ~= me and r[6] == 0 and r[1] - r[2] - r[3] ~= 0 then list[#list + 1] = id end
  end
  table.sort(list)
  while #list > 8 do table.remove(list) end
  holders = table.concat(list, ',')
end
if granted < want then
  local lack = want - granted - pool
  for i = 1, #log, 2 do
    lack = lack - log[i + 1]
    if lack <= 0 then left = wait(log[i]); break end
  end
end
if verdict == 'closed' then
  left = math.ceil(math.max(open - ms, 100) * 1000 / unit)
end
local reset = 0
if #log > 0 then reset = wait(log[1]) end
row[7] = table.concat({verdict, int(row[1]), int(math.max(0, pool)), int(left), int(reset), int(version), int(rights), holders}, ' ')
for id, r in pairs(rows) do -- forget who holds nothing and has long been silent
  if id ~= me and r[1] - r[2] - r[3] == 0 and now - r[5] > span + ends + recent then
    redis.call('HDEL', KEYS[1], id)
  end
end
save(row, changed)
return row[7]

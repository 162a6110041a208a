-- A replica says that it lives, and learns of the epoch and of the others.
--
-- Grants are made only while a majority of the voters beats: when a majority has
-- lost this server and gone on without it, those who still reach it must not be
-- granted anything.
--
-- KEYS  1 register
-- ARGV  1 replica  2 beat number  3 epoch that the replica has presented its rows to, or 0
--       4 voters (stable halves of replica names, comma separated; empty: no majority is needed;
--         "-": not known)
--       5 how long a beat counts towards a majority, ms  6 the epoch that the replica follows
--       7 whether it votes
-- Answer: epoch, ms until it opens, previous beat number, quorate, then replica and age in ms of each
local t = redis.call('TIME')
local ms = math.floor(tonumber(t[1]) * 1000 + tonumber(t[2]) / 1000)
local function int(x) return string.format('%.0f', x) end
local reg, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do reg[all[i]] = all[i + 1] end
if not reg.epoch then return {'0'} end
local me = ARGV[1]
local before = reg['b:' .. me] or '0'
local set = {'n:' .. me, int(ms), 'b:' .. me, ARGV[2], 'last', int(ms)}
reg['n:' .. me] = int(ms)
if not reg.last or ms - tonumber(reg.last) > 5000 then set[#set + 1] = 'since'; set[#set + 1] = int(ms) end
if ARGV[3] ~= '0' then set[#set + 1] = 'd:' .. me; set[#set + 1] = ARGV[3]; reg['d:' .. me] = ARGV[3] end

-- A new epoch opens early once everybody that was expected has presented.
local open, early = tonumber(reg.open), tonumber(reg.early)
if ms < open and reg.expect then
  local all = true
  for id in string.gmatch(reg.expect, '[^,]+') do
    if reg['d:' .. id] ~= reg.epoch then all = false end
  end
  if all then
    open = math.max(early, ms)
    set[#set + 1] = 'open'; set[#set + 1] = int(open)
    redis.call('HDEL', KEYS[1], 'expect')
  end
end

if ARGV[7] == '1' and ARGV[6] == reg.epoch then
  local field = 'v:' .. string.sub(me, 1, 8)
  set[#set + 1] = field; set[#set + 1] = int(ms)
  reg[field] = int(ms)
end

-- Until when a majority of the voters counts as beating: the beat of the voter
-- that completes it, plus its time.
if ARGV[6] == reg.epoch and ARGV[4] ~= '-' then
  local ages, voters = {}, 0
  for id in string.gmatch(ARGV[4], '[^,]+') do
    voters = voters + 1
    ages[voters] = tonumber(reg['v:' .. id] or '0')
  end
  local quorate = ms + tonumber(ARGV[5])
  if voters > 0 then
    table.sort(ages, function(a, b) return a > b end)
    quorate = ages[math.floor(voters / 2) + 1] + tonumber(ARGV[5])
  end
  set[#set + 1] = 'quorate'; set[#set + 1] = int(quorate)
  reg.quorate = int(quorate)
end

local answer = {reg.epoch, int(math.max(0, open - ms)), before, tonumber(reg.quorate or '0') > ms and '1' or '0'}
for field, at in pairs(reg) do
  if string.sub(field, 1, 2) == 'n:' then
    local id, age = string.sub(field, 3), ms - tonumber(at)
    if age > 3600000 then
      redis.call('HDEL', KEYS[1], field, 'b:' .. id, 'd:' .. id)
    else
      answer[#answer + 1] = id; answer[#answer + 1] = int(age)
    end
  end
end
redis.call('HSET', KEYS[1], (table.unpack or unpack)(set))
return answer

-- What a bucket says, for people; nothing is changed.
--
-- KEYS  1 bucket
-- Answer: held, used, rights, then replica, granted, settled, returned and gone of each
local answer = {'0', '0', '0'}
local t = redis.call('TIME')
local us = tonumber(t[1]) * 1000000 + tonumber(t[2])
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local r = cmsgpack.unpack(all[i + 1])
  if all[i] == '0' then
    local unit, window, used = r[1], r[4], 0
    local now, span = math.floor(us / unit), math.ceil(window / unit)
    if r[5] == 1 then span = now - math.floor((us - us % window) / unit) end
    for k = 1, #r[7], 2 do
      if r[7][k] + span > now then used = used + r[7][k + 1] end
    end
    answer[1], answer[2], answer[3] = string.format('%.0f', r[6]), string.format('%.0f', used), string.format('%.0f', r[3])
  else
    answer[#answer + 1] = all[i]
    for _, k in ipairs({1, 2, 3, 6}) do answer[#answer + 1] = string.format('%.0f', r[k]) end
  end
end
return answer

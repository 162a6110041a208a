-- What a bucket says, for people; nothing is changed.
--
-- KEYS  1 bucket
-- Answer: held, then replica, granted, settled, returned and gone of each
local answer = {'0'}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local r = cmsgpack.unpack(all[i + 1])
  if all[i] == '0' then
    answer[1] = string.format('%.0f', r[6])
  else
    answer[#answer + 1] = all[i]
    for _, k in ipairs({1, 2, 3, 6}) do answer[#answer + 1] = string.format('%.0f', r[k]) end
  end
end
return answer

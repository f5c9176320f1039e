-- May this user run every command that the scripts and the plugin use? One without a right is so told at the start. Runs
-- without the prelude. KEYS 1: a key for trying. Answers the refusals by name.
local K = KEYS[1]
-- Servers that are too old have no such function; the plugin then refuses them for their version.
local allowed = redis.acl_check_cmd or function() return true end
local refused = {}
local needed = {
  {'EVALSHA', '0', 1, K}, {'TIME'}, {'GET', K}, {'SET', K, '', 'PX', 1000}, {'DEL', K},
  {'HGET', K, 'f'}, {'HMGET', K, 'f'}, {'HSET', K, 'f', ''}, {'HDEL', K, 'f'}, {'HLEN', K}, {'HSCAN', K, '0'},
  {'ZADD', K, 0, 'm'}, {'ZREM', K, 'm'}, {'ZSCORE', K, 'm'}, {'ZCARD', K}, {'ZRANGE', K, 0, 0},
  {'ZRANGEBYLEX', K, '-', '+'}, {'ZRANGEBYSCORE', K, '-inf', 0},
  {'XADD', K, '*', 'f', ''}, {'XRANGE', K, '-', '+'}, {'XREAD', 'STREAMS', K, '0'}, {'XLEN', K},
}
for _, command in ipairs(needed) do
  if not allowed(unpack(command)) then refused[#refused + 1] = string.lower(command[1]) end
end
if #refused > 0 then return refused end
-- Does this server take writes at all? A full one will be read all the same.
local answer = redis.pcall('SET', K, '', 'PX', 1000)
if answer.err and not string.find(answer.err, '^OOM') and not string.find(answer.err, '^MISCONF') then return answer end
return refused

/** What must happen in one step on Redis. The keys of one result lie side by side, so it works where Mognet itself works. */
import { MOGNET_RESULT_FIELDS } from "../../../protocol/mognet/result.ts";
import { MOGNET_OPEN_STATES } from "../../../protocol/mognet/states.ts";
import { RedisScript } from "../redis/script.ts";

const FIELDS = MOGNET_RESULT_FIELDS.map((name) => `'${name}'`).join(",");

/**
 * Many writes, each with its condition. KEYS: the result of each. ARGV per write: states (JSON texts, joined), starts, node
 * id (JSON) and "1" where it must exist (all "" for none), number of commands, and per command the count of its parts and these.
 * Returns per write: "" when written, the error text of Redis, or the fields of the result that did not fulfil the condition.
 */
export const writeScript = new RedisScript(`
local at, out = 1, {}
local function holds(key, states, starts, node, exists)
  if states == '' and starts == '' and node == '' and exists == '' then return true end
  local now = redis.call('HMGET', key, 'state', 'number_of_starts', 'node_id')
  if not now[1] and redis.call('EXISTS', key) == 0 then return exists == '' end
  local state = now[1] or 'null'
  if state == 'null' then state = '"PENDING"' end
  if states ~= '' and not string.find(states, state, 1, true) then return false end
  if starts ~= '' and (now[2] or '0') ~= starts then return false end
  return node == '' or now[3] == node
end
for i = 1, #KEYS do
  local key, n = KEYS[i], tonumber(ARGV[at + 4])
  local ok, answer = pcall(holds, key, ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
  at = at + 5
  local code = ''
  if not ok then
    code = type(answer) == 'table' and answer.err or tostring(answer)
  elseif not answer then
    code = redis.call('HMGET', key, ${FIELDS})
  end
  for c = 1, n do
    local size = tonumber(ARGV[at])
    if code == '' then
      local parts = {}
      for p = 1, size do parts[p] = ARGV[at + p] end
      local done = redis.pcall(unpack(parts))
      if type(done) == 'table' and done.err then code = done.err end
    end
    at = at + size + 1
  end
  out[i] = code
end
return out
`);

/**
 * Mognet's get_or_create, and on top of it the revoke. KEYS: result, value. ARGV: ttl and value ttl ("" for none), mode ("get",
 * "revoke" or "force"), finished (JSON), then pairs of the result's fields, then of the placeholder's.
 * Returns whether it was created, whether it was revoked, and the fields.
 */
export const tombstoneScript = new RedisScript(`
local key, value, ttl, valueTtl, mode, finished = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local created = redis.call('EXISTS', key) == 0
local last = 4 + 2 * ${MOGNET_RESULT_FIELDS.length}
if created or mode ~= 'get' then
  for i = 5, last, 2 do redis.call('HSETNX', key, ARGV[i], ARGV[i + 1]) end
end
local added = 0
for i = last + 1, #ARGV, 2 do added = added + redis.call('HSETNX', value, ARGV[i], ARGV[i + 1]) end
local revoked = false
if mode ~= 'get' then
  local now = redis.call('HMGET', key, 'state', 'finished', 'number_of_stops')
  local open = ${MOGNET_OPEN_STATES.map((state) => `now[1] == '"${state}"'`).join(" or ")} or now[1] == 'null'
  if now[1] == '"REVOKED"' and now[2] == finished then
    revoked = true
  elseif open or mode == 'force' then
    revoked = true
    redis.call('HSET', key, 'state', '"REVOKED"', 'finished', finished, 'number_of_stops', tostring((tonumber(now[3]) or 0) + 1))
  end
end
if ttl ~= '' then redis.call('EXPIRE', key, ttl) end
if valueTtl ~= '' then redis.call('EXPIRE', value, valueTtl) end
return {created and 1 or 0, revoked and 1 or 0, redis.call('HMGET', key, ${FIELDS})}
`);

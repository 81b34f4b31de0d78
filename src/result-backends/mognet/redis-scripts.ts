/** What must happen in one step on Redis. The keys of one result lie side by side, so it works where Mognet itself works. */
import { MOGNET_RESULT_FIELDS } from "../../../protocol/mognet/result.ts";
import { MOGNET_OPEN_STATES } from "../../../protocol/mognet/states.ts";
import { RedisScript } from "../redis/script.ts";

const FIELDS = MOGNET_RESULT_FIELDS.map((name) => `'${name}'`).join(",");

/**
 * Many writes, each with its condition. KEYS: the result of each. ARGV per write, by its first:
 *   "N" a new result: ttl ("" for none), the values of its fields.
 *   "B" the first run of a result that is as it was made: ttl, started, node id. Returns name, parent, creation and arguments, else
 *       all fields; a begin of the same node and moment is this one, whose answer was lost.
 *   "E" the end of a run: starts, ttl, the value's ttl, state, finished, stops, contents and encoding of the value, and the state's key
 *       ("" for none). Returns "whole" where the result is not open or not of that run: then the write must come in full.
 *   "W" anything: states (JSON texts, joined), starts, node id (JSON) and "1" where it must exist (all "" for none), number of
 *       commands, and per command the count of its parts and these. Returns the fields of a result that does not fulfil the condition.
 * Returns per write "" when written, or the error text of Redis, or what is said above. Few arguments: each costs on both sides.
 */
export const writeScript = new RedisScript(`
local at, out, args, call = 1, {}, ARGV, redis.call
local open = {${MOGNET_OPEN_STATES.map((state) => `['"${state}"']=true`).join(",")}}
local function expire(key, ttl)
  if ttl ~= '' then call('EXPIRE', key, ttl) end
end
local function new(key)
  local a, ttl = at + 2, args[at + 1]
  at = at + ${2 + MOGNET_RESULT_FIELDS.length}
  call('HSET', key, ${MOGNET_RESULT_FIELDS.map((name, place) => `'${name}', args[a + ${place}]`).join(", ")})
  expire(key, ttl)
  return ''
end
local function begin(key)
  local ttl, started, node = args[at + 1], args[at + 2], args[at + 3]
  at = at + 4
  local now = call('HMGET', key, ${FIELDS})
  for i = 1, #now do
    if not now[i] then return now end
  end
  if now[5] ~= '0' then return now end
  if now[3] == '"PENDING"' and now[4] == '0' then
    call('HSET', key, 'state', '"RUNNING"', 'number_of_starts', '1', 'started', started, 'node_id', node)
    expire(key, ttl)
  elseif now[3] ~= '"RUNNING"' or now[4] ~= '1' or now[8] ~= started or now[10] ~= node then
    return now
  end
  return {now[2], now[6], now[7], now[11]}
end
local function finish(key)
  local a = at
  at = at + 10
  local now = call('HMGET', key, 'state', 'number_of_starts')
  if not open[now[1]] or now[2] ~= args[a + 1] then return 'whole' end
  local value = key .. '/value'
  call('HSET', value, 'contents', args[a + 7], 'encoding', args[a + 8], 'content_type', '"application/json"')
  expire(value, args[a + 3])
  call('HSET', key, 'state', args[a + 4], 'finished', args[a + 5], 'number_of_stops', args[a + 6])
  expire(key, args[a + 2])
  if args[a + 9] ~= '' then call('DEL', args[a + 9]) end
  return ''
end
local function holds(key, states, starts, node, exists)
  if states == '' and starts == '' and node == '' and exists == '' then return true end
  local now = call('HMGET', key, 'state', 'number_of_starts', 'node_id')
  if not now[1] and call('EXISTS', key) == 0 then return exists == '' end
  local state = now[1] or 'null'
  if state == 'null' then state = '"PENDING"' end
  if states ~= '' and not string.find(states, state, 1, true) then return false end
  if starts ~= '' and (now[2] or '0') ~= starts then return false end
  return node == '' or now[3] == node
end
local function write(key)
  local a, n = at, tonumber(args[at + 5])
  at = at + 6
  local first = at
  for _ = 1, n do at = at + tonumber(args[at]) + 1 end
  if not holds(key, args[a + 1], args[a + 2], args[a + 3], args[a + 4]) then return call('HMGET', key, ${FIELDS}) end
  for _ = 1, n do
    local size = tonumber(args[first])
    call(unpack(args, first + 1, first + size))
    first = first + size + 1
  end
  return ''
end
local acts = {N = new, B = begin, E = finish, W = write}
for i = 1, #KEYS do
  local ok, answer = pcall(acts[args[at]], KEYS[i])
  if ok then
    out[i] = answer
  else
    out[i] = type(answer) == 'table' and answer.err or tostring(answer)
  end
end
return out
`);

/**
 * What waits look at. KEYS: results. ARGV per key: "v" to have the value of one that is done, "u" to have one that is not done too.
 * Returns per key 0: there is none; 1: it is not done; the fields, and behind them those of the value; or the error text of Redis.
 * Keys that a script reads are tracked like others.
 */
export const awaitedScript = new RedisScript(`
local call, out = redis.call, {}
local open = {${MOGNET_OPEN_STATES.map((state) => `['"${state}"']=true`).join(",")}, null=true}
local function read(key, want)
  local state = call('HGET', key, 'state')
  if not state and call('EXISTS', key) == 0 then return 0 end
  local done = state and not open[state]
  if not done and not string.find(want, 'u', 1, true) then return 1 end
  local fields = call('HMGET', key, ${FIELDS})
  if done and string.find(want, 'v', 1, true) then
    local value = call('HMGET', key .. '/value', 'contents', 'encoding', 'content_type')
    for i = 1, 3 do fields[${MOGNET_RESULT_FIELDS.length} + i] = value[i] end
  end
  return fields
end
for i = 1, #KEYS do
  local ok, answer = pcall(read, KEYS[i], ARGV[i])
  if ok then
    out[i] = answer
  else
    out[i] = type(answer) == 'table' and answer.err or tostring(answer)
  end
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

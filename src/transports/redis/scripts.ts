/**
 * What must happen on the server in one piece, as Lua. Keys are passed with their prefix. Every script that takes a
 * message away from one key first does what may be refused (wrong type, memory limit), so that an error loses nothing.
 * Times are the server's own (`TIME`): clocks of workers may differ, and Kombu compares its clock with these scores.
 */
import { createHash } from "node:crypto";

export interface Script {
  readonly name: string;
  readonly text: string;
  readonly sha: string;
}

function script(name: string, text: string): Script {
  return { name, text, sha: createHash("sha1").update(text).digest("hex") };
}

/**
 * Pops up to `count` messages, most urgent step first, within a step in the order of the queues; with `rotate` a served
 * queue goes to the end of that order. Each becomes unacked under its own tag in the same step.
 *
 * KEYS: unacked_index, unacked, then the lists, step by step, queue by queue.
 * ARGV: count, "1" to mark unacked, "1" to rotate, tag prefix, number of the first tag, largest message in bytes, bytes
 * after which to stop, number of queues, then for each queue the end of its records (`, "", "<queue>"]`).
 * Reply: what was wrong with a list or nil, then for each message the queue's position and its text, or its size and its end when
 * it is too large.
 */
export const TAKE = script(
  "take",
  `
local index, unacked = KEYS[1], KEYS[2]
local count, mark, rotate, prefix = tonumber(ARGV[1]), ARGV[2] == '1', ARGV[3] == '1', ARGV[4]
local first, largest, budget, queues = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local steps = (#KEYS - 2) / queues
local tail = 32768
local score
if mark then
  redis.call('HDEL', unacked, '')
  redis.call('ZREM', index, '')
  local now = redis.call('TIME')
  score = string.format('%d.%06d', now[1], now[2])
end
local order = {}
for i = 1, queues do order[i] = i end
local drained, out, records, scores = {}, {false}, {}, {}
local taken, bytes = 0, 0

local function store()
  if #records > 0 then
    redis.call('HSET', unacked, unpack(records))
    redis.call('ZADD', index, unpack(scores))
    records, scores = {}, {}
  end
end

local function pop()
  for step = 0, steps - 1 do
    for at = 1, queues do
      local list = step * queues + order[at]
      if not drained[list] then
        local item = redis.pcall('RPOP', KEYS[2 + list])
        if type(item) == 'string' then return item, at end
        drained[list] = true
        if type(item) == 'table' then out[1] = KEYS[2 + list] .. ': ' .. item.err end
      end
    end
  end
end

local function isObject(text)
  local last = #text
  while last > 0 and string.byte(text, last) <= 32 do last = last - 1 end
  return string.find(text, '^%s*{') and string.byte(text, last) == 125
end

while taken < count and bytes < budget do
  local text, at = pop()
  if not text then break end
  local queue = order[at]
  if rotate then
    table.remove(order, at)
    order[queues] = queue
  end
  local size = #text
  out[#out + 1] = queue - 1
  if size > largest then out[#out + 1] = {size, string.sub(text, -tail)} else out[#out + 1] = text; bytes = bytes + size end
  if mark then
    local tag = prefix .. string.format('%d', first + taken)
    local body = isObject(text) and text or cjson.encode(text)
    records[#records + 1] = tag
    records[#records + 1] = '[' .. body .. ARGV[8 + queue]
    scores[#scores + 1] = score
    scores[#scores + 1] = tag
    if #records >= 512 then store() end
  end
  taken = taken + 1
end
store()
return out
`,
);

/** Forgets settled messages. KEYS: unacked_index, unacked. ARGV: tags. Reply: how many were still there. */
export const SETTLE = script(
  "settle",
  `
local found = 0
for from = 1, #ARGV, 1000 do
  local to = math.min(from + 999, #ARGV)
  found = found + redis.call('HDEL', KEYS[2], unpack(ARGV, from, to))
  redis.call('ZREM', KEYS[1], unpack(ARGV, from, to))
end
return found
`,
);

/** Restarts the visibility timeout of held messages. KEYS: unacked_index. ARGV: at most 1000 tags. Reply: positions of those that are gone. */
export const RENEW = script(
  "renew",
  `
local now = redis.call('TIME')
local score = string.format('%d.%06d', now[1], now[2])
local gone, fresh = {}, {}
for i = 1, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    fresh[#fresh + 1] = score
    fresh[#fresh + 1] = ARGV[i]
  else
    gone[#gone + 1] = i - 1
  end
end
if #fresh > 0 then redis.call('ZADD', KEYS[1], 'XX', unpack(fresh)) end
return gone
`,
);

/**
 * Moves unacked messages back to their lists, each unless somebody did before, in the order given.
 * KEYS: unacked_index, unacked, then every list that occurs. ARGV: "LPUSH" (to the back) or "RPUSH" (next to be consumed),
 * then for each message: tag, the score it must still have or "", envelope, number of lists, positions of these among the lists.
 * Reply: how many were moved or had only an index entry left.
 */
export const GIVE_BACK = script(
  "give back",
  `
local index, unacked, push = KEYS[1], KEYS[2], ARGV[1]
local moved, at = 0, 2
while at <= #ARGV do
  local tag, score, lists = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 3])
  if score == '' or redis.call('ZSCORE', index, tag) == score then
    if redis.call('HEXISTS', unacked, tag) == 1 then
      for i = 1, lists do redis.call(push, KEYS[2 + ARGV[at + 3 + i]], ARGV[at + 2]) end
      redis.call('HDEL', unacked, tag)
      moved = moved + 1
    elseif score ~= '' then
      moved = moved + 1
    end
    redis.call('ZREM', index, tag)
  end
  at = at + 4 + lists
end
return moved
`,
);

/**
 * Finds messages whose visibility timeout has passed, newest first as Kombu does. KEYS: unacked_index.
 * ARGV: timeout in seconds, limit. Reply: tag, score, tag, score, …
 */
export const OVERDUE = script(
  "overdue",
  `
local now = redis.call('TIME')
local ceil = string.format('%.6f', now[1] + now[2] / 1000000 - tonumber(ARGV[1]))
return redis.call('ZRANGE', KEYS[1], ceil, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, ARGV[2], 'WITHSCORES')
`,
);

/** Releases a lock that is still ours (redis-py's `Lock.release`). KEYS: lock. ARGV: token. */
export const UNLOCK = script(
  "unlock",
  `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`,
);

/** Pushes to a queue with x-expires and restarts its life. KEYS: target list, all lists of the queue. ARGV: ms, envelopes. */
export const PUSH_EXPIRING = script(
  "push to an expiring queue",
  `
redis.call('LPUSH', KEYS[1], unpack(ARGV, 2))
for i = 2, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
return 1
`,
);

/** Adds a binding of a queue with x-expires and moves its exchange's deadline forward. KEYS: table, deadlines. ARGV: member, exchange, ms. */
export const BIND_EXPIRING = script(
  "bind an expiring queue",
  `
redis.call('SADD', KEYS[1], ARGV[1])
local now = redis.call('TIME')
local deadline = now[1] * 1000 + math.floor(now[2] / 1000) + tonumber(ARGV[3])
redis.call('ZADD', KEYS[2], 'GT', string.format('%d', deadline), ARGV[2])
return 1
`,
);

/**
 * Deletes binding tables that no consumer kept alive, unless an ordinary queue is bound too (celery-wire 6.5).
 * KEYS: deadlines. ARGV: start of the tables' keys, start of the permanent sets' keys, limit. Reply: number handled.
 */
export const SWEEP_BINDINGS = script(
  "sweep bindings",
  `
local now = redis.call('TIME')
local late = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now[1] * 1000 + math.floor(now[2] / 1000), 'LIMIT', 0, ARGV[3])
for i = 1, #late do
  if redis.call('EXISTS', ARGV[2] .. late[i]) == 0 then redis.call('DEL', ARGV[1] .. late[i]) end
  redis.call('ZREM', KEYS[1], late[i])
end
return #late
`,
);

/** Empties a queue. KEYS: its lists. Reply: how many messages there were. */
export const PURGE = script(
  "purge",
  `
local count = 0
for i = 1, #KEYS do count = count + redis.call('LLEN', KEYS[i]) end
redis.call('DEL', unpack(KEYS))
return count
`,
);

export const SCRIPTS: readonly Script[] = [
  TAKE,
  SETTLE,
  RENEW,
  GIVE_BACK,
  OVERDUE,
  UNLOCK,
  PUSH_EXPIRING,
  BIND_EXPIRING,
  SWEEP_BINDINGS,
  PURGE,
];

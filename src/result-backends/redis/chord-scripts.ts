/**
 * The scripts that count the parts of a chord: what they keep and answer is what those of Celery 5.7 do, so that both may count one
 * chord. wire: celery-wire 8.5; celery/backends/redis.py `_chord_part_return_script` and those beside it.
 */
import { RedisScript } from "./script.ts";

/**
 * Celery's script but for its end. Whoever adds the part that completes a chord is the only one by that alone, and takes no claim:
 * should it be killed, the same part comes again, perhaps to a Celery worker, which gives up for good where it finds the claim
 * of a dead one. Whoever brings a part once more needs the claim, as in Celery.
 * KEYS: j t s d group c. ARGV: task id, part, ordered (1 or 0), score, ttl of the chord, ttl of the group key, ttl of the
 * claim, token. Returns parts so far (-1: the body was sent), added, size, and 0: not complete, 1: claimed, 2: completed,
 * 3: complete, and claimed by another, 4: nothing was added, since a part of these very bytes stands in another place,
 * 5: claimed, since parts that were counted are gone.
 */
export const partScript = new RedisScript(`
local parts, added, size, counted, group, claim = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
if redis.call('GET', claim) == 'done' then
  return {-1, 0, 0, 0}
end
local member = ARGV[1] .. ':' .. ARGV[4]
local fresh = redis.call('SISMEMBER', counted, member) == 0
if fresh then
  if ARGV[3] == '1' then
    if redis.call('ZADD', parts, 'NX', ARGV[4], ARGV[2]) == 0
      and tonumber(redis.call('ZSCORE', parts, ARGV[2])) ~= tonumber(ARGV[4]) then
      return {0, 0, 0, 4}
    end
  else
    redis.call('RPUSH', parts, ARGV[2])
  end
  redis.call('SADD', counted, member)
end
local ready
if ARGV[3] == '1' then
  ready = redis.call('ZCOUNT', parts, '-inf', '+inf')
else
  ready = redis.call('LLEN', parts)
end
local ttl, groupTtl = tonumber(ARGV[5]), tonumber(ARGV[6])
if ttl > 0 then
  for _, key in ipairs({parts, added, size, counted}) do
    redis.call('EXPIRE', key, ttl)
  end
  if groupTtl > 0 then
    redis.call('EXPIRE', group, groupTtl)
  end
end
local more = redis.call('GET', added)
local total = redis.call('GET', size)
local right = 0
if total and ready == tonumber(total) + tonumber(more or 0) then
  if fresh and redis.call('EXISTS', claim) == 0 then
    right = 2
  elseif redis.call('SET', claim, ARGV[8], 'NX', 'EX', tonumber(ARGV[7])) then
    right = 1
  else
    right = 3
  end
elseif total and redis.call('SCARD', counted) > ready
  and redis.call('SET', claim, ARGV[8], 'NX', 'EX', tonumber(ARGV[7])) then
  right = 5
end
return {ready, more, total, right}
`);

/** KEYS: c s. For who completed the chord. Returns 1 when nobody has claimed it meanwhile. */
export const unclaimedScript = new RedisScript(`
return redis.call('EXISTS', KEYS[1]) == 0 and redis.call('EXISTS', KEYS[2]) or 0
`);

/** KEYS: c j t s d. ARGV: ttl of the mark. For who completed the chord; whoever has claimed it since must not send the body again. */
export const completedScript = new RedisScript(`
if redis.call('GET', KEYS[1]) == 'done' then
  return 0
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
redis.call('SET', KEYS[1], 'done', 'EX', tonumber(ARGV[1]))
return 1
`);

/** KEYS: c s. ARGV: token, ttl. Returns 1 when the claim is ours for that long. */
export const extendScript = new RedisScript(`
local claim, ttl = KEYS[1], tonumber(ARGV[2])
local owner = redis.call('GET', claim)
if owner == ARGV[1] then
  return redis.call('EXPIRE', claim, ttl)
end
if not owner and redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.call('SET', claim, ARGV[1], 'EX', ttl, 'NX') and 1 or 0
end
return 0
`);

/** KEYS: c j t s d. ARGV: token, ttl of the mark that the body was sent. Returns 0 when the claim is not ours any more. */
export const cleanupScript = new RedisScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
local ttl = tonumber(ARGV[2])
if ttl and ttl > 0 then
  redis.call('SET', KEYS[1], 'done', 'EX', ttl)
end
return 1
`);

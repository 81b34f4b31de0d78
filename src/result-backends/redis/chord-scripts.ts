/**
 * The scripts that count the parts of a chord: what they keep and answer is what those of Celery 5.7 do, so that both may count one
 * chord. wire: celery-wire 8.5; celery/backends/redis.py `_chord_part_return_script` and those beside it.
 */
import { RedisScript } from "./script.ts";

/**
 * Celery's script but for its end, and for many parts at once. Whoever adds the part that completes a chord is the only one by that
 * alone, and takes no claim: should it be killed, the same part comes again, perhaps to a Celery worker, which gives up for good where
 * it finds the claim of a dead one. Whoever brings a part once more needs the claim, as in Celery.
 * KEYS: j t s d group c. ARGV: ordered (1 or 0), ttl of the chord, ttl of the group key, ttl of the claim; then of each part its task
 * id, value, score and token. Returns the size of the chord (nil: it has none yet; 0: its body was sent), then for each part 0: not
 * complete, 1: claimed, 2: completed, 3: complete, and claimed by another, 4: nothing was added, since a part of these very bytes
 * stands in another place, 5: claimed, since parts that were counted are gone.
 */
export const partScript = new RedisScript(`
local parts, added, size, counted, group, claim = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local ordered, ttl, groupTtl, claimTtl = ARGV[1] == '1', tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if redis.call('GET', claim) == 'done' then
  return {0}
end
local total = redis.call('GET', size)
local wanted = total and tonumber(total) + tonumber(redis.call('GET', added) or 0)
local function count(id, value, score, token)
  local member = id .. ':' .. score
  local fresh = redis.call('SISMEMBER', counted, member) == 0
  if fresh then
    if not ordered then
      redis.call('RPUSH', parts, value)
    elseif redis.call('ZADD', parts, 'NX', score, value) == 0
      and tonumber(redis.call('ZSCORE', parts, value)) ~= tonumber(score) then
      return 4
    end
    redis.call('SADD', counted, member)
  end
  if not wanted then
    return 0
  end
  local ready = redis.call(ordered and 'ZCARD' or 'LLEN', parts)
  if ready == wanted then
    if fresh and redis.call('EXISTS', claim) == 0 then
      return 2
    end
    return redis.call('SET', claim, token, 'NX', 'EX', claimTtl) and 1 or 3
  end
  if redis.call('SCARD', counted) > ready and redis.call('SET', claim, token, 'NX', 'EX', claimTtl) then
    return 5
  end
  return 0
end
local out = {total}
for at = 5, #ARGV, 4 do
  out[#out + 1] = count(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3])
end
if ttl > 0 then
  for _, key in ipairs({parts, added, size, counted}) do
    redis.call('EXPIRE', key, ttl)
  end
  if groupTtl > 0 then
    redis.call('EXPIRE', group, groupTtl)
  end
end
return out
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

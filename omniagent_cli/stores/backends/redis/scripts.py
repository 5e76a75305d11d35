"""Lua scripts that run on the server: read a header, read rows, read a page of the index, and commit a unit of work.

Each script gets one key for each hash tag it touches and derives the others from it, so that on a cluster a call that
uses one tag is routed to the right node.
"""

from __future__ import annotations

LOOK = """
-- KEYS: header, and the base of the store's keys on one server. ARGV: '1' with payload; token of who wants the
-- session for itself, or ''; milliseconds.
local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[2] ~= '' then
  local held = redis.call('HMGET', KEYS[1], 'e', 't', 'u')
  if held[1] then
    if held[2] and held[2] ~= ARGV[2] and tonumber(held[3]) > ms then return {'held', time[1], time[2]} end
    redis.call('HSET', KEYS[1], 't', ARGV[2], 'u', ms + ARGV[3])
  end
end
local found
if ARGV[1] == '1' then
  found = redis.call('HMGET', KEYS[1], 'e', 'g', 'k', 'h', 'v', 'p')
else
  found = redis.call('HMGET', KEYS[1], 'e', 'g', 'k', 'h', 'v')
  found[6] = false
end
local mark = KEYS[2] and redis.call('HGET', KEYS[2] .. 'meta', 'm:encryption')
return {'found', time[1], time[2], found, mark or ''}
"""
"""Read a header, and reserve the session for a short time if requested."""

ROWS = """
-- KEYS: header. ARGV: command, from, to, how many to skip, limit.
local key = string.sub(KEYS[1], 1, -2) .. 'm'
local out, bytes = {redis.call('HGET', KEYS[1], 'g'), redis.call('ZCARD', key), 0}, 0
local skip, limit = tonumber(ARGV[4]), tonumber(ARGV[5])
if ARGV[1] == 'ZREVRANGE' then
  for _, row in ipairs(redis.call('ZREVRANGE', key, skip, skip + limit - 1)) do out[#out + 1] = row end
  return out
end
while limit > 0 do
  local wanted = math.min(limit, 100)
  local part = redis.call(ARGV[1], key, ARGV[2], ARGV[3], 'LIMIT', skip, wanted)
  for _, row in ipairs(part) do
    out[#out + 1] = row
    bytes = bytes + #row
  end
  if #part < wanted then return out end
  skip, limit = skip + #part, limit - #part
  if bytes > 4000000 then
    out[3] = 1
    return out
  end
end
return out
"""
"""Read messages with the number of removals; the third result is True if large messages shortened it."""

PAGE = """
-- KEYS: store. ARGV: prefix of sessions, list, command, from, to, limit.
local members = redis.call(ARGV[3], KEYS[1] .. ARGV[2], ARGV[4], ARGV[5], 'LIMIT', 0, ARGV[6])
local out = {redis.call('HGET', KEYS[1] .. 'meta', 'm:encryption') or ''}
for i, member in ipairs(members) do
  local uid = string.match(member, '^.*%z(.*)$')
  local found = redis.call('HMGET', ARGV[1] .. '{' .. uid .. '}:h', 'e', 'g', 'k', 'h', 'v', 'p')
  out[i + 1] = {member, found}
end
return out
"""
"""Read the encryption manifest and a range of the index with the headers; not on a cluster, where headers have other tags."""

COMMIT = """
-- KEYS: the base of the store's keys where ARGV[3] is '1', then a header each. ARGV: see `commit`.
local at = 0
local function take() at = at + 1; return ARGV[at] end
local function number() return tonumber(take()) end
local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
local function answer(word, what, more) return {word, time[1], time[2], what or '', more} end

local token, format = take(), take()
local store, known = nil, nil
local first = 0
if take() == '1' then store = KEYS[1]; first = 1 end
local function key(i, letter) return string.sub(KEYS[first + i], 1, -2) .. letter end

if store then
  known = redis.call('HGET', store .. 'meta', 'format')
  if known and (tonumber(known) or math.huge) > tonumber(format) then return answer('newer', known) end
end
for _ = 1, number() do
  local i, etag, rows = number(), take(), take()
  local held = redis.call('HMGET', KEYS[first + i], 'e', 't', 'u', 'o')
  if (held[1] or '') ~= etag then
    if held[4] == token then return answer('done') end
    return answer('changed', tostring(i), redis.call('HMGET', KEYS[first + i], 'e', 'g', 'k', 'h', 'v'))
  end
  if held[2] and held[2] ~= token and tonumber(held[3]) > ms then return answer('held') end
  if rows == '1' and redis.call('EXISTS', key(i, 'm')) == 0 then return answer('lost', tostring(i)) end
end
for _ = 1, number() do
  local id, uid = take(), take()
  if (redis.call('HGET', store .. 'ids', id) or '') ~= uid then return answer('taken', id) end
end
for _ = 1, number() do
  local name, value = take(), take()
  if (redis.call('HGET', store .. 'meta', name) or '') ~= value then return answer('meta', name) end
end

local names = {'updated', 'created', 'messages', 'id', 'expires'}
local function places(uid, line)
  if not line then return {} end
  local part = {}
  for text in string.gmatch(line, '([^\\n]*)\\n') do part[#part + 1] = text end
  local kind, pinned, id = part[1], part[2], part[7]
  local tail = '\\0' .. id .. '\\0' .. uid
  local front = '1'
  if pinned == '1' then front = '0' end
  local expires = nil
  if part[6] ~= '' then expires = part[6] .. tail end
  return {id, kind, updated = pinned .. part[3] .. tail, created = pinned .. part[4] .. tail,
    messages = pinned .. part[5] .. tail, id = front .. id .. '\\0' .. uid, expires = expires}
end
local function index(uid, line)
  local known = redis.call('HGET', store .. 'entries', uid)
  if known == line then return end
  local old, new = places(uid, known), places(uid, line)
  for _, name in ipairs(names) do
    if old[name] ~= new[name] or old[2] ~= new[2] then
      if new[name] then redis.call('ZADD', store .. new[2] .. ':' .. name, 0, new[name]) end
      if old[name] then redis.call('ZREM', store .. old[2] .. ':' .. name, old[name]) end
    end
  end
  if line then redis.call('HSET', store .. 'entries', uid, line) end
  if new[1] and new[1] ~= old[1] then redis.call('HSET', store .. 'ids', new[1], uid) end
  if old[1] and new[1] ~= old[1] and redis.call('HGET', store .. 'ids', old[1]) == uid then
    redis.call('HDEL', store .. 'ids', old[1])
  end
  if not line then redis.call('HDEL', store .. 'entries', uid) end
end
local function last(i, ttl)
  if ttl == 'same' then
    local rest = redis.call('PTTL', key(i, 'h'))
    ttl = rest > 0 and tostring(rest) or ''
  end
  for _, letter in ipairs({'h', 'm', 'r'}) do
    if ttl == '' then redis.call('PERSIST', key(i, letter))
    else redis.call('PEXPIRE', key(i, letter), ttl) end
  end
end

local change = {}
function change.header()
  local i, header, preview, with, payload = number(), take(), take(), take(), take()
  if with == '1' then redis.call('HSET', key(i, 'h'), 'h', header, 'v', preview, 'p', payload)
  else redis.call('HSET', key(i, 'h'), 'h', header, 'v', preview) end
end
function change.rows()
  local i = number()
  for _ = 1, number() do redis.call('ZADD', key(i, 'm'), take(), take()) end
end
function change.cut()
  redis.call('ZREMRANGEBYSCORE', key(number(), 'm'), take(), take())
end
function change.move()
  local from, to, low, high = key(number(), 'm'), key(number(), 'm'), take(), take()
  if redis.call('ZCARD', from) == redis.call('ZCOUNT', from, low, high) and redis.call('EXISTS', to) == 0 then
    if redis.call('EXISTS', from) == 1 then redis.call('RENAME', from, to) end
    return
  end
  while true do
    local part = redis.call('ZRANGEBYSCORE', from, low, high, 'WITHSCORES', 'LIMIT', 0, 500)
    if #part == 0 then return end
    for n = 1, #part, 2 do redis.call('ZADD', to, part[n + 1], part[n]) end
    redis.call('ZREMRANGEBYSCORE', from, low, part[#part])
  end
end
function change.record()
  local i = number()
  redis.call('HSET', key(i, 'r'), take(), take())
  redis.call('HSET', key(i, 'h'), 'k', redis.call('HLEN', key(i, 'r')))
end
function change.unrecord()
  local i = number()
  redis.call('HDEL', key(i, 'r'), take())
  redis.call('HSET', key(i, 'h'), 'k', redis.call('HLEN', key(i, 'r')))
end
function change.remove()
  local i = number()
  redis.call('UNLINK', key(i, 'h'), key(i, 'm'), key(i, 'r'))
end
function change.finish()
  local i, removals, ttl = number(), take(), take()
  redis.call('HINCRBY', key(i, 'h'), 'e', 1)
  redis.call('HINCRBY', key(i, 'h'), 'g', removals)
  redis.call('HSET', key(i, 'h'), 'o', token)
  redis.call('HDEL', key(i, 'h'), 't', 'u')
  last(i, ttl)
end
function change.spill() last(number(), take()) end
function change.entry()
  local uid, line = take(), take()
  index(uid, line ~= '' and line or nil)
end
function change.meta() redis.call('HSET', store .. 'meta', take(), take()) end
function change.sweep()
  local before = take()
  for _, kind in ipairs({'v', 'a', 'h'}) do
    local gone = redis.call('ZRANGEBYLEX', store .. kind .. ':expires', '-', '(' .. before, 'LIMIT', 0, 2)
    for _, member in ipairs(gone) do index(string.match(member, '^.*%z(.*)$'), nil) end
  end
end
if store and known ~= format then redis.call('HSET', store .. 'meta', 'format', format) end
while at < #ARGV do change[take()]() end
return answer('done')
"""
"""Check that no other writer changed the sessions, and commit all changes of a unit of work, or none."""

"""Lua scripts that run on the server: read headers, read rows, and commit a unit of work.

Each script declares every key that it touches, so that a cluster refuses a call (TRYAGAIN) while some of them are moved to
another node, instead of letting the script create a second copy.
"""

from __future__ import annotations

LOOK = """
-- KEYS: header, and the meta hash of the store on one server. ARGV: '1' with payload; token of who wants the
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
local mark = KEYS[2] and redis.call('HGET', KEYS[2], 'm:encryption')
return {'found', time[1], time[2], found, mark or ''}
"""
"""Read a header, and reserve the session for a short time if requested."""

ROWS = """
-- KEYS: header, messages. ARGV: command, from, to, how many to skip, limit, bytes after which to stop, '1' with the header.
local key = KEYS[2]
local head
if ARGV[7] == '1' then head = redis.call('HMGET', KEYS[1], 'e', 'g', 'k', 'h', 'v', 'p')
else head = redis.call('HGET', KEYS[1], 'g') end
local out, bytes = {head, redis.call('ZCARD', key), 0}, 0
local skip, limit, most = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if ARGV[1] == 'ZREVRANGE' then
  for _, row in ipairs(redis.call('ZREVRANGE', key, skip, skip + limit - 1)) do out[#out + 1] = row end
  return out
end
local wanted = math.min(limit, 20)
while limit > 0 do
  local part = redis.call(ARGV[1], key, ARGV[2], ARGV[3], 'LIMIT', skip, wanted)
  for _, row in ipairs(part) do
    out[#out + 1] = row
    bytes = bytes + #row
  end
  if #part < wanted then return out end
  skip, limit = skip + #part, limit - #part
  if bytes > most then
    out[3] = 1
    return out
  end
  wanted = math.min(limit, 100)
end
return out
"""
"""Read messages with the number of removals or the header; the third result is 1 if large messages shortened it."""

HEADERS = """
-- KEYS: the meta hash of the store, headers.
local out = {redis.call('HGET', KEYS[1], 'm:encryption') or ''}
for i = 2, #KEYS do out[i] = redis.call('HMGET', KEYS[i], 'e', 'g', 'k', 'h', 'v', 'p') end
return out
"""
"""Read the encryption manifest and the headers of a page of the index; not on a cluster, where headers have other tags."""

COMMIT = """
-- KEYS: with a store meta, ids, entries and five lists for each kind in ARGV[3]; then three for each session. ARGV: see
-- `Changes.send`.
local at = 0
local function take() at = at + 1; return ARGV[at] end
local function number() return tonumber(take()) end
local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
local function answer(word, what, more) return {word, time[1], time[2], what or '', more} end

local token, format, kinds, urgent = take(), take(), take(), take()
local store = kinds ~= '-'
local META, IDS, ENTRIES = KEYS[1], KEYS[2], KEYS[3]
local first, lists = 0, {}
local names = {'updated', 'created', 'messages', 'id', 'expires'}
if store then
  first = 3 + 5 * #kinds
  for n = 1, #kinds do lists[string.sub(kinds, n, n)] = 5 * n - 2 end
end
local offset = {h = 1, m = 2, r = 3}
local function key(i, letter) return KEYS[first + 3 * i - 3 + offset[letter]] end

-- First only reads, which also fail if a key has another type: an error after the first write would leave half a change.
local known
if store then
  known = redis.call('HGET', META, 'format')
  if known and (tonumber(known) or math.huge) > tonumber(format) then return answer('newer', known) end
  redis.call('HLEN', IDS)
  for n = 4, first do redis.call('ZCARD', KEYS[n]) end
end
local fresh, reserved = {}, {}
for i = 1, number() do
  local etag, rows = take(), take()
  local held = redis.call('HMGET', key(i, 'h'), 'e', 't', 'u', 'o')
  if (held[1] or '') ~= etag then
    if held[4] == token then return answer('done') end
    return answer('changed', tostring(i), redis.call('HMGET', key(i, 'h'), 'e', 'g', 'k', 'h', 'v'))
  end
  if held[2] and held[2] ~= token and tonumber(held[3]) > ms then return answer('held') end
  fresh[i], reserved[i] = not held[1], held[2]
  redis.call('HLEN', key(i, 'r'))
  if redis.call('ZCARD', key(i, 'm')) == 0 and rows == '1' then return answer('lost', tostring(i)) end
end
for _ = 1, number() do
  local id, uid = take(), take()
  if (redis.call('HGET', IDS, id) or '') ~= uid then return answer('taken', id) end
end
for _ = 1, number() do
  local name, value = take(), take()
  if (redis.call('HGET', META, name) or '') ~= value then return answer('meta', name) end
end

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

-- While a slot is moved, a script must not touch a key again that it has emptied. Members that would empty a key are removed
-- last, and a placeholder holds messages and records until then.
local gone = {}
local function drop(command, key, member)
  local call = gone[key]
  if not call then
    call = {command, key}
    gone[key] = call
  end
  call[#call + 1] = member
  if #call > 1000 then
    redis.call(unpack(call))
    gone[key] = nil
  end
end
local function index(changes)
  for _, change in ipairs(changes) do
    local uid, line, old, new = unpack(change, 1, 4)
    for n, name in ipairs(names) do
      if old[name] ~= new[name] or old[2] ~= new[2] then
        if new[name] then redis.call('ZADD', KEYS[lists[new[2]] + n], 0, new[name]) end
        if old[name] then drop('ZREM', KEYS[lists[old[2]] + n], old[name]) end
      end
    end
    if line then redis.call('HSET', ENTRIES, uid, line) else drop('HDEL', ENTRIES, uid) end
    if new[1] and new[1] ~= old[1] then redis.call('HSET', IDS, new[1], uid) end
  end
  for _, change in ipairs(changes) do
    local uid, old, new = change[1], change[3], change[4]
    if old[1] and new[1] ~= old[1] and redis.call('HGET', IDS, old[1]) == uid then drop('HDEL', IDS, old[1]) end
  end
end
local entries = {}
for _ = 1, number() do
  local uid, line = take(), take()
  if line == '' then line = nil end
  local before = redis.call('HGET', ENTRIES, uid)
  if before ~= (line or false) then
    local old, new = places(uid, before), places(uid, line)
    if (old[2] and not lists[old[2]]) or (new[2] and not lists[new[2]]) then return answer('kinds') end
    entries[#entries + 1] = {uid, line, old, new}
  end
end
local before = take()
if before ~= '' then
  for _, kind in ipairs({'v', 'a', 'h'}) do
    for _, member in ipairs(redis.call('ZRANGEBYLEX', KEYS[lists[kind] + 5], '-', '(' .. before, 'LIMIT', 0, 2)) do
      local uid = string.match(member, '^.*%z(.*)$')
      entries[#entries + 1] = {uid, nil, places(uid, redis.call('HGET', ENTRIES, uid)), {}}
    end
  end
end

-- A full server refuses the first write of a script if it needs memory, and no later one.
if urgent == '1' then redis.call('HDEL', KEYS[1], 't') end
if store and known ~= format then redis.call('HSET', META, 'format', format) end
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
  local messages, low, high = key(number(), 'm'), take(), take()
  if high == '+inf' then high = '(+inf' end
  if redis.call('ZCOUNT', messages, low, high) == redis.call('ZCARD', messages) then
    redis.call('ZADD', messages, '+inf', '')
    drop('ZREM', messages, '')
  end
  redis.call('ZREMRANGEBYSCORE', messages, low, high)
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
local function count_records(i)
  local records = key(i, 'r')
  redis.call('HSET', key(i, 'h'), 'k', redis.call('HLEN', records) - redis.call('HEXISTS', records, ''))
end
function change.record()
  local i = number()
  redis.call('HSET', key(i, 'r'), take(), take())
  count_records(i)
end
function change.unrecord()
  local i, field = number(), take()
  local records = key(i, 'r')
  if redis.call('HLEN', records) == redis.call('HEXISTS', records, field) then
    redis.call('HSET', records, '', '')
    drop('HDEL', records, '')
  end
  redis.call('HDEL', records, field)
  count_records(i)
end
function change.remove()
  local i = number()
  redis.call('UNLINK', key(i, 'h'), key(i, 'm'), key(i, 'r'))
end
function change.finish()
  local i, removals, ttl = number(), take(), take()
  redis.call('HINCRBY', key(i, 'h'), 'e', 1)
  if removals ~= '0' or fresh[i] then redis.call('HINCRBY', key(i, 'h'), 'g', removals) end
  redis.call('HSET', key(i, 'h'), 'o', token)
  if reserved[i] then redis.call('HDEL', key(i, 'h'), 't', 'u') end
  last(i, ttl)
end
function change.spill() last(number(), take()) end
function change.meta() redis.call('HSET', META, take(), take()) end
while at < #ARGV do change[take()]() end
index(entries)
for _, call in pairs(gone) do redis.call(unpack(call)) end
return answer('done')
"""
"""Check that no other writer changed the sessions, and commit all changes of a unit of work, or none."""

-- byname's work on a request, as a script for Envoy's Lua filter: authority, search path, Service or alias, port, control
-- header, canonical authority. It leaves out endpoint and port names, cluster IPs, readiness, refusals with reasons,
-- traces and counters. xtask/src/bench/world.rs fills in the two tables.
--
-- It is written for speed. All variables are local. The tables hold only constants, so that 10,000 entries load. Keys are
-- whole names, so that a candidate costs one concatenation and one lookup. A request makes no table, closure or pattern
-- capture.

local find, sub, lower, byte, tonumber = string.find, string.sub, string.lower, string.byte, tonumber

-- The port of each Service by its canonical name, and the canonical target of each alias.
local PORTS = {SERVICE_PORTS}
local ALIASES = {ALIAS_TARGETS}

local SEARCH_1, SEARCH_2, SEARCH_3 = ".shop.svc.cluster.local", ".svc.cluster.local", ".cluster.local"
local NDOTS = 5
local MAX_HOPS = 10
local DOT = 46

-- Whether a host has enough dots to be tried as it is before the search list.
local function has_dots(host)
  local at = 0
  for _ = 1, NDOTS do
    at = find(host, ".", at + 1, true)
    if not at then return false end
  end
  return true
end

local function exists(name)
  return PORTS[name] or ALIASES[name]
end

-- The first candidate that exists.
local function search(host)
  local itself_first = has_dots(host)
  if itself_first and exists(host) then return host end
  local name = host .. SEARCH_1
  if exists(name) then return name end
  name = host .. SEARCH_2
  if exists(name) then return name end
  name = host .. SEARCH_3
  if exists(name) then return name end
  if not itself_first and exists(host) then return host end
  return nil
end

-- The canonical name and the port that an authority resolves to, or nil.
local function resolve(authority, https)
  local default = https and 443 or 80
  local host, port = authority, default
  local colon = find(authority, ":", 1, true)
  if colon then
    port = tonumber(sub(authority, colon + 1))
    host = sub(authority, 1, colon - 1)
  end
  host = lower(host)
  local name
  if byte(host, -1) == DOT then
    host = sub(host, 1, -2)
    name = exists(host) and host or nil
  else
    name = search(host)
  end
  for _ = 1, MAX_HOPS do
    local target = ALIASES[name]
    if not target then break end
    name = target
  end
  if not name or PORTS[name] ~= port then return nil end
  if port == default then return name end
  return name .. ":" .. port
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local authority = headers:get(":authority")
  local canonical = resolve(authority, headers:get(":scheme") == "https")
  if not canonical then
    headers:remove("x-byname-cluster")
    return
  end
  headers:replace("x-byname-cluster", "upstream")
  if canonical ~= authority then
    headers:replace(":authority", canonical)
  end
end

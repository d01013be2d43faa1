-- FreeSWITCH beside dfks: asks what the keys of a user say, and sets them. Needs mod_curl and mod_lua; docs/from-freeswitch.md.
--   lua dfks.lua ask USER DOMAIN     sets the channel variables dfks_dnd, dfks_always, dfks_busy, dfks_no_answer, dfks_ring_seconds
--   lua dfks.lua set USER DOMAIN FEATURE on|off [TARGET]     sets dfks_set to true where it was done
-- It fails open: without an answer within a second nothing is set, and the phone rings.

local dfks = os.getenv("DFKS") or "http://127.0.0.1:8888"
-- one ring is about 6 seconds
local ring_seconds = 6

local api = freeswitch.API()

-- What mod_curl's API takes as one word: nothing in it can end the word.
local function escaped(text)
  return (text:gsub("[^A-Za-z0-9_.@*+-]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

local function ask(user, domain)
  local url = dfks .. "/v1/features/sip:" .. escaped(user) .. "@" .. escaped(domain)
  local answer = api:execute("curl", url .. " connect-timeout 1 timeout 1 get") or ""
  local features = answer:match('"features":(%b[])') or ""
  local found = {}
  for one in features:gmatch("%b{}") do
    local name, status, values = one:match('"feature":"(%w+)"'), one:match('"status":(%d)'), one:match('"values":(%b{})') or ""
    if name and status == "1" then
      found[name] = { target = values:match('"forwardTo":"([^"\\]+)"'), rings = tonumber(values:match('"ringCount":"(%d+)"') or "3") }
    end
  end
  return found
end

-- The user part of a target in this house, or the digits. "sip:bob@elsewhere" is left to the dial plan as it is.
local function target(feature, domain)
  local to = feature and feature.target
  if not to then return nil end
  local user, host = to:match("^sips?:([^@]+)@([^;:]+)")
  if user and host == domain then return user end
  return to
end

local what, user, domain = argv[1], argv[2], argv[3]
if what == "ask" then
  local found = ask(user, domain)
  session:setVariable("dfks_dnd", found.DoNotDisturb and "true" or "false")
  session:setVariable("dfks_always", target(found.CallForwardingAlways, domain) or "")
  session:setVariable("dfks_busy", target(found.CallForwardingBusy, domain) or "")
  session:setVariable("dfks_no_answer", target(found.CallForwardingNoAnswer, domain) or "")
  local limit = found.CallForwardingNoAnswer and found.CallForwardingNoAnswer.target and found.CallForwardingNoAnswer.rings * ring_seconds
  session:setVariable("dfks_ring_seconds", tostring(limit or 60))
elseif what == "set" then
  local feature, on, to = argv[4], argv[5] == "on" and "1" or "0", argv[6]
  local values = to and to:match("^[0-9A-Za-z_.*+-]+$") and ('"values":{"forwardTo":"%s"},'):format(to) or ""
  local body = ('{"status":%s,%s"actor":"feature-code"}'):format(on, values)
  local url = dfks .. "/v1/features/sip:" .. escaped(user) .. "@" .. escaped(domain) .. "/" .. feature
  local said = api:execute("curl", url .. " content-type application/json connect-timeout 1 timeout 3 put " .. body) or ""
  session:setVariable("dfks_set", said:find('"state"', 1, true) and "true" or "false")
end

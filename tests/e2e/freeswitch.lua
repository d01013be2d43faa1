-- FreeSWITCH, as far as examples/freeswitch/dfks.lua needs it: the API of mod_curl by curl, variables of the channel on stdout.
-- freeswitch.lua FILE ARGUMENT…

local file = table.remove(arg, 1)
argv = arg

local function curl(line)
  local url, options, verb = line:match("^(%S+) (.-)(%l+)$")
  local body
  if verb ~= "get" then
    url, options, verb, body = line:match("^(%S+) (.-) (put) (.*)$")
  end
  local command = ("curl -s -m %s '%s'"):format(options:match("%f[%l]timeout (%d+) *$") or "1", url)
  if body then
    command = command .. (" -X PUT -H 'Content-Type: %s' -d '%s'"):format(options:match("content%-type (%S+)"), body)
  end
  local pipe = assert(io.popen(command))
  local answer = pipe:read("a")
  pipe:close()
  return answer
end

freeswitch = { API = function() return { execute = function(_, command, line)
  assert(command == "curl")
  return curl(line)
end } end }
session = { setVariable = function(_, name, value) print(name .. "=" .. value) end }

dofile(file)

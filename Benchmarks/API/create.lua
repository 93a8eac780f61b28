-- SPDX-License-Identifier: Apache-2.0
-- Creates objects of a kind and size, each with a name of its own. Arguments: kind, bytes, how many (all the time
-- without it), a prefix for the names. Prints "made COUNT RATE" where a count was asked for.
local threads, counter = {}, 0

function setup(thread)
    counter = counter + 1
    thread:set("number", counter)
    table.insert(threads, thread)
end

function init(args)
    kind, size, limit, prefix = args[1], tonumber(args[2]), tonumber(args[3] or 0), args[4] or "load"
    sent, answered = 0, 0
    first, last = 0, 0
    local filling = string.rep("x", size - (kind == "pod" and 420 or 160))
    if kind == "pod" then
        before = '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"'
        after = '","labels":{"app":"load"},"annotations":{"filling":"' .. filling .. '"}},"spec":{"schedulerName":"nobody",'
            .. '"automountServiceAccountToken":false,"containers":[{"name":"main","image":"registry.k8s.io/pause:3.10"}]}}'
    else
        if size < 160 then filling = string.rep("x", size) end
        before = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"'
        after = '"},"data":{"filling":"' .. filling .. '"}}'
    end
    headers = { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. os.getenv("TOKEN") }
end

function request()
    sent = sent + 1
    return wrk.format("POST", nil, headers, before .. prefix .. "-" .. number .. "-" .. sent .. after)
end

-- The kernel's clock, because wrk's own stops only with the time it was given.
local function now()
    local file = io.open("/proc/uptime")
    local value = tonumber(file:read("*n"))
    file:close()
    return value
end

function response(status)
    if first == 0 then first = now() end
    answered = answered + 1
    if limit > 0 and answered >= limit / 2 then
        last = now()
        io.open(os.getenv("DONE") .. number, "w"):close()
        wrk.thread:stop()
    end
end

function done()
    local count, begin, finish = 0, math.huge, 0
    for _, thread in ipairs(threads) do
        count = count + thread:get("answered")
        begin = math.min(begin, thread:get("first"))
        finish = math.max(finish, thread:get("last"))
    end
    if finish > begin then print("made " .. count .. " " .. count / (finish - begin)) end
end

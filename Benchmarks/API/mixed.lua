-- SPDX-License-Identifier: Apache-2.0
-- Four reads and one update of pods taken by chance. Argument: a file with their names.
local counter = 0

function setup(thread)
    counter = counter + 1
    thread:set("seed", counter)
end

function init(args)
    math.randomseed(seed)
    names = {}
    for name in io.lines(args[1]) do table.insert(names, name) end
    headers = {
        ["Authorization"] = "Bearer " .. os.getenv("TOKEN"), ["Accept"] = "application/json",
        ["Content-Type"] = "application/merge-patch+json",
    }
    step = 0
end

function request()
    step = step + 1
    local path = wrk.path .. "/" .. names[math.random(#names)]
    if step % 5 == 0 then
        return wrk.format("PATCH", path, headers, '{"metadata":{"labels":{"step":"' .. step .. '"}}}')
    end
    return wrk.format("GET", path, headers)
end

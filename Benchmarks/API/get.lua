-- SPDX-License-Identifier: Apache-2.0
-- Reads one path again and again; with the argument gzip, packed, with protobuf in that encoding.
function init(args)
    local headers = { ["Authorization"] = "Bearer " .. os.getenv("TOKEN"), ["Accept"] = "application/json" }
    if args[1] == "protobuf" then headers["Accept"] = "application/vnd.kubernetes.protobuf" end
    if args[1] == "gzip" then headers["Accept-Encoding"] = "gzip" end
    whole = wrk.format("GET", nil, headers)
end

function request() return whole end

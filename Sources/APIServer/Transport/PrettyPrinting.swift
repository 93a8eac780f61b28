// SPDX-License-Identifier: Apache-2.0

import Values

/// Answers for people: a line a member, for those who ask (`pretty=true`) and for browsers and the like.
extension Reply {
    func indented(for request: IncomingRequest) -> Reply {
        guard case .bytes(let bytes) = body, !bytes.isEmpty, request.wantsIndentation,
            headers.contains(where: { $0.name == "Content-Type" && $0.value.hasPrefix("application/json") }),
            // Documents go by their hash: they stay as they are.
            !headers.contains(where: { $0.name == "ETag" }), let value = try? JSON(parsing: bytes)
        else { return self }
        var reply = self
        reply.body = .bytes(value.serialized(indent: 2) + [0x0A])
        return reply
    }
}

extension IncomingRequest {
    /// Programs that people use by hand, which upstream knows by the beginnings of their names.
    private static let handTools = ["curl", "Wget", "Mozilla/5.0"]

    fileprivate var wantsIndentation: Bool {
        if let asked = query("pretty"), !asked.isEmpty {
            return ["1", "t", "T", "true", "TRUE", "True"].contains(asked)
        }
        guard case .connection = origin else { return false }
        return Self.handTools.contains { userAgent.hasPrefix($0) }
    }
}

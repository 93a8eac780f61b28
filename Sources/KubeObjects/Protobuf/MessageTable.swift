// SPDX-License-Identifier: Apache-2.0

import CSchemas
import Synchronization
import Values

/// The wire numbers of messages, parsed as they are met.
final class MessageTable: Sendable {
    struct Field: Sendable {
        enum Role: Sendable { case single, repeated, map, inlined }

        let name: String
        /// A scalar's name or a message's.
        let type: String
        let role: Role
    }

    private let file = DataFile(catbird_messages())
    private let parsed = Mutex<[String: [Int: Field]]>([:])

    /// Nil for a name that no message has.
    func fields(of message: String) -> [Int: Field]? {
        if let fields = parsed.withLock({ $0[message] }) { return fields }
        guard let entry = file.value(message)?.object else { return nil }
        var fields: [Int: Field] = [:]
        for (key, value) in entry {
            guard let number = Int(key), let name = value[0].string, let type = value[1].string else { continue }
            let role: Field.Role =
                switch value[2].string {
                case "r": .repeated
                case "m": .map
                case "i": .inlined
                default: .single
                }
            fields[number] = Field(name: name, type: type, role: role)
        }
        parsed.withLock { $0[message] = fields }
        return fields
    }
}

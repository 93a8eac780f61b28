// SPDX-License-Identifier: Apache-2.0

import Values

/// Small verbs for filling in what an object leaves out.
extension JSON {
    /// Sets a member that is missing or null.
    mutating func fill(_ key: String, _ value: @autoclosure () -> JSON) {
        if self[key]?.isNull ?? true { self[key] = value() }
    }

    /// Sets a text that is missing or empty. What is of another type stays, to be refused.
    mutating func fillText(_ key: String, _ text: @autoclosure () -> String) {
        switch self[key] {
        case nil, .null?, .string("")?: self[key] = .string(text())
        default: break
        }
    }

    /// Sets a number that is missing or zero. What is of another type stays, to be refused.
    mutating func fillNumber(_ key: String, _ number: Int) {
        switch self[key] {
        case nil, .null?, .int(0)?: self[key] = JSON(number)
        default: break
        }
    }

    /// Changes an object that is a member; a missing one stays missing.
    mutating func change(_ key: String, _ body: (inout JSON) -> Void) {
        guard var member = self[key], member.object != nil else { return }
        self[key] = .null
        body(&member)
        self[key] = member
    }

    /// Changes an object that is a member, or makes it.
    mutating func make(_ key: String, _ body: (inout JSON) -> Void) {
        fill(key, .object([:]))
        change(key, body)
    }

    /// Changes each object of a list that is a member.
    mutating func each(_ key: String, _ body: (inout JSON) -> Void) {
        guard case .array(var elements)? = self[key] else { return }
        self[key] = .null
        for index in elements.indices where elements[index].object != nil { body(&elements[index]) }
        self[key] = .array(elements)
    }
}

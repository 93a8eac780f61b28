// SPDX-License-Identifier: Apache-2.0

public import Values

/// What one event or several change of the tables, and what has to be looked after when they have been written.
public struct ServiceChanges: Sendable {
    /// An element before and after; nil is not there.
    public struct Change: Sendable, Equatable {
        public let before: ServiceElement.Value?
        public var after: ServiceElement.Value?
    }

    public private(set) var elements: [IPFamily: [ServiceElement: Change]] = [:]
    /// Numbers of ports over UDP that lost endpoints: the kernel still sends their connections there.
    public var lostUDP: [IPFamily: Set<UInt32>] = [:]
    /// Where there is a port over UDP that was not served before: connections may go past it.
    public var freshUDP: Set<IPFamily> = []
    /// Numbers of ports whose clients may be bound to endpoints that went, or no longer are bound.
    public var lostAffinity: [IPFamily: Set<UInt32>] = [:]
    /// Whether load balancers may be told something else than before.
    public var healthChecks = false

    public init() {}

    public var isEmpty: Bool {
        elements.isEmpty && lostUDP.isEmpty && freshUDP.isEmpty && lostAffinity.isEmpty && !healthChecks
    }

    mutating func note(
        _ element: ServiceElement, _ before: ServiceElement.Value?, _ after: ServiceElement.Value?, _ family: IPFamily
    ) {
        let first = elements[family]?[element]?.before
        let isKnown = elements[family]?[element] != nil
        let start = isKnown ? first : before
        if start == after {
            elements[family]?[element] = nil
            if elements[family]?.isEmpty ?? false { elements[family] = nil }
        } else {
            elements[family, default: [:]][element] = Change(before: start, after: after)
        }
    }

    /// Adds what came after.
    public mutating func merge(_ later: ServiceChanges) {
        for (family, changes) in later.elements {
            for (element, change) in changes { note(element, change.before, change.after, family) }
        }
        lostUDP.merge(later.lostUDP) { $0.union($1) }
        freshUDP.formUnion(later.freshUDP)
        lostAffinity.merge(later.lostAffinity) { $0.union($1) }
        healthChecks = healthChecks || later.healthChecks
    }

    /// Takes out what concerns one family.
    public mutating func take(_ family: IPFamily) -> ServiceChanges {
        var own = ServiceChanges()
        own.elements[family] = elements.removeValue(forKey: family)
        own.lostUDP[family] = lostUDP.removeValue(forKey: family)
        own.lostAffinity[family] = lostAffinity.removeValue(forKey: family)
        if freshUDP.remove(family) != nil { own.freshUDP = [family] }
        return own
    }
}

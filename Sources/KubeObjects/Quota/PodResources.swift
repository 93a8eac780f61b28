// SPDX-License-Identifier: Apache-2.0

public import Values

/// Amounts by the name of a resource.
public typealias ResourceAmounts = [String: Quantity]

/// What a pod asks for, or may use, as a whole.
public enum PodResources {
    public enum Side: String, Sendable { case requests, limits }

    /// The amounts of one list of a container's `resources`.
    public static func amounts(_ json: JSON?) -> ResourceAmounts {
        var amounts: ResourceAmounts = [:]
        for (name, value) in json.object ?? [:] {
            if let amount = quantity(value) { amounts[name] = amount }
        }
        return amounts
    }

    /// An amount as text, or as the number that some clients send.
    public static func quantity(_ json: JSON?) -> Quantity? {
        switch json {
        case .string(let text)?: Quantity(text)
        case .int(let number)?: Quantity(number)
        case .double(let number)?: Quantity("\(number)")
        default: nil
        }
    }

    /// Containers and sidecars together or, if that is more, the hungriest moment of the init containers. What is said of
    /// the pod as a whole takes the place of the sums.
    public static func total(_ spec: JSON?, _ side: Side, withOverhead: Bool = true) -> ResourceAmounts {
        var total: ResourceAmounts = [:]
        for container in spec["containers"].array ?? [] {
            total.add(amounts(container["resources"][side.rawValue]))
        }
        var sidecars: ResourceAmounts = [:]
        var peak: ResourceAmounts = [:]
        for container in spec["initContainers"].array ?? [] {
            let own = amounts(container["resources"][side.rawValue])
            var moment = sidecars
            moment.add(own)
            if container["restartPolicy"].string == "Always" { sidecars = moment }
            peak.raise(to: moment)
        }
        total.add(sidecars)
        total.raise(to: peak)
        for (name, amount) in amounts(spec["resources"][side.rawValue]) { total[name] = amount }
        guard withOverhead else { return total }
        for (name, amount) in amounts(spec["overhead"]) where side == .requests || total[name] != nil {
            total[name, default: .zero] += amount
        }
        return total
    }

    /// Names of resources that nobody but a device plugin or an operator gives out.
    static func isExtended(_ name: String) -> Bool {
        guard let slash = name.firstIndex(of: "/") else { return false }
        let domain = name[..<slash]
        return !(domain == "kubernetes.io" || domain.hasSuffix(".kubernetes.io")) && !name.hasPrefix("requests.")
    }
}

extension [String: Quantity] {
    /// Adds amount by amount.
    public mutating func add(_ other: ResourceAmounts) {
        for (name, amount) in other { self[name] = self[name].map { $0 + amount } ?? amount }
    }

    /// Subtracts amount by amount.
    public mutating func subtract(_ other: ResourceAmounts) {
        for (name, amount) in other { self[name] = (self[name] ?? .zero) - amount }
    }

    mutating func raise(to other: ResourceAmounts) {
        for (name, amount) in other { self[name] = Swift.max(self[name] ?? amount, amount) }
    }

    /// As an object of the API shows them.
    public var json: JSON {
        .object(JSONObject(sorted { $0.key < $1.key }.map { ($0.key, .string($0.value.description)) }))
    }
}

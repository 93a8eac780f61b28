// SPDX-License-Identifier: Apache-2.0

package import Values

/// Amounts by resource name: cpu in thousandths, everything else in whole units.
package struct Resources: Sendable, Hashable {
    package var amounts: [String: Int64] = [:]

    package init() {}

    package init(_ json: JSON?) {
        for (name, value) in json.object ?? [:] {
            let text = value.string ?? value.int.map(String.init) ?? ""
            guard let quantity = Quantity(text) else { continue }
            amounts[name] = name == "cpu" ? quantity.milliValue : quantity.value
        }
    }

    package subscript(name: String) -> Int64 { amounts[name] ?? 0 }

    package mutating func add(_ other: Resources) {
        for (name, amount) in other.amounts { amounts[name] = self[name].addingClamped(amount) }
    }

    package mutating func subtract(_ other: Resources) {
        for (name, amount) in other.amounts { amounts[name] = self[name].addingClamped(-amount) }
    }

    package mutating func atLeast(_ other: Resources) {
        for (name, amount) in other.amounts { amounts[name] = max(self[name], amount) }
    }
}

extension Int64 {
    fileprivate func addingClamped(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? (other > 0 ? .max : .min) : sum
    }
}

extension Resources {
    /// What a pod asks for: its containers and sidecars together, or, if that is more, the hungriest moment of its
    /// init containers, and the overhead.
    package static func requested(by spec: JSON?) -> Resources {
        var total = Resources()
        for container in spec["containers"].array ?? [] { total.add(Resources(container["resources"]["requests"])) }
        var sidecars = Resources()
        var peak = Resources()
        for container in spec["initContainers"].array ?? [] {
            let requests = Resources(container["resources"]["requests"])
            if container["restartPolicy"].string == "Always" {
                sidecars.add(requests)
                peak.atLeast(sidecars)
            } else {
                var moment = sidecars
                moment.add(requests)
                peak.atLeast(moment)
            }
        }
        total.add(sidecars)
        total.atLeast(peak)
        // Requests of the pod as a whole take the place of the sums.
        for (name, amount) in Resources(spec["resources"]["requests"]).amounts { total.amounts[name] = amount }
        total.add(Resources(spec["overhead"]))
        return total
    }

    /// The same for scores: a container that asks for nothing still counts a little, so that such pods spread too.
    package static func weighed(by spec: JSON?, requested: Resources) -> Resources {
        var result = Resources()
        result.amounts["cpu"] = requested["cpu"]
        result.amounts["memory"] = requested["memory"]
        for container in spec["containers"].array ?? [] {
            let requests = container["resources"]["requests"]
            if requests["cpu"] == nil { result.amounts["cpu", default: 0] += 100 }
            if requests["memory"] == nil { result.amounts["memory", default: 0] += 200 << 20 }
        }
        return result
    }
}

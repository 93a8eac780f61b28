// SPDX-License-Identifier: Apache-2.0

public import KubeObjects
import Values

/// Where the agent serves its figures: FelixConfiguration `default`, then the node's own `node.NAME`, then the agent's
/// environment (`FELIX_PROMETHEUSMETRICSENABLED` and the like), each before the one named first.
public struct FelixMetricsSettings: Sendable, Hashable {
    public var isEnabled = false
    public var port = 9091
    /// Empty is all of the node's addresses.
    public var host = ""
    public var hasProcessMetrics = true
    public var problems: [String] = []

    public init(_ general: KubeObject?, ofNode own: KubeObject? = nil, environment: [String: String] = [:]) {
        for (object, name) in [(general, "FelixConfiguration default"), (own, "FelixConfiguration \(own?.name ?? "")")]
        {
            guard let spec = object?["spec"] else { continue }
            if let value = spec["prometheusMetricsEnabled"].bool { isEnabled = value }
            if let value = spec["prometheusProcessMetricsEnabled"].bool { hasProcessMetrics = value }
            if let value = spec["prometheusMetricsHost"].string { host = value }
            if let value = spec["prometheusMetricsPort"], !value.isNull {
                take(port: value.int, "\(name): spec.prometheusMetricsPort: \(value)")
            }
        }
        let settings = Dictionary(
            environment.map { ($0.key.uppercased(), $0.value) }, uniquingKeysWith: { first, _ in first })
        func flag(_ name: String) -> Bool? {
            switch settings[name]?.lowercased() {
            case "true", "1", "yes", "y", "t": true
            case "false", "0", "no", "n", "f": false
            default: nil
            }
        }
        if let value = flag("FELIX_PROMETHEUSMETRICSENABLED") { isEnabled = value }
        if let value = flag("FELIX_PROMETHEUSPROCESSMETRICSENABLED") { hasProcessMetrics = value }
        if let value = settings["FELIX_PROMETHEUSMETRICSHOST"] { host = value }
        if let value = settings["FELIX_PROMETHEUSMETRICSPORT"] {
            take(port: Int(value), "FELIX_PROMETHEUSMETRICSPORT: \(value)")
        }
    }

    private mutating func take(port number: Int?, _ source: String) {
        guard let number, (1...65535).contains(number) else {
            problems.append("\(source): a port from 1 to 65535 is wanted; \(port) stays")
            return
        }
        port = number
    }
}

// SPDX-License-Identifier: Apache-2.0

import Values

/// The three questions that a kubelet asks a container.
package enum ProbeKind: String, Sendable, CaseIterable {
    case startup = "Startup"
    case liveness = "Liveness"
    case readiness = "Readiness"

    var field: String { rawValue.lowercased() + "Probe" }
}

/// A probe as the spec describes it.
package struct ProbeSettings: Sendable, Hashable {
    package enum Action: Sendable, Hashable {
        case http(scheme: String, host: String?, port: Int, path: String, headers: [[String]])
        case tcp(host: String?, port: Int)
        case exec([String])
    }

    package let action: Action
    package let initialDelay: Int
    package let period: Int
    package let timeout: Int
    package let successThreshold: Int
    package let failureThreshold: Int
    package let gracePeriod: Int?

    /// Nil when the container has no such probe, or one whose port it does not name.
    package init?(_ kind: ProbeKind, of container: ContainerView) {
        guard let json = container.json[kind.field], !json.isNull else { return nil }
        guard let action = Self.action(json, of: container) else { return nil }
        self.action = action
        func number(_ key: String, _ standard: Int, least: Int) -> Int {
            min(max(json[key].int ?? standard, least), Int(Int32.max))
        }
        initialDelay = number("initialDelaySeconds", 0, least: 0)
        period = number("periodSeconds", 10, least: 1)
        timeout = number("timeoutSeconds", 1, least: 1)
        successThreshold = number("successThreshold", 1, least: 1)
        failureThreshold = number("failureThreshold", 3, least: 1)
        gracePeriod = json["terminationGracePeriodSeconds"].int
    }

    /// What `httpGet`, `tcpSocket` or `exec` asks for.
    static func action(_ json: JSON, of container: ContainerView) -> Action? {
        func port(_ value: JSON?) -> Int? {
            if let number = value.int { return number }
            guard let name = value.string else { return nil }
            if let number = Int(name) { return number }
            return (container.json["ports"].array ?? []).first { $0["name"].string == name }?["containerPort"].int
        }
        if let http = json["httpGet"], let port = port(http["port"]) {
            let path = http["path"].string ?? "/"
            return .http(
                scheme: (http["scheme"].string ?? "HTTP").lowercased(), host: http["host"].string.flatMap(Self.filled),
                port: port, path: path.hasPrefix("/") ? path : "/" + path,
                headers: (http["httpHeaders"].array ?? []).map { [$0["name"].string ?? "", $0["value"].string ?? ""] })
        } else if let tcp = json["tcpSocket"], let port = port(tcp["port"]) {
            return .tcp(host: tcp["host"].string.flatMap(Self.filled), port: port)
        } else if let command = json["exec"]["command"].array {
            return .exec(command.compactMap(\.string))
        } else {
            return nil
        }
    }

    private static func filled(_ text: String) -> String? { text.isEmpty ? nil : text }
}

/// Counts results until they are a verdict.
package struct ProbeCounter: Sendable {
    private let settings: ProbeSettings
    private var last: Bool?
    private var run = 0

    package init(_ settings: ProbeSettings) { self.settings = settings }

    /// The verdict that this result completes; nil while too few agree.
    package mutating func count(_ success: Bool) -> Bool? {
        run = last == success ? run + 1 : 1
        last = success
        return run >= (success ? settings.successThreshold : settings.failureThreshold) ? success : nil
    }
}

// SPDX-License-Identifier: Apache-2.0

import Values

/// How much pods are trusted with.
public enum PodSecurityLevel: String, Sendable, Comparable, CaseIterable {
    case privileged, baseline, restricted

    private var strictness: Int {
        switch self {
        case .privileged: 0
        case .baseline: 1
        case .restricted: 2
        }
    }

    public static func < (left: PodSecurityLevel, right: PodSecurityLevel) -> Bool {
        left.strictness < right.strictness
    }
}

/// A level as one version of Kubernetes understood it: `restricted:v1.25`.
public struct PodSecurityStandard: Sendable, Hashable, CustomStringConvertible {
    public var level: PodSecurityLevel
    /// The minor version; nil for the latest.
    public var minor: Int?

    public init(_ level: PodSecurityLevel, minor: Int? = nil) {
        self.level = level
        self.minor = minor
    }

    public var description: String { "\(level.rawValue):\(minor.map { "v1.\($0)" } ?? "latest")" }
}

/// What the labels of a namespace ask of its pods.
public struct PodSecurityPolicy: Sendable {
    public static let prefix = "pod-security.kubernetes.io/"

    public private(set) var enforce = PodSecurityStandard(.privileged)
    public private(set) var audit = PodSecurityStandard(.privileged)
    public private(set) var warn = PodSecurityStandard(.privileged)
    /// What is wrong with the labels. A wrong level is enforced as `restricted`, and not warned of.
    public private(set) var errors: [FieldError] = []

    /// Nil when no label says anything.
    public init?(labels: [String: String]) {
        guard labels.keys.contains(where: { $0.hasPrefix(Self.prefix) }) else { return nil }
        let (wanted, isGiven) = read(labels, "enforce", otherwise: .restricted)
        enforce = wanted
        audit = read(labels, "audit", otherwise: .privileged).standard
        warn = read(labels, "warn", otherwise: .privileged).standard
        // Who enforces is warned of templates too.
        if isGiven, labels[Self.prefix + "warn"] == nil, enforce.level > warn.level {
            warn.level = enforce.level
            if labels[Self.prefix + "warn-version"] == nil { warn.minor = enforce.minor }
        }
    }

    /// What a mode's labels say, and whether they name a level.
    private mutating func read(
        _ labels: [String: String], _ mode: String, otherwise: PodSecurityLevel
    ) -> (standard: PodSecurityStandard, isGiven: Bool) {
        var standard = PodSecurityStandard(.privileged)
        var isGiven = false
        if let text = labels[Self.prefix + mode] {
            if let level = PodSecurityLevel(rawValue: text) {
                standard.level = level
                isGiven = true
            } else {
                standard.level = otherwise
                let all = PodSecurityLevel.allCases.map(\.rawValue).joined(separator: ", ")
                report(mode, text, "must be one of \(all)")
            }
        }
        if let text = labels["\(Self.prefix)\(mode)-version"], text != "latest" {
            let digits = text.dropFirst("v1.".count)
            if text.hasPrefix("v1."), let minor = Int(digits), minor >= 0, String(minor) == digits {
                standard.minor = minor
            } else {
                report("\(mode)-version", text, "must be \"latest\" or \"v1.x\"")
            }
        }
        return (standard, isGiven)
    }

    private mutating func report(_ label: String, _ value: String, _ why: String) {
        errors.append(.invalid("metadata.labels[\(Self.prefix)\(label)]", JSON(value), why))
    }
}
